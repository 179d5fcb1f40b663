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

template <int N>
struct Const {
  static constexpr int value = N;
};

// Rows of the tallest tile whose rows are `vectors` wide.
constexpr int tallest_tile(int vectors) {
  return kAccumulators / vectors < 8 ? kAccumulators / vectors : 8;
}

// Calls body(Const<U>, block) over blocks, U at a time while that many are left, then U / 2, ...
template <int U, class Body>
GRU_INLINE void each_block_group(int64_t block, int64_t blocks, Body body) {
  for (; block + U <= blocks; block += U) body(Const<U>{}, block);
  if constexpr (U > 1) each_block_group<U / 2>(block, blocks, body);
}

// Cuts rows x blocks into tiles of M rows and U blocks of P vectors and calls
// body(Const<M>, Const<U>, row, block). Blocks outside, rows inside: a panel stays in cache. Fewer
// rows take more blocks at once, to keep enough independent chains in flight.
template <int P, int M, class Body>
GRU_INLINE void each_tile(int64_t row, int64_t rows, int64_t blocks, Body body) {
  const int64_t end = row + (rows - row) / M * M;
  constexpr int kBlocks = kAccumulators / (M * P) < 8 ? kAccumulators / (M * P) : 8;
  if (row < end) {
    each_block_group<kBlocks>(0, blocks, [&](auto u, int64_t block) GRU_LAMBDA {
      for (int64_t r = row; r < end; r += M) body(Const<M>{}, u, r, block);
    });
  }
  if constexpr (M > 1) each_tile<P, M / 2>(end, rows, blocks, body);
}

// acc[m][u * P + p] += a[m][k] * w[u][k][p], k ascending.
template <class R, int M, int U, int P>
GRU_INLINE void multiply(Vec<R> (&acc)[M][U * P], const R* const (&a)[M], const R* w,
                         int64_t panel_stride, int depth) {
  constexpr int L = kLanes<R>;
  for (int k = 0; k < depth; ++k, w += P * L) {
    Vec<R> weight[U * P];
#pragma GCC unroll 32
    for (int u = 0; u < U; ++u) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) weight[u * P + p] = load(w + u * panel_stride + p * L);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<R> factor = set1<R>(a[m][k]);
#pragma GCC unroll 32
      for (int n = 0; n < U * P; ++n) acc[m][n] = fma(factor, weight[n], acc[m][n]);
    }
  }
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

template <class R>
void pack(const PackArgs<R>& args) {
  constexpr int L = kLanes<R>;
  for (int block = 0; block * L < args.units; ++block) {
    R* panel = args.panels + block * args.panel_stride;
    const int valid = args.units - block * L < L ? args.units - block * L : L;
    for (int gate = 0; gate < args.gates; ++gate) {
      const R* w = args.w + gate * args.gate_stride + block * L * args.unit_stride;
      for (int k = 0; k < args.depth; ++k) {
        R* to = panel + (int64_t(k) * args.gates + gate) * L;
        for (int unit = 0; unit < valid; ++unit) {
          to[unit] = w[unit * args.unit_stride + k * args.k_stride];
        }
        for (int unit = valid; unit < L; ++unit) to[unit] = R(0);
      }
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
  each_tile<1, 8>(0, args.rows, vectors, [&](auto m_, auto u_, int64_t row, int64_t v) GRU_LAMBDA {
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
    for (int segment = 0; segment < args.segments; ++segment) {
      multiply<R, M, U, 1>(acc, a, w, panel_stride, args.depth);
      w += args.depth * L;
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) a[m] += args.segment_stride;
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

template <class R>
void outer(const OuterArgs<R>& args) {
  constexpr int L = kLanes<R>;
  const int64_t vectors = (args.j1 - args.j0 + L - 1) / L;
  const int64_t width = args.i1 - args.i0;
  each_tile<1, 8>(0, width, vectors, [&](auto m_, auto u_, int64_t i, int64_t v) GRU_LAMBDA {
    constexpr int M = decltype(m_)::value, U = decltype(u_)::value;
    Vec<R> acc[M][U];
    R* c = args.c + (args.i0 + i) * args.c_stride + args.j0 + v * L;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) acc[m][u] = load(c + m * args.c_stride + u * L);
    }
    for (int64_t row = args.rows - 1; row >= 0; --row) {
      const R* a = row_of(args.a, row) + args.i0 + i;
      const R* b = row_of(args.b, row) + args.j0 + v * L;
      Vec<R> right[U];
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) right[u] = load(b + u * L);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Vec<R> left = set1<R>(a[m]);
#pragma GCC unroll 8
        for (int u = 0; u < U; ++u) acc[m][u] = fma(left, right[u], acc[m][u]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) store(c + m * args.c_stride + u * L, acc[m][u]);
    }
  });
}

template <class R>
void column_sum(const ColumnSumArgs<R>& args) {
  for (int64_t row = args.rows - 1; row >= 0; --row) {
    const R* a = row_of(args.a, row);
    for (int64_t j = 0; j < args.columns; ++j) args.sum[j] += a[j];
  }
}

}  // namespace GRU_ISA
}  // namespace gru
