// Threads: the mechanism, and the only file that knows OpenMP.
#pragma once

#include <cstdint>

#include "float_mode.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gru {

// A child of fork() has no OpenMP threads and cannot make any (libgomp would hang): it runs on one.
bool threads_usable();

// task(0), ..., task(count - 1), on at most `threads` threads. Tasks may not throw.
template <class Task>
void parallel_for(int64_t count, int threads, const Task& task) {
#if defined(_OPENMP)
  if (threads > count) threads = static_cast<int>(count);
  if (threads > 1 && threads_usable()) {
#pragma omp parallel num_threads(threads)
    {
      FloatMode mode;
#pragma omp for schedule(static, 1)
      for (int64_t i = 0; i < count; ++i) task(i);
    }
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
