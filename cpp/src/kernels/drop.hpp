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

// 64-bit lanes, each with one 32-bit word of a counter in its lower half; what is above never counts.
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

// Counters of one vector, in flight side by side to hide the products' latency.
inline constexpr int kVectors = 2;
// Elements that are drawn together: four words a counter.
inline constexpr int kDrawn = 4 * kVectors * kWideLanes;

// The bits of elements i to i + kDrawn - 1, as philox(key, high + i, low) gives them.
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
    for (int t = 0; t < kWideLanes; ++t) {
      for (int j = 0; j < 4; ++j) {
        bits[4 * (v * kWideLanes + t) + j] = static_cast<uint32_t>(c[v][j][t]);
      }
    }
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

template <class R>
void drop(const DropArgs<R>& args) {
  if (args.below == 0) return;
  const uint32_t last = static_cast<uint32_t>(args.below - 1);  // the largest value that drops
  for (int64_t row = 0; row < args.rows; ++row) {
    R* x = args.x + row * args.stride;
    const int64_t place = args.place ? args.place[row] : args.first + row;
    const uint64_t low = random_place(place / args.steps, place % args.steps);
    for (int64_t i = 0; i < args.columns; i += kDrawn) {
      uint32_t bits[kDrawn];
      draw(args.seed, random_stream(args.stream, i), low, bits);
      const int64_t left = args.columns - i;
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
