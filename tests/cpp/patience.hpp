// What the engine remembers of regions that went badly (parallel.hpp), set as a test needs it.
#pragma once

#include "parallel.hpp"

namespace gru::test {

// The next region has its threads. Returns how many would have run on one.
inline int forget_bad_regions() {
  int refused = 0;
  while (!Patience::allows()) ++refused;
  return refused;
}

// The next `count` regions, a few, run on one thread, and the one after those has its threads.
inline void refuse_regions(int count) {
  const auto go_badly_once = [] {
    forget_bad_regions();
    for (int i = 0; i < 2000; ++i) Patience::learn(1, 0);  // the next pause is the shortest
    Patience::learn(1e-4, 5e-3);
  };
  go_badly_once();
  const int pause = forget_bad_regions();
  go_badly_once();
  for (int i = count; i < pause; ++i) Patience::allows();
}

}  // namespace gru::test
