#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "buffer.hpp"
#include "make.hpp"
#include "parallel.hpp"
#include "patience.hpp"
#include "plan.hpp"

namespace gru {
namespace {

using test::forget_bad_regions;

TEST_CASE("every task runs once, and ranges cover what they cut") {
  for (const int threads : {1, 2, 4}) {
    std::vector<int> seen(100, 0);
    parallel_for(100, threads, [&](int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    CHECK(seen == std::vector<int>(100, 1));
    parallel_ranges(100, 8, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    CHECK(seen == std::vector<int>(100, 2));
  }
}

TEST_CASE("what a task throws leaves the region") {
  for (const int threads : {1, 2, 4}) {
    CHECK_THROWS_AS(parallel_for(8, threads,
                                 [](int64_t i) {
                                   if (i == 5) throw std::runtime_error("five");
                                 }),
                    std::runtime_error);
  }
}

TEST_CASE("a buffer whose size overflows is refused") {
  CHECK_THROWS_AS(Buffer<double>(int64_t(1) << 62), std::bad_alloc);
}

TEST_CASE("regions that went badly make the next ones run on one thread, for a while") {
  forget_bad_regions();
  CHECK(Patience::allows());
  Patience::learn(2, 1e-4, 5e-3);
  CHECK(!Patience::allows());
  std::this_thread::sleep_for(std::chrono::milliseconds(101));  // twenty times what was lost
  CHECK(Patience::allows());
  Patience::learn(2, 1e-4, 1e-6);
  Patience::learn(2, 1e-2, 5e-3);
  CHECK(Patience::allows());
}

TEST_CASE("waiting counts as lost beyond what one thread would have taken") {
  forget_bad_regions();
  Patience::learn(8, 1e-3, 6e-3);  // one thread would have taken 8 ms
  CHECK(Patience::allows());
  Patience::learn(2, 1e-3, 6e-3);
  CHECK(!Patience::allows());
}

TEST_CASE("a core that the caller itself was without counts as lost" * doctest::skip(!kThreads)) {
  forget_bad_regions();
  parallel_for(2, 2, [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
  CHECK(!Patience::allows());
}

// --- barriers ----------------------------------------------------------------------

// body(index) on `count` threads of our own.
template <class Body>
void on_threads(int count, const Body& body) {
  std::vector<std::thread> others;
  for (int i = 1; i < count; ++i) others.emplace_back(body, i);
  body(0);
  for (std::thread& other : others) other.join();
}

// One member's part of `rounds` rounds: writes, meets, reads what every member wrote, meets. Plain
// memory: nothing but the meetings makes the writes seen. Returns the rounds in which one was not.
int rounds_missed(Member& self, std::vector<int>& board, int rounds) {
  int missed = 0;
  for (int round = 1; round <= rounds; ++round) {
    board[static_cast<std::size_t>(self.index)] = round;
    Member::meet(&self);
    bool all = true;
    for (int i = 0; i < self.count; ++i) all = all && board[static_cast<std::size_t>(i)] == round;
    missed += !all;
    Member::meet(&self);
  }
  return missed;
}

TEST_CASE("threads that meet see each other's writes, thousands of times") {
  for (const int members : {1, 2, 3, 4}) {
    Barrier barrier;
    std::vector<int> board(static_cast<std::size_t>(members), 0);
    std::atomic<int> missed{0};
    on_threads(members, [&](int index) {
      Member self;
      self.index = index;
      self.count = members;
      self.barrier = &barrier;
      missed += rounds_missed(self, board, 3000);
    });
    CHECK(missed.load() == 0);
  }
}

TEST_CASE("nobody leaves a barrier before the last one came, and waiting is told") {
  Barrier barrier;
  std::atomic<bool> last{false};
  std::atomic<int> early{0};
  double waited[3] = {};
  on_threads(3, [&](int index) {
    Member self;
    self.index = index;
    self.count = 3;
    self.barrier = &barrier;
    if (index == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      last = true;
    }
    Member::meet(&self);
    early += !last;
    waited[index] = self.yielded;
  });
  CHECK(early.load() == 0);
  CHECK(waited[0] == 0);
  CHECK(waited[1] > 0.01);
  CHECK(waited[1] < 10);
  CHECK(waited[2] > 0.01);
}

TEST_CASE("an abandoned barrier holds nobody, neither who waits nor who comes later") {
  Barrier barrier;
  on_threads(3, [&](int index) {
    if (index == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      barrier.abandon();
    }
    for (int i = 0; i < 100; ++i) barrier.meet(4);
  });
  CHECK(barrier.meet(2) < 10);
}

// --- teams -------------------------------------------------------------------------

constexpr int kMostMembers = 32;

// The size of the teams that came to the groups, each member once; 0 where anything else happened.
int team_size(int64_t groups, int members, int threads) {
  std::vector<std::atomic<int>> came(static_cast<std::size_t>(groups * kMostMembers));
  std::vector<std::atomic<int>> sizes(static_cast<std::size_t>(groups));
  for (auto* counters : {&came, &sizes}) {
    for (std::atomic<int>& counter : *counters) counter = 0;
  }
  std::atomic<bool> wrong{false};
  parallel_teams(groups, members, threads, [&](int64_t group, Member& self) {
    if (self.index < 0 || self.index >= self.count || self.count > kMostMembers) {
      wrong = true;
      return;
    }
    ++came[static_cast<std::size_t>(group * kMostMembers + self.index)];
    int none = 0;
    if (!sizes[static_cast<std::size_t>(group)].compare_exchange_strong(none, self.count)) {
      if (none != self.count) wrong = true;
    }
  });
  const int size = sizes[0];
  for (int64_t group = 0; group < groups; ++group) {
    if (sizes[static_cast<std::size_t>(group)] != size) wrong = true;
    for (int i = 0; i < kMostMembers; ++i) {
      if (came[static_cast<std::size_t>(group * kMostMembers + i)] != (i < size)) wrong = true;
    }
  }
  return wrong ? 0 : size;
}

TEST_CASE("every group gets its team, every member comes once") {
  struct Wanted {
    int64_t groups;
    int members, threads, size;
  };
  for (const Wanted& w : {
           Wanted{1, 1, 1, 1},
           Wanted{5, 1, 3, 1},  // no team at all
           Wanted{1, 2, 2, 2},
           Wanted{1, 4, 4, 4},  // one
           Wanted{2, 2, 4, 2},
           Wanted{3, 2, 6, 2},  // side by side
           Wanted{2, 2, 2, 2},
           Wanted{7, 3, 3, 3},  // more groups than teams at a time
           Wanted{2, 3, 3, 3},
           Wanted{3, 2, 4, 2},
           Wanted{4, 2, 4, 2},
           Wanted{9, 2, 5, 2},
       }) {
    CAPTURE(w.groups);
    CAPTURE(w.members);
    CAPTURE(w.threads);
    forget_bad_regions();
    CHECK(team_size(w.groups, w.members, w.threads) == (kThreads ? w.size : 1));
  }
}

TEST_CASE("a team may be smaller than wanted") {
  forget_bad_regions();
  CHECK(team_size(1, 8, 3) == (kThreads ? 3 : 1));
  forget_bad_regions();
  CHECK(team_size(5, 4, 1) == 1);
  Patience::learn(2, 1e-4, 5e-3);
  CHECK(team_size(5, 2, 4) == 1);  // this region is one of those that get no threads
}

TEST_CASE("the members of a team meet and see each other's writes, thousands of times") {
  struct Wanted {
    int64_t groups;
    int members, threads;
  };
  for (const Wanted& w : {Wanted{1, 2, 2}, Wanted{1, 4, 4}, Wanted{2, 2, 4}, Wanted{5, 2, 2},
                          Wanted{3, 2, 3}, Wanted{1, 8, 3}}) {
    std::vector<std::vector<int>> boards(static_cast<std::size_t>(w.groups),
                                         std::vector<int>(kMostMembers, 0));
    std::atomic<int> missed{0}, most{0};
    forget_bad_regions();
    parallel_teams(w.groups, w.members, w.threads, [&](int64_t group, Member& self) {
      if (self.count == 1) return;
      most = self.count;
      missed += rounds_missed(self, boards[static_cast<std::size_t>(group)], 2000);
    });
    CHECK(missed.load() == 0);
    if (kThreads) CHECK(most.load() > 1);
  }
}

TEST_CASE("what a member throws reaches the caller, and nobody hangs") {
  for (const int thrower : {0, 1, 2}) {
    for (const int at : {1, 7, 100}) {
      CAPTURE(thrower);
      CAPTURE(at);
      std::atomic<int> finished{0}, size{0};
      forget_bad_regions();
      const auto run = [&] {
        parallel_teams(2, 3, 6, [&](int64_t group, Member& self) {
          size = self.count;
          for (int round = 1; round <= 100; ++round) {
            if (group == 1 && self.index == thrower % self.count && round == at) {
              throw std::runtime_error("thrown");
            }
            if (self.count > 1) Member::meet(&self);
          }
          ++finished;
        });
      };
      CHECK_THROWS_WITH_AS(run(), "thrown", std::runtime_error);
      // The other members and the other group finish; on one thread, the group before.
      CHECK(finished.load() == (size > 1 ? 2 * size - 1 : 1));
    }
  }
}

TEST_CASE("every member may throw: one of it reaches the caller") {
  for (const int members : {1, 2, 4}) {
    forget_bad_regions();
    const auto run = [&] {
      parallel_teams(3, members, members, [&](int64_t, Member& self) {
        throw std::out_of_range(self.count ? "x" : "");
      });
    };
    CHECK_THROWS_WITH_AS(run(), "x", std::out_of_range);
    CHECK(team_size(3, members, members) > 0);  // the next region is as good as any
  }
}

TEST_CASE("teams inside a parallel region") {
  for (const int outer : {1, 2, 3}) {
    std::vector<int> sizes(static_cast<std::size_t>(outer), 0);
    forget_bad_regions();
    parallel_for(outer, outer,
                 [&](int64_t i) { sizes[static_cast<std::size_t>(i)] = team_size(3, 2, 4); });
    for (const int size : sizes) CHECK(size > 0);
  }
}

TEST_CASE("teams of many callers at once") {
  std::atomic<int> bad{0};
  on_threads(4, [&](int) {
    for (int i = 0; i < 100; ++i) bad += team_size(2, 2, 2) == 0;
  });
  CHECK(bad.load() == 0);
}

TEST_CASE("a plan is carried out with the threads it says") {
  std::set<std::vector<int>> done;
  for (const int64_t hidden : {40, 64, 200, 400}) {
    for (LayerSpec spec : test::all_cells(40, hidden)) {
      for (const char* direction : {"forward", "both"}) {
        spec.direction = direction;
        const Geometry g(spec, 8);
        const int64_t size = test::random_layer<float>(spec)->size();
        for (const int64_t batch : {1, 2, 3, 4, 8}) {
          for (const int threads : {1, 2, 3, 4, 5, 6}) {
            const Plan plan = plan_recurrent(g, 4, batch, 50 * batch, size, threads);
            const int groups = static_cast<int>(g.directions) * plan.slices;
            if (!done.insert({groups, plan.members, plan.threads}).second) continue;
            CAPTURE(groups);
            CAPTURE(plan.members);
            CAPTURE(plan.threads);
            forget_bad_regions();
            CHECK(team_size(groups, plan.members, plan.threads) == (kThreads ? plan.members : 1));
          }
        }
      }
    }
  }
  CHECK(done.size() > 5);
}

}  // namespace
}  // namespace gru
