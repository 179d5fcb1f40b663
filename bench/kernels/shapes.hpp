// The grid, and random numbers to fill it with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "buffer.hpp"
#include "random.hpp"

namespace gru::bench {

inline std::vector<int64_t> hidden_sizes(bool quick) {
  if (quick) return {128, 512};
  return {32, 128, 256, 512};
}

inline std::vector<int64_t> batch_sizes(bool quick) {
  if (quick) return {1, 8, 64};
  return {1, 2, 4, 8, 16, 64};
}

// Uniform in (-scale, scale) and never zero; the same at every run.
template <class R>
Buffer<R> random_values(int64_t size, double scale, uint64_t seed) {
  Buffer<R> values(size);
  for (int64_t i = 0; i < size; i += 4) {
    const Philox bits = philox(seed, 0, static_cast<uint64_t>(i));
    for (int64_t j = 0; j < 4 && i + j < size; ++j) {
      const double unit = (static_cast<double>(bits.word[j]) + 0.5) / 4294967296.0;
      values[i + j] = static_cast<R>(scale * (2 * unit - 1));
    }
  }
  return values;
}

// For results: what a kernel leaves out shows.
template <class R>
Buffer<R> unwritten(int64_t size) {
  Buffer<R> values(size);
  std::fill(values.begin(), values.end(), std::numeric_limits<R>::quiet_NaN());
  return values;
}

}  // namespace gru::bench
