// Dropout masks: Philox on many counters side by side, which the compiler turns into vectors.
#pragma once

#include "../kernels.hpp"
#include "../random.hpp"
#include "simd.hpp"

namespace gru {
namespace GRU_ISA {

// Counters whose bits are drawn together, four elements each.
inline constexpr int kDrawn = 16;

// bits[4 t + j] = word j of philox(key, high + 4 t, low): the bits of 4 * kDrawn elements in a row.
GRU_INLINE void draw(uint64_t key, uint64_t high, uint64_t low, uint32_t* bits) {
  uint32_t c0[kDrawn], c1[kDrawn], c2[kDrawn], c3[kDrawn];
  for (int t = 0; t < kDrawn; ++t) {
    c0[t] = static_cast<uint32_t>(low);
    c1[t] = static_cast<uint32_t>(low >> 32);
    c2[t] = static_cast<uint32_t>(high) + 4 * static_cast<uint32_t>(t);
    c3[t] = static_cast<uint32_t>(high >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < Philox::kRounds; ++round) {
    for (int t = 0; t < kDrawn; ++t) {
      const uint64_t p0 = uint64_t(Philox::kMultiply0) * c0[t];
      const uint64_t p1 = uint64_t(Philox::kMultiply1) * c2[t];
      c0[t] = static_cast<uint32_t>(p1 >> 32) ^ c1[t] ^ k0;
      c2[t] = static_cast<uint32_t>(p0 >> 32) ^ c3[t] ^ k1;
      c1[t] = static_cast<uint32_t>(p1);
      c3[t] = static_cast<uint32_t>(p0);
    }
    k0 += Philox::kWeyl0;
    k1 += Philox::kWeyl1;
  }
  for (int t = 0; t < kDrawn; ++t) {
    bits[4 * t] = c0[t];
    bits[4 * t + 1] = c1[t];
    bits[4 * t + 2] = c2[t];
    bits[4 * t + 3] = c3[t];
  }
}

template <class R>
void drop(const DropArgs<R>& args) {
  const uint32_t last = static_cast<uint32_t>(args.below - 1);  // the largest value that drops
  for (int64_t row = 0; row < args.rows; ++row) {
    R* x = args.x + row * args.stride;
    const int64_t place = args.place ? args.place[row] : args.first + row;
    const uint64_t low = random_place(place / args.steps, place % args.steps);
    for (int64_t i = 0; i < args.columns; i += 4 * kDrawn) {
      uint32_t bits[4 * kDrawn];
      draw(args.seed, random_stream(args.stream, i), low, bits);
      const int64_t left = args.columns - i;
      const int count = left < 4 * kDrawn ? static_cast<int>(left) : 4 * kDrawn;
      for (int j = 0; j < count; ++j) {
        const R kept = x[i + j] * args.kept;
        x[i + j] = args.below > 0 && bits[j] <= last ? R(0) : kept;
      }
    }
  }
}

}  // namespace GRU_ISA
}  // namespace gru
