// Which random numbers training draws, and how: dropout in its forms, and zoneout.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels.hpp"
#include "parallel.hpp"

namespace gru {

// What a mask is for: streams of random numbers that have nothing to do with each other.
enum class Mask : uint64_t { between_layers, input, recurrent, zone_h, zone_c };

inline uint64_t stream_of(Mask mask, int64_t layer = 0, int64_t direction = 0) {
  return static_cast<uint64_t>(mask) << 12 | static_cast<uint64_t>(direction) << 11 |
         static_cast<uint64_t>(layer);
}

// Sixteen bits an element: a rate is drawn as the nearest multiple of 2^-16, none and all only
// where it is 0 and 1.
inline uint32_t drawn_below(double rate) {
  if (rate <= 0 || rate >= 1) return rate <= 0 ? 0 : 65536;
  return std::min<uint32_t>(65535, std::max<uint32_t>(1, std::lround(rate * 65536)));
}

// The part of a call that does not depend on rows: drops with probability `rate` and multiplies
// what is kept by `kept`.
template <class R>
DropArgs<R> drop_args(double rate, double kept, uint64_t seed, uint64_t stream) {
  DropArgs<R> args = {};
  args.seed = seed;
  args.stream = stream;
  args.steps = 1;
  args.below = drawn_below(rate);
  args.kept = static_cast<R>(kept);
  return args;
}

// What dropout multiplies by what it keeps, so that the mean stays.
inline double kept_scale(double rate) { return rate < 1 ? 1 / (1 - rate) : 0; }

// Rows spread over threads.
template <class R>
void drop_rows(const Kernels<R>& kernels, const DropArgs<R>& whole, int threads) {
  parallel_ranges(whole.rows, 64, threads, [&](int64_t begin, int64_t end) {
    DropArgs<R> part = whole;
    part.x += begin * part.stride;
    part.rows = end - begin;
    if (part.place) part.place += begin;
    part.first += begin;
    kernels.drop(part);
  });
}

}  // namespace gru
