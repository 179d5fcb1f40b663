// What the engine remembers of regions that went badly (parallel.hpp), set as a test needs it.
#pragma once

#include <chrono>

#include "parallel.hpp"

namespace gru::test {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

// The next region has its threads.
inline void forget_bad_regions() {
  if (Patience::allows()) return;
  Patience::learn(2, 0, 101e-6);  // just bad enough: its short pause takes the place of a long one
  while (!Patience::allows()) {
  }
}

// Regions that begin within so many seconds run on one thread, those that begin later have theirs.
inline void pause_threads(double seconds) {
  constexpr double kLost = 101e-6;
  static const double pause = [] {
    forget_bad_regions();
    const Clock::time_point begun = Clock::now();
    Patience::learn(2, 0, kLost);
    while (!Patience::allows()) {
    }
    return seconds_since(begun);
  }();
  const double times = seconds > pause ? seconds / pause : 1;
  const Clock::time_point begun = Clock::now();
  Patience::learn(2, 0, times * kLost);
  while (seconds_since(begun) < times * pause - seconds) {
  }
}

}  // namespace gru::test
