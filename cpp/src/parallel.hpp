// Threads: the mechanism, and the only file that knows OpenMP.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>

#include "float_mode.hpp"
#include "gru/api.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gru {

#if defined(_OPENMP)
inline constexpr bool kThreads = true;
#else
inline constexpr bool kThreads = false;
#endif

// A child of fork() has no OpenMP threads and cannot make any (libgomp would hang): it runs on one.
GRU_API bool threads_usable();  // shown for the Python module

// Seconds of processor time that the calling thread has had: without those in which its core was
// somebody else's.
double thread_seconds();

// A region ends when its slowest thread does. If another process takes a core away, that is a time
// slice of milliseconds for work of microseconds, so after a region that took longer than one
// thread would have taken, regions run on one thread for twenty times as long as was lost.
class Patience {
 public:
  // Whether the next region may use threads.
  static bool allows();
  // own: seconds the caller worked; waited: the other seconds of the region.
  static void learn(int threads, double own, double waited);
};

// Where the threads of a team wait for each other. Waiting spins for a few microseconds and then
// yields: a thread that has lost its core to another process cannot be waited for by spinning.
class Barrier {
 public:
  // Returns when `members` threads are here, or one of them will never come; seconds it yielded.
  double meet(int members);
  void abandon() { abandoned_.store(true, std::memory_order_release); }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
  std::atomic<bool> abandoned_{false};
};

// One thread's place in a team.
struct Member {
  int index = 0, count = 1;
  Barrier* barrier = nullptr;
  double yielded = 0;  // seconds

  static void meet(void* member) {
    auto* self = static_cast<Member*>(member);
    self->yielded += self->barrier->meet(self->count);
  }
};

// task(0), ..., task(count - 1), on at most `threads` threads. Which thread
// runs a task never shows in the results.
template <class Task>
void parallel_for(int64_t count, int threads, const Task& task) {
#if defined(_OPENMP)
  if (threads > count) threads = static_cast<int>(count);
  if (threads > 1 && threads_usable() && Patience::allows()) {
    const double begun = omp_get_wtime(), before = thread_seconds();
    double own = 0;
    std::exception_ptr failure;
#pragma omp parallel num_threads(threads)
    {
      FloatMode mode;
#pragma omp for schedule(static, 1) nowait
      for (int64_t i = 0; i < count; ++i) {
        try {
          task(i);
        } catch (...) {
#pragma omp critical(gru_failure)
          failure = std::current_exception();
        }
      }
#pragma omp master
      own = thread_seconds() - before;
    }
    Patience::learn(threads, own, omp_get_wtime() - begun - own);
    if (failure) std::rethrow_exception(failure);
    return;
  }
#else
  (void)threads;
#endif
  for (int64_t i = 0; i < count; ++i) task(i);
}

// task(group, member) for every group, each by a team of `members` threads that can wait for each
// other, or by as many as the system grants: the task asks its member.
template <class Task>
void parallel_teams(int64_t groups, int members, int threads, const Task& task) {
#if defined(_OPENMP)
  if (members > 1 && threads_usable() && Patience::allows()) {
    const double begun = omp_get_wtime(), before = thread_seconds();
    double own = 0;
    std::exception_ptr failure;
    Barrier few[8];  // enough for nearly every call, and no allocation
    std::unique_ptr<Barrier[]> many;
    if (groups > 8) many = std::make_unique<Barrier[]>(static_cast<std::size_t>(groups));
    Barrier* const barriers = many ? many.get() : few;
#pragma omp parallel num_threads(threads)
    {
      FloatMode mode;
      const int64_t rank = omp_get_thread_num(), all = omp_get_num_threads();
      Member self;
      self.count = static_cast<int>(all < members ? all : members);
      const int64_t fit = all / self.count;
      const int64_t teams = fit < groups ? fit : groups;  // at work at a time
      self.index = static_cast<int>(rank / teams);
      if (self.index < self.count) {
        for (int64_t group = rank % teams; group < groups; group += teams) {
          self.barrier = &barriers[static_cast<std::size_t>(group)];
          try {
            task(group, self);
          } catch (...) {
            self.barrier->abandon();
#pragma omp critical(gru_failure)
            failure = std::current_exception();
          }
        }
      }
#pragma omp master
      own = std::min(thread_seconds() - before, omp_get_wtime() - begun - self.yielded);
    }
    Patience::learn(threads, own, omp_get_wtime() - begun - own);
    if (failure) std::rethrow_exception(failure);
    return;
  }
  if (members > 1) threads = 1;
#else
  (void)members;
#endif
  parallel_for(groups, threads, [&](int64_t group) {
    Member alone;
    task(group, alone);
  });
}

// [0, count) cut into at most `threads` ranges of whole multiples of `grain`: task(begin, end).
template <class Task>
void parallel_ranges(int64_t count, int64_t grain, int threads, const Task& task) {
  const int64_t grains = (count + grain - 1) / grain;
  const int64_t parts = grains < threads ? grains : threads;
  parallel_for(parts, threads, [&](int64_t part) {
    const int64_t begin = grains * part / parts * grain;
    const int64_t end = grains * (part + 1) / parts * grain;
    task(begin, end < count ? end : count);
  });
}

}  // namespace gru
