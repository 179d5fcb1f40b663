// Packing and the matrix products; knows no cell, no time and no threads.
//
// One register tile serves them all: M rows by N vectors of independent fused multiply-add chains.
// Each output element is one chain in a fixed order of k, so the result does not depend on how rows
// and columns are cut into tiles.
#pragma once

#include "../kernels.hpp"
#include "simd.hpp"

namespace gru {
namespace GRU_ISA {

// SSE and AVX2: 16 registers of 4 or 8 lanes. What is said of them below was measured on Zen 3.
constexpr bool kFewRegisters = kAccumulators <= 16;

template <int N>
struct Const {
  static constexpr int value = N;
};

// Rows of the tallest tile made of blocks of `vectors`. Where a block is one vector, three of them
// beside each other: few loads for many multiply-adds.
constexpr int tallest_tile(int vectors) {
  if (vectors == 1) return kAccumulators / 3;
  return kAccumulators / vectors < 8 ? kAccumulators / vectors : 8;
}

// Sizes go down 8 4 2 1 or 6 4 2 1 or 3 2 1, so that what is left over is done in large pieces too.
constexpr int next_smaller(int size) { return size > 4 ? 4 : size == 3 ? 2 : size / 2; }

// Calls body(Const<N>, i) over [begin, end), N at a time while that many are left, then fewer;
// from the end if `descending`.
template <int N, class Body>
GRU_INLINE void each_piece(int64_t begin, int64_t end, bool descending, Body body) {
  while (end - begin >= N && !(N == 3 && end - begin == 4)) {  // 2 + 2, not 3 + 1
    const int64_t i = descending ? end - N : begin;
    body(Const<N>{}, i);
    (descending ? end : begin) = descending ? i : i + N;
  }
  if constexpr (N > 1) each_piece<next_smaller(N)>(begin, end, descending, body);
}

// Blocks side by side in a tile of M rows: enough independent chains, few streams of weights.
// Panels often lie a multiple of 4 KiB apart, where many streams would push each other out of L1:
// for a single row two wide vectors keep L2 busy already. Of narrow ones six chains do: with two
// the multipliers waited for each other (AVX2, one step at H = 32, 128, 256: 1.2 to 1.3 times as
// long).
constexpr int widest_tile(int rows, int vectors) {
  const int fit = kAccumulators / (rows * vectors);
  const int several = vectors > 1 ? 3 : 4;
  const int single = kFewRegisters ? (vectors > 1 ? 4 : 6) : (vectors > 1 ? 3 : 2);
  const int streams = rows == 1 ? single : several;
  return fit < streams ? fit : streams;
}

// Of so many rows those that go in the first pass of each_tile(): in tiles of the tallest height,
// or all of them, where that and one less make them up.
template <int P>
GRU_INLINE int64_t tall_rows(int64_t rows) {
  constexpr int M = tallest_tile(P);
  const int64_t tiles = (rows + M - 1) / M;
  return kFewRegisters && tiles * (M - 1) <= rows ? rows : rows / M * M;
}

// Cuts rows x blocks into tiles of M rows and U blocks of P vectors and calls
// body(Const<M>, Const<U>, row, block). Blocks outside, rows inside: a panel stays in cache. Fewer
// rows take more blocks at once, to keep enough independent chains in flight. Whoever comes again
// does well to change direction each time: what the cache could keep is then read first.
//
// Of narrow vectors a tile is four rows tall or so, and what is left over would read all weights
// once more, or twice: they go in tiles of M and M - 1 in one pass, if their number allows it (11
// rows of H = 512 took 1.25 times as long in 8 + 2 + 1, on Zen 3).
template <int P, int M, class Body>
GRU_INLINE void each_tile(int64_t row, int64_t rows, int64_t blocks, bool descending, Body body) {
  if constexpr (kFewRegisters && M == tallest_tile(P)) {
    if (tall_rows<P>(rows - row) == rows - row) {
      const int64_t tiles = (rows - row + M - 1) / M, lower = tiles * M - (rows - row);
      each_piece<widest_tile(M, P)>(0, blocks, descending, [&](auto u, int64_t block) GRU_LAMBDA {
        int64_t r = row;
        for (; r < rows - lower * (M - 1); r += M) body(Const<M>{}, u, r, block);
        for (; r < rows; r += M - 1) body(Const<M - 1>{}, u, r, block);
      });
      return;
    }
  }
  const int64_t end = row + (rows - row) / M * M;
  if (row < end) {
    each_piece<widest_tile(M, P)>(0, blocks, descending, [&](auto u, int64_t block) GRU_LAMBDA {
      for (int64_t r = row; r < end; r += M) body(Const<M>{}, u, r, block);
    });
    descending = !descending;
  }
  if constexpr (M > 1) each_tile<P, next_smaller(M)>(end, rows, blocks, descending, body);
}

// Weights up to kInner bytes stay in L1, up to kNear in L2.
constexpr int64_t kInner = 32 * 1024, kNear = 512 * 1024;

// What a product fetches while it multiplies: its own weights from L2 a little earlier than the
// processor would, and those that come next, which are not even in L2. The first pays where a
// vector fills a cache line. Of narrow ones there are several a line, and the processor keeps up
// with them (AVX2 on Zen 3: a single row at H = 128 took 1.2 times as long with it, 8 rows 1.1).
constexpr bool kFetchesOwn = !kFewRegisters;
constexpr int steps_early(int chains) { return chains > 2 ? 4 : 8; }  // steps of k

// Weights that a tile fetches into L2 while it multiplies: at `from`, and `stride` on each step of
// k. Null: none.
template <class R>
struct Fetch {
  const R* from = nullptr;
  int64_t stride = 0;
};

// acc[m][u * P + p] += a[m][k] * w[u][k][p], k ascending.
template <bool Own, bool Next, class R, int M, int U, int P>
GRU_INLINE void multiply(Vec<R> (&acc)[M][U * P], const R* const (&a)[M], const R* w,
                         int64_t panel_stride, int depth, Fetch<R> next) {
  constexpr int L = kLanes<R>, kEarly = steps_early(M * U * P);
  for (int k = 0; k < depth; ++k, w += P * L) {
    if constexpr (Next) __builtin_prefetch(next.from + k * next.stride, 0, 2);
    Vec<R> weight[U * P];
#pragma GCC unroll 32
    for (int u = 0; u < U; ++u) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const R* from = w + u * panel_stride + p * L;
        if constexpr (Own) __builtin_prefetch(from + kEarly * P * L, 0, 3);
        weight[u * P + p] = load(from);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<R> factor = set1<R>(a[m][k]);
#pragma GCC unroll 32
      for (int n = 0; n < U * P; ++n) acc[m][n] = fma(factor, weight[n], acc[m][n]);
    }
  }
}

// The same, fetching what pays: `bytes` of weights are read before these are read again. Only tall
// tiles have time to fetch what is next; where there is nothing to fetch `next` is null.
template <class R, int M, int U, int P>
GRU_INLINE void multiply_fetching(Vec<R> (&acc)[M][U * P], const R* const (&a)[M], const R* w,
                                  int64_t panel_stride, int depth, int64_t bytes, Fetch<R> next) {
  if constexpr (M == tallest_tile(P) || (kFewRegisters && M + 1 == tallest_tile(P))) {
    if (next.from) {
      return multiply<kFetchesOwn, true, R, M, U, P>(acc, a, w, panel_stride, depth, next);
    }
  }
  if constexpr (kFetchesOwn) {
    if (bytes > kInner) {
      return multiply<true, false, R, M, U, P>(acc, a, w, panel_stride, depth, {});
    }
  }
  multiply<false, false, R, M, U, P>(acc, a, w, panel_stride, depth, {});
}

// Of weights that do not stay in L2, each of the tall tiles of `rows` rows fetches a share of the
// `size` numbers that come next, as large as its own of the rows, and a line at most each of its
// `depth` steps of k. All tiles alike: from memory they come slowly, and loads from L2 would wait
// behind a crowd of them.
template <int M, class R>
GRU_INLINE Fetch<R> share_of_next(const R* next, int64_t size, int64_t row, int64_t rows,
                                  int64_t depth, int64_t bytes) {
  constexpr int64_t kLine = 64 / sizeof(R);
  if (bytes <= kNear || row >= rows) return {};
  const int64_t stride = (size * M + rows * depth - 1) / (rows * depth);
  return {next + size * row / rows, stride < kLine ? stride : kLine};
}

// Copies a tile to memory, row by row. A long epilogue then loops over it: inside unrolled code
// such a loop would make the compiler keep the accumulators themselves in memory.
template <class V, int M, int N>
GRU_INLINE void spill(const V (&acc)[M][N], V (&to)[M * N]) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n) to[m * N + n] = acc[m][n];
  }
}

// One gate of one block: to[k * step] holds the L units at k. `valid` of them exist.
template <class R>
GRU_INLINE void pack_units(const PackArgs<R>& args, const R* w, int valid, R* to, int64_t step) {
  constexpr int L = kLanes<R>;
  int k = 0;
  if (valid == L && args.unit_stride == 1) {
    for (; k < args.depth; ++k) store(to + k * step, load(w + k * args.k_stride));
  } else if (valid == L && args.k_stride == 1) {
    for (; k + L <= args.depth; k += L) {
      transpose(w + k, args.unit_stride, to + k * step, step);
    }
  }
  for (; k < args.depth; ++k) {
    for (int i = 0; i < L; ++i) {
      to[k * step + i] = i < valid ? w[i * args.unit_stride + k * args.k_stride] : R(0);
    }
  }
}

template <class R>
void pack(const PackArgs<R>& args) {
  constexpr int L = kLanes<R>;
  for (int block = 0; block * L < args.units; ++block) {
    R* panel = args.panels + block * args.panel_stride;
    const int valid = args.units - block * L < L ? args.units - block * L : L;
    for (int gate = 0; gate < args.gates; ++gate) {
      const R* w = args.w + gate * args.gate_stride + block * L * args.unit_stride;
      pack_units(args, w, valid, panel + gate * L, int64_t(args.gates) * L);
    }
  }
}

template <class R>
GRU_INLINE R* row_of(const Rows<R>& rows, int64_t i) {
  return rows.data + (rows.at ? rows.at[i] : i) * rows.stride;
}

// Writes (or adds) one vector of results, of which only `valid` lanes exist in memory.
template <class R>
GRU_INLINE void emit(R* to, Vec<R> value, int64_t valid, bool accumulate) {
  if (valid >= kLanes<R>) {
    store(to, accumulate ? add(load(to), value) : value);
    return;
  }
  R lanes[kLanes<R>];
  store(lanes, value);
  for (int64_t i = 0; i < valid; ++i) to[i] = accumulate ? to[i] + lanes[i] : lanes[i];
}

template <class R>
void product(const ProductArgs<R>& args) {
  constexpr int L = kLanes<R>;
  const int64_t panel_stride = int64_t(args.segments) * args.depth * L;
  const int64_t vectors = (args.columns + L - 1) / L;
  const int64_t own = vectors * panel_stride * int64_t(sizeof(R));
  const int64_t bytes = own > args.bytes_between ? own : args.bytes_between;
  each_tile<1, tallest_tile(1)>(
      0, args.rows, vectors, args.descending,
      [&](auto m_, auto u_, int64_t row, int64_t v) GRU_LAMBDA {
        constexpr int M = decltype(m_)::value, U = decltype(u_)::value;
        Vec<R> acc[M][U];
        const R* a[M];
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          a[m] = row_of(args.a, row + m);
#pragma GCC unroll 8
          for (int u = 0; u < U; ++u) {
            acc[m][u] = args.init ? load(args.init + (v + u) * L) : set1<R>(R(0));
          }
        }
        const R* w = args.panels + v * panel_stride;
        Fetch<R> next = share_of_next<M>(
            args.descending ? w - U * panel_stride : w + U * panel_stride, U * panel_stride, row,
            tall_rows<1>(args.rows), int64_t(args.segments) * args.depth, bytes);
        for (int segment = 0; segment < args.segments; ++segment) {
          multiply_fetching<R, M, U, 1>(acc, a, w, panel_stride, args.depth, bytes, next);
          if (next.from) next.from += args.depth * next.stride;
          w += args.depth * L;
#pragma GCC unroll 8
          for (int m = 0; m < M; ++m) a[m] += args.segment_stride;
        }
        if ((v + U) * L <= args.columns) {
#pragma GCC unroll 8
          for (int m = 0; m < M; ++m) {
            R* to = row_of(args.out, row + m) + v * L;
#pragma GCC unroll 8
            for (int u = 0; u < U; ++u) {
              store(to + u * L, args.add ? add(load(to + u * L), acc[m][u]) : acc[m][u]);
            }
          }
          return;
        }
        Vec<R> result[M * U];
        spill(acc, result);
#pragma GCC unroll 1
        for (int i = 0; i < M * U; ++i) {
          const int64_t column = (v + i % U) * L;
          emit(row_of(args.out, row + i / U) + column, result[i], args.columns - column, args.add);
        }
      });
}

// c += a' b for one tile of c; rows of a are a_stride apart, b is dense: [row][U * L].
template <class R, int M, int U>
GRU_INLINE void outer_tile(const R* a, int64_t a_stride, const R* b, int64_t rows, R* c,
                           int64_t c_stride) {
  constexpr int L = kLanes<R>;
  Vec<R> acc[M][U];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) acc[m][u] = load(c + m * c_stride + u * L);
  }
  for (int64_t row = rows - 1; row >= 0; --row) {
    Vec<R> right[U];
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) {
      const R* from = b + (row * U + u) * L;
      __builtin_prefetch(from - 8 * U * L, 0, 3);
      right[u] = load(from);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<R> left = set1<R>(a[row * a_stride + m]);
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) acc[m][u] = fma(left, right[u], acc[m][u]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) store(c + m * c_stride + u * L, acc[m][u]);
  }
}

// Rows [row0, row0 + rows) of N columns, to dense rows.
template <int N, class R>
GRU_INLINE void copy_strip(const Rows<const R>& from, int64_t row0, int64_t rows, int64_t column,
                           R* to) {
  for (int64_t row = 0; row < rows; ++row, to += N) {
    __builtin_memcpy(to, row_of(from, row0 + row) + column, N * sizeof(R));
  }
}

// Rows of gate gradients lie kilobytes apart, often a power of two, which neither caches nor the
// prefetcher like: each tile's columns are copied to dense strips first, unless used only once.
template <class R>
void outer(const OuterArgs<R>& args) {
  constexpr int L = kLanes<R>, kWidth = 4, kHeight = kAccumulators / kWidth;
  constexpr int64_t kVectors = kOuterStrip / (kOuterRows * L);  // of b at a time
  const int64_t vectors = (args.j1 - args.j0 + L - 1) / L;
  R strip[kOuterRows * kHeight];

  for (int64_t row1 = args.rows; row1 > 0; row1 -= kOuterRows) {
    const int64_t row0 = row1 > kOuterRows ? row1 - kOuterRows : 0, rows = row1 - row0;
    for (int64_t v0 = 0; v0 < vectors; v0 += kVectors) {
      const int64_t wide = vectors - v0 < kVectors ? vectors - v0 : kVectors;
      const int64_t j = args.j0 + v0 * L;
      each_piece<kWidth>(0, wide, false, [&](auto u_, int64_t v) GRU_LAMBDA {
        copy_strip<decltype(u_)::value * L>(args.b, row0, rows, j + v * L,
                                            args.scratch + v * rows * L);
      });
      const bool once = wide <= kWidth && !args.a.at;
      each_piece<kHeight>(args.i0, args.i1, false, [&](auto m_, int64_t i) GRU_LAMBDA {
        constexpr int M = decltype(m_)::value;
        if (!once) copy_strip<M>(args.a, row0, rows, i, strip);
        const R* left = once ? row_of(args.a, row0) + i : strip;
        const int64_t left_stride = once ? args.a.stride : M;
        each_piece<kWidth>(0, wide, false, [&](auto u_, int64_t v) GRU_LAMBDA {
          constexpr int U = decltype(u_)::value;
          outer_tile<R, M, U>(left, left_stride, args.scratch + v * rows * L, rows,
                              args.c + i * args.c_stride + j + v * L, args.c_stride);
        });
      });
    }
  }
}

template <class R>
void column_sum(const ColumnSumArgs<R>& args) {
  constexpr int L = kLanes<R>;
  const int64_t vectors = args.columns / L;
  each_piece<8>(0, vectors, false, [&](auto u_, int64_t v) GRU_LAMBDA {
    constexpr int U = decltype(u_)::value;
    R* to = args.sum + v * L;
    Vec<R> acc[U];
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) acc[u] = load(to + u * L);
    for (int64_t row = args.rows - 1; row >= 0; --row) {
      const R* from = row_of(args.a, row) + v * L;
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) acc[u] = add(acc[u], load(from + u * L));
    }
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) store(to + u * L, acc[u]);
  });
  for (int64_t j = vectors * L; j < args.columns; ++j) {
    for (int64_t row = args.rows - 1; row >= 0; --row) args.sum[j] += row_of(args.a, row)[j];
  }
}

}  // namespace GRU_ISA
}  // namespace gru
