#include "plan.hpp"

#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "make.hpp"

namespace gru {
namespace {

constexpr int64_t kLittle = 2 * 400000;  // multiply-adds that are not worth a second thread

int64_t parameters(const LayerSpec& spec) {
  int64_t size = 0;
  for (const Parameter& p : parameters_of(spec)) size += p.size;
  return size;
}

struct Planned {
  Geometry geometry;
  int64_t batch, rows, parameters;
  int threads;
  Plan plan;
};

// Plans of a grid of cells, sizes, lanes, batches, lengths and threads.
template <class Visit>
void each_plan(const Visit& visit) {
  for (const int64_t hidden : {1, 16, 17, 64, 200, 1000}) {
    for (LayerSpec spec : test::all_cells(40, hidden)) {
      for (const char* direction : {"forward", "reverse", "both"}) {
        spec.direction = direction;
        spec.num_layers = hidden == 64 ? 3 : 1;
        const int64_t size = parameters(spec);
        for (const int lanes : {2, 8, 16}) {
          const Geometry g(spec, lanes);
          for (const int64_t batch : {0, 1, 2, 3, 8, 33}) {
            for (const int64_t steps : {0, 1, 50}) {
              for (const int threads : {1, 2, 3, 4, 5, 8, 13, 64}) {
                const int64_t rows = batch * steps;
                visit(Planned{g, batch, rows, size, threads,
                              plan_recurrent(g, lanes > 8 ? 4 : 8, batch, rows, size, threads)});
              }
            }
          }
        }
      }
    }
  }
}

// doctest takes a microsecond for a check: too long for millions of them.
#define REQUIRE_THAT(condition) \
  if (!(condition)) FAIL_CHECK("not true: " #condition)

TEST_CASE("a plan keeps to what there is") {
  std::set<Plan::Reason> reasons;
  each_plan([&](const Planned& p) {
    const Plan& plan = p.plan;
    REQUIRE_THAT(plan.available == p.threads);
    REQUIRE_THAT(plan.affordable >= 1);
    REQUIRE_THAT(plan.affordable <= plan.available);
    REQUIRE_THAT(plan.threads >= 1);
    REQUIRE_THAT(plan.threads <= plan.affordable);
    REQUIRE_THAT(plan.slices >= 1);
    REQUIRE_THAT((plan.slices == 1 || plan.slices <= p.batch));
    REQUIRE_THAT(plan.members >= 1);
    REQUIRE_THAT(plan.members <= p.geometry.blocks());
    // Nobody is left without work.
    REQUIRE_THAT(plan.threads <= p.geometry.directions * plan.slices * plan.members);
    REQUIRE_THAT(plan.threads % plan.members == 0);
    if (p.rows * p.parameters < kLittle) REQUIRE_THAT(plan.threads == 1);
    if (plan.threads == 1) REQUIRE_THAT((plan.slices == 1 && plan.members == 1));
    reasons.insert(plan.reason);
  });
  CHECK(reasons.size() == 5);  // the grid has them all
}

TEST_CASE("a plan says why") {
  each_plan([&](const Planned& p) {
    const Plan& plan = p.plan;
    Plan::Reason reason = Plan::kNoGain;
    if (p.threads == 1) {
      reason = Plan::kOneAllowed;
    } else if (plan.affordable == 1) {
      reason = Plan::kLittleWork;
    } else if (plan.members > 1) {
      reason = Plan::kShared;
    } else if (plan.threads > 1) {
      reason = Plan::kSplit;
    }
    REQUIRE_THAT(plan.reason == reason);
  });
}

TEST_CASE("every reason has a text of its own") {
  std::set<std::string> texts;
  Plan plan;
  for (const Plan::Reason reason :
       {Plan::kOneAllowed, Plan::kLittleWork, Plan::kNoGain, Plan::kSplit, Plan::kShared}) {
    plan.reason = reason;
    CHECK(explain(plan).size() > 20);
    texts.insert(explain(plan));
  }
  CHECK(texts.size() == 5);
  plan.members = 3;
  CHECK(explain(plan).find(" 3 threads") != std::string::npos);
  plan.threads = 3;
  plan.available = 3;
  CHECK(explain(plan).find("allowed") == std::string::npos);
  plan.available = 7;
  CHECK(explain(plan).find("7 threads are allowed") != std::string::npos);
}

TEST_CASE("rows on their own go to as many threads as their work is worth") {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t rows : {0, 1, 7, 100, 100000}) {
      for (const int64_t size : {0, 100, 400000}) {
        const Plan plan = plan_rows(rows, size, threads);
        CHECK(plan.available == threads);
        CHECK(plan.threads >= 1);
        CHECK(plan.threads <= threads);
        CHECK(plan.affordable == plan.threads);
        CHECK(plan.slices == plan.threads);
        CHECK(plan.members == 1);
        if (rows * size < kLittle) CHECK(plan.threads == 1);
        if (rows * size >= kLittle / 2 * threads) CHECK(plan.threads == threads);
      }
    }
  }
}

TEST_CASE("the members of a team share all blocks of hidden units, each block once") {
  for (const int64_t hidden : {1, 16, 17, 64, 200}) {
    const Geometry g(test::recurrent(Kind::gru, 3, hidden), 8);
    for (int count = 1; count <= g.blocks(); ++count) {
      Barrier barrier;
      int32_t next = 0;
      for (int index = 0; index < count; ++index) {
        Member member;
        member.index = index;
        member.count = count;
        member.barrier = &barrier;
        const Share share = share_of(g, member);
        CHECK(share.begin == next);
        CHECK(share.end > share.begin);
        CHECK((share.meet != nullptr) == (count > 1));
        next = share.end;
      }
      CHECK(next == g.blocks());
    }
  }
}

TEST_CASE("a layer plans what its calls do, for the valid steps alone") {
  const auto layer = test::random_layer<float>(test::recurrent(Kind::gru, 64, 128));
  const Shape in = {32, 50, 64, true};
  CHECK(layer->plan(in, true, 2).threads == 2);
  CHECK(layer->plan(in, true, 2, 5).reason == Plan::kLittleWork);
  CHECK(layer->plan(in, true, 1).reason == Plan::kOneAllowed);
  CHECK(layer->plan(in, false).threads == 1);  // inference: unless told otherwise
  CHECK_THROWS_AS(layer->plan({32, 50, 63, true}, true, 2), std::invalid_argument);
}

}  // namespace
}  // namespace gru
