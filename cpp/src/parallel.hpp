// Threads: the mechanism, and the only file that knows OpenMP.
#pragma once

#include <cstdint>
#include <exception>

#include "float_mode.hpp"

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
bool threads_usable();

// A region ends when its slowest thread does. If another process takes a core away, that is a time
// slice of milliseconds for work of microseconds, so a region whose caller waited long for the
// others makes the next ones run on one thread: twice as many each time, until regions go well
// again.
class Patience {
 public:
  // Whether the next region may use threads.
  static bool allows();
  // own: seconds the caller worked; waited: seconds it then waited for the others.
  static void learn(double own, double waited);
};

// task(0), ..., task(count - 1), on at most `threads` threads. Tasks may not throw. Which thread
// runs a task never shows in the results.
template <class Task>
void parallel_for(int64_t count, int threads, const Task& task) {
#if defined(_OPENMP)
  if (threads > count) threads = static_cast<int>(count);
  if (threads > 1 && threads_usable() && Patience::allows()) {
    const double begun = omp_get_wtime();
    double worked = begun;
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
      worked = omp_get_wtime();
    }
    Patience::learn(worked - begun, omp_get_wtime() - worked);
    if (failure) std::rethrow_exception(failure);
    return;
  }
#else
  (void)threads;
#endif
  for (int64_t i = 0; i < count; ++i) task(i);
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
