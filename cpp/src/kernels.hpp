// The boundary: tables of function pointers over raw pointers and plain structs.
//
// Everything below this line of the project is compiled once per instruction set; everything above
// it is compiled once. Kernels check nothing, allocate nothing, throw nothing and know no threads.
//
// Letters: L lanes of a vector, H hidden units, Hp = H rounded up to whole lanes, G gates of a
// cell. A "row" is one step of one sequence. Rows are numbered step by step: see schedule.hpp.
#pragma once

#include <cstdint>

#include "cell_layout.hpp"

namespace gru {

// Rows of a matrix: row i starts at data + (at ? at[i] : i) * stride.
template <class R>
struct Rows {
  R* data;
  int64_t stride;
  const int64_t* at;
};

// Weights as the products read them: panels[unit / L][k][gate][unit % L], zero in padded units.
// Element (gate, unit, k) is w[gate * gate_stride + unit * unit_stride + k * k_stride].
template <class R>
struct PackArgs {
  const R* w;
  int64_t gate_stride, unit_stride, k_stride;
  int gates, units, depth;
  R* panels;
  int64_t panel_stride;  // from one block of L units to the next
};

// out[row][column] = init[column] + sum over k ascending of a[row][k] * w[column][k], one chain.
// k runs over `segments` runs of `depth` elements, segment_stride apart in a, dense in the panels.
template <class R>
struct ProductArgs {
  Rows<const R> a;
  int64_t rows;
  int segments, depth;
  int64_t segment_stride;
  const R* panels;        // [vector][k][L]
  int64_t columns;        // rounded up to whole vectors in panels and init, exact in out
  const R* init;          // null: zero
  bool add;               // out += the chain, instead of out = the chain
  bool descending;        // columns from the last to the first
  int64_t bytes_between;  // of weights, from reading these to reading them again; 0: these alone
  Rows<R> out;
};

// x[i] = bits(i) < below ? 0 : x[i] * kept, in rows of `columns`; below 0 leaves x as it is. With
// `write` x[i] = bits(i) < below ? 0 : kept, a mask. The 16 bits of element i are a function of
// (seed, stream, place of the row, i) alone: neither padding nor threads nor the instruction set
// show.
template <class R>
struct DropArgs {
  R* x;
  int64_t stride, rows, columns;
  const int64_t* place;  // of each row: sequence * steps + step; null: first, first + 1, ...
  int64_t first, steps;
  uint64_t seed, stream;
  uint32_t below;  // 2^16: all
  R kept;
  bool write;
};

// Rows that outer takes at a time, and how much of b it copies.
inline constexpr int64_t kOuterRows = 256, kOuterStrip = kOuterRows * 512;

// c[i][j] += sum over rows descending of a[row][i] * b[row][j], continuing c's own chain, so that
// any cut of the rows into calls gives the same bits.
template <class R>
struct OuterArgs {
  R* scratch;  // kOuterStrip values
  Rows<const R> a, b;
  int64_t rows;
  int64_t i0, i1;  // columns of a
  int64_t j0, j1;  // columns of b; whole vectors, b is readable up to there
  R* c;            // c[i * c_stride + j]
  int64_t c_stride;
};

template <class R>
struct ColumnSumArgs {
  Rows<const R> a;
  int64_t rows, columns;
  R* sum;  // sum[column] continues its chain, rows descending
};

// Steps [begin, end) of slots [slot0, slot1). Slots are sequences sorted by length, longest first:
// step s works on slots 0 .. active[s] - 1, and its row of slot i is first[s] + i.
struct Steps {
  const int32_t* active;
  const int64_t* first;
  int32_t begin, end, slot0, slot1;
};

// Blocks [begin, end) of L hidden units: all of them, or one thread's share. The threads of a team
// sweep the same steps and slots, each its own blocks, and meet where one needs what another made.
struct Share {
  int32_t begin, end;
  void (*meet)(void* team);  // null: nobody to wait for
  void* team;
};

template <class R>
struct ForwardArgs {
  Steps steps;
  Share share;
  int hidden;
  const R* u[2];             // panels of each phase
  int64_t bytes_between;     // as of a product
  const R* bias_h;           // [Hp] bias of the gates with a hidden chain of their own
  R z_sign;                  // GRU: w = sigmoid(z_sign * a_z), h' = h + w * (n - h)
  const R* norm;             // [gain, bias][input, hidden][gate][Hp]; normalised cells only
  R* raw;                    // [slot][6][Hp] room for their sides where nothing is saved
  const R* pre;              // input side of steps begin..end: [row][block of the share][gate][L]
  const int64_t* pre_first;  // row of pre of (step s, slot0) is pre_first[s] - pre_first[begin]
  R* h[2];                   // [slot][Hp]: step s reads h[s & 1] and writes the other
  R* c;                      // [slot][Hp], in place; LSTM only
  R* scratch;                // [slot][2][Hp]; two-phase cells only
  R* saved;                  // [row - saved_first][field][Hp]; null: inference
  int64_t saved_first;
  R* update;       // [row - saved_first][Hp] GRU: sigmoid(a_z); null: not wanted
  const R* drop;   // [slot][Hp] recurrent dropout: U multiplies drop * h; null: off
  R* dropped[2];   // [slot][Hp] drop * h, beside h
  const R* enter;  // [row of pre][zone][Hp] zoneout in training: 0 holds a unit back; null: off
  R enter_mean;    // zoneout in inference: how much of a new state enters; 1: all
  Rows<R> y;       // null data: not wanted
};

template <class R>
struct BackwardArgs {
  Steps steps;
  Share share;
  int hidden;
  const R* u[2];  // transposed panels of each phase
  R z_sign;
  const R* norm;   // as in forward
  const R* saved;  // [row - saved_first][field][Hp]
  int64_t saved_first;
  const R* drop;         // as in forward
  R* undropped;          // [slot][Hp] room for U^T of the gate gradients; only with drop
  const R* enter;        // [row - first[begin]][zone][Hp], as in forward
  R* flow;               // [row - first[begin]][FlowField][Hp]; null: not wanted
  Rows<const R> dy;      // null data: zero
  R* dh;                 // [slot][Hp], in place
  R* dc;                 // [slot][Hp], in place; LSTM only
  R* scratch;            // [slot][2][Hp]; two-phase cells only
  R* grads;              // [row - first[begin]][field][Hp]
  int64_t grads_stride;  // from row to row
};

template <class R>
struct Kernels {
  const char* isa;
  int lanes;
  void (*pack)(const PackArgs<R>&);
  void (*product)(const ProductArgs<R>&);
  void (*outer)(const OuterArgs<R>&);
  void (*column_sum)(const ColumnSumArgs<R>&);
  void (*drop)(const DropArgs<R>&);
  void (*forward[kCells])(const ForwardArgs<R>&);
  void (*backward[kCells])(const BackwardArgs<R>&);
  void (*sigmoid)(const R* x, R* y, int64_t count);
  void (*tanh)(const R* x, R* y, int64_t count);
};

}  // namespace gru
