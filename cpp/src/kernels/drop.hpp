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
GRU_INLINE void store_in_turn(Wide a, Wide b, uint16_t* to) {
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
  __builtin_memcpy(to + 4 * kWideLanes, &second, sizeof second);
}

// Elements whose bits are drawn together: eight halves of words a counter, two vectors of counters
// in flight side by side to hide the products' latency.
inline constexpr int kHalfDrawn = 8 * kWideLanes, kDrawn = 2 * kHalfDrawn;

// Counters whose words are drawn together, one a lane: the four words of each.
template <int kVectors>
struct Counters {
  Wide word[kVectors][4];
};

GRU_INLINE Wide load_wide(const uint64_t* from) {
  Wide wide;
  __builtin_memcpy(&wide, from, sizeof wide);
  return wide;
}

// Lane `lane` counts philox(., high[lane], low[lane]).
template <int kVectors>
GRU_INLINE Counters<kVectors> counters_of(const uint64_t* high, const uint64_t* low) {
  Counters<kVectors> counters;
  for (int v = 0; v < kVectors; ++v) {
    Wide* word = counters.word[v];
    word[0] = load_wide(low + v * kWideLanes);
    word[1] = word[0] >> 32;
    word[2] = load_wide(high + v * kWideLanes);
    word[3] = word[2] >> 32;
  }
  return counters;
}

// Lane `lane` counts philox(., high + 8 * lane, low), elements that follow each other.
template <int kVectors>
GRU_INLINE Counters<kVectors> counters_from(uint64_t high, uint64_t low) {
  alignas(64) static constexpr uint64_t kOffsets[] = {0,  8,  16, 24, 32, 40,  48,  56,
                                                      64, 72, 80, 88, 96, 104, 112, 120};
  Counters<kVectors> counters;
  for (int v = 0; v < kVectors; ++v) {
    counters.word[v][0] = Wide{} + low;
    counters.word[v][1] = Wide{} + (low >> 32);
    counters.word[v][2] = load_wide(kOffsets + v * kWideLanes) + high;
    counters.word[v][3] = Wide{} + (high >> 32);
  }
  return counters;
}

// bits[8 * lane + 2 * j] and the next are word j of philox(key, ...) of a lane's counter.
template <int kVectors>
GRU_INLINE void draw(uint64_t key, const Counters<kVectors>& counters, uint16_t* bits) {
  Wide c[kVectors][4];
  for (int v = 0; v < kVectors; ++v) {
    for (int j = 0; j < 4; ++j) c[v][j] = counters.word[v][j];
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
                  bits + 8 * v * kWideLanes);
  }
}

// Places of rows, without the division that takes as long as the bits of a vector: the product
// with 1 / steps is off by one at most.
template <class R>
class Places {
 public:
  explicit GRU_INLINE Places(const DropArgs<R>& args)
      : args_(args), inverse_(1.0 / static_cast<double>(args.steps)) {}
  GRU_INLINE uint64_t operator[](int64_t row) const {
    const int64_t place = args_.place ? args_.place[row] : args_.first + row;
    int64_t sequence = static_cast<int64_t>(static_cast<double>(place) * inverse_);
    int64_t step = place - sequence * args_.steps;
    const int64_t below = step < 0, above = step >= args_.steps;
    sequence += above - below;
    step += (below - above) * args_.steps;
    return random_place(sequence, step);
  }

 private:
  const DropArgs<R>& args_;
  const double inverse_;
};

// What `count` elements are multiplied by: 0 or kept. Without a branch, which would be
// mispredicted.
template <class R>
GRU_INLINE void factors_of(const uint16_t* bits, int count, uint32_t last, R kept, R* factors) {
  for (int j = 0; j < count; ++j) factors[j] = static_cast<R>(bits[j] > last) * kept;
}

// What is dropped becomes zero, whatever it was.
template <class R>
GRU_INLINE void apply(const R* factors, int64_t count, bool write, R* x) {
  int64_t j = 0;
  for (; j + kLanes<R> <= count; j += kLanes<R>) {
    const Vec<R> zero = set1<R>(R(0)), factor = load(factors + j);
    store(x + j, write ? factor : select<R>(less<R>(zero, factor), mul(load(x + j), factor), zero));
  }
  for (; j < count; ++j) x[j] = write ? factors[j] : factors[j] > 0 ? x[j] * factors[j] : R(0);
}

// Rows of at most kHalfDrawn elements: as many side by side as their bits fit two vectors.
template <class R>
void drop_narrow(const DropArgs<R>& args, uint32_t last) {
  const int groups = static_cast<int>((args.columns + 7) / 8);  // counters a row
  const int64_t together = 2 * kWideLanes / groups;
  const Places<R> places(args);
  uint64_t high[2 * kWideLanes] = {}, low[2 * kWideLanes] = {};
  for (int lane = 0; lane < together * groups; ++lane) {
    high[lane] = random_stream(args.stream, 8 * (lane % groups));
  }
  uint16_t bits[kDrawn];
  R factors[kDrawn];
  for (int64_t row = 0; row < args.rows; row += together) {
    const int64_t rows = args.rows - row < together ? args.rows - row : together;
    for (int64_t r = 0; r < rows; ++r) {
      const uint64_t place = places[row + r];
      for (int group = 0; group < groups; ++group) low[r * groups + group] = place;
    }
    draw(args.seed, counters_of<2>(high, low), bits);
    factors_of(bits, kDrawn, last, args.kept, factors);
    for (int64_t r = 0; r < rows; ++r) {
      apply(factors + r * 8 * groups, args.columns, args.write, args.x + (row + r) * args.stride);
    }
  }
}

// kVectors * kHalfDrawn elements of one row, or the `left` that it has.
template <int kVectors, class R>
GRU_INLINE void drop_run(const DropArgs<R>& args, uint32_t last, uint64_t low, int64_t row,
                         int64_t i, int64_t left) {
  constexpr int kCount = kVectors * kHalfDrawn;
  uint16_t bits[kCount];
  R factors[kCount];
  draw(args.seed, counters_from<kVectors>(random_stream(args.stream, i), low), bits);
  factors_of(bits, kCount, last, args.kept, factors);
  apply(factors, left < kCount ? left : kCount, args.write, args.x + row * args.stride + i);
}

template <class R>
void drop_wide(const DropArgs<R>& args, uint32_t last) {
  const Places<R> places(args);
  for (int64_t row = 0; row < args.rows; ++row) {
    const uint64_t low = places[row];
    for (int64_t i = 0; i < args.columns; i += kDrawn) {
      const int64_t left = args.columns - i;
      if (left > kHalfDrawn) {
        drop_run<2>(args, last, low, row, i, left);
      } else {
        drop_run<1>(args, last, low, row, i, left);
      }
    }
  }
}

template <class R>
void drop(const DropArgs<R>& args) {
  if (args.below == 0) return;
  const uint32_t last = args.below - 1;  // the largest value that drops
  if (args.columns <= kHalfDrawn) {
    drop_narrow(args, last);
  } else {
    drop_wide(args, last);
  }
}

}  // namespace GRU_ISA
}  // namespace gru
