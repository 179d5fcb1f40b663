// Dropout masks: Philox on the counters of many elements side by side.
#pragma once

#include "../kernels.hpp"
#include "../random.hpp"
#include "simd.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gru {
namespace GRU_ISA {

// 64-bit lanes, each with one 32-bit word of a counter in its lower half; what is above never
// counts.
#if defined(__AVX512F__)
inline constexpr int kWideBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kWideBytes = 32;
#else
inline constexpr int kWideBytes = 16;
#endif
typedef uint64_t Wide __attribute__((vector_size(kWideBytes)));
inline constexpr int kWideLanes = kWideBytes / 8;

// The product of the lower halves.
GRU_INLINE Wide multiply_words(Wide a, Wide b) {
#if defined(__AVX512F__)
  return reinterpret_cast<Wide>(
      _mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Wide>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<Wide>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

// a[0] b[0] a[1] b[1] ...
GRU_INLINE void store_in_turn(Wide a, Wide b, uint32_t* to) {
#if defined(__AVX512F__)
  const Wide first = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  const Wide second = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif defined(__AVX2__)
  const Wide first = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Wide second = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#else
  const Wide first = __builtin_shufflevector(a, b, 0, 2);
  const Wide second = __builtin_shufflevector(a, b, 1, 3);
#endif
  __builtin_memcpy(to, &first, sizeof first);
  __builtin_memcpy(to + 2 * kWideLanes, &second, sizeof second);
}

// Elements whose bits are drawn together: four words a counter, two vectors of counters in flight
// side by side to hide the products' latency.
inline constexpr int kHalfDrawn = 4 * kWideLanes, kDrawn = 2 * kHalfDrawn;

// The bits of kVectors * kHalfDrawn elements from i on, as philox(key, high + i, low) gives them.
template <int kVectors>
GRU_INLINE void draw(uint64_t key, uint64_t high, uint64_t low, uint32_t* bits) {
  Wide c[kVectors][4];
  for (int v = 0; v < kVectors; ++v) {
    const Wide zero = {};
    c[v][0] = zero + low;
    c[v][1] = zero + (low >> 32);
    c[v][3] = zero + (high >> 32);
    for (int t = 0; t < kWideLanes; ++t) {
      c[v][2][t] = high + 4 * static_cast<uint64_t>(v * kWideLanes + t);
    }
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  const Wide m0 = Wide{} + Philox::kMultiply0, m1 = Wide{} + Philox::kMultiply1;
#pragma GCC unroll 10
  for (int round = 0; round < Philox::kRounds; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const Wide p0 = multiply_words(m0, c[v][0]), p1 = multiply_words(m1, c[v][2]);
      c[v][0] = (p1 >> 32) ^ c[v][1] ^ k0;
      c[v][2] = (p0 >> 32) ^ c[v][3] ^ k1;
      c[v][1] = p1;
      c[v][3] = p0;
    }
    k0 += Philox::kWeyl0;
    k1 += Philox::kWeyl1;
  }
  for (int v = 0; v < kVectors; ++v) {
    const Wide lower = Wide{} + 0xffffffff;
    store_in_turn((c[v][0] & lower) | (c[v][1] << 32), (c[v][2] & lower) | (c[v][3] << 32),
                  bits + 4 * v * kWideLanes);
  }
}

// kDrawn elements. As vectors, because the compiler makes a branch of it that is mispredicted.
template <class R>
GRU_INLINE void drop_where(const uint32_t* bits, uint32_t last, R kept, R* x) {
  R dropped[kDrawn];
  for (int j = 0; j < kDrawn; ++j) dropped[j] = static_cast<R>(bits[j] <= last);
  const Vec<R> zero = set1<R>(R(0));
  for (int j = 0; j < kDrawn; j += kLanes<R>) {
    const Vec<R> scaled = mul(load(x + j), set1<R>(kept));
    store(x + j, select<R>(less<R>(zero, load(dropped + j)), zero, scaled));
  }
}

// A division of 64 bits takes as long as the bits of half a vector.
GRU_INLINE uint64_t place_of(int64_t place, int64_t steps) {
  if ((place | steps) >> 32) return random_place(place / steps, place % steps);
  const uint32_t p = static_cast<uint32_t>(place), s = static_cast<uint32_t>(steps);
  return random_place(p / s, p % s);
}

template <class R>
void drop(const DropArgs<R>& args) {
  if (args.below == 0) return;
  const uint32_t last = static_cast<uint32_t>(args.below - 1);  // the largest value that drops
  for (int64_t row = 0; row < args.rows; ++row) {
    R* x = args.x + row * args.stride;
    const int64_t place = args.place ? args.place[row] : args.first + row;
    const uint64_t low = place_of(place, args.steps);
    for (int64_t i = 0; i < args.columns; i += kDrawn) {
      const int64_t left = args.columns - i;
      const uint64_t high = random_stream(args.stream, i);
      uint32_t bits[kDrawn];
      if (left > kHalfDrawn) {
        draw<2>(args.seed, high, low, bits);
      } else {
        draw<1>(args.seed, high, low, bits);
        for (int j = kHalfDrawn; j < kDrawn; ++j) bits[j] = 0;
      }
      if (left >= kDrawn) {
        drop_where(bits, last, args.kept, x + i);
        continue;
      }
      R rest[kDrawn] = {};
      for (int64_t j = 0; j < left; ++j) rest[j] = x[i + j];
      drop_where(bits, last, args.kept, rest);
      for (int64_t j = 0; j < left; ++j) x[i + j] = rest[j];
    }
  }
}

}  // namespace GRU_ISA
}  // namespace gru
