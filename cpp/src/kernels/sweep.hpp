// The time loop over the steps of a slice of sequences, for any cell; knows no gate, shape or
// layer.
#pragma once

#include <cstring>

#include "cells.hpp"
#include "products.hpp"

namespace gru {
namespace GRU_ISA {

struct StepRows {
  int64_t first;       // row of slot 0
  int32_t begin, end;  // slots
};

GRU_INLINE StepRows rows_of_step(const Steps& steps, int32_t step) {
  const int32_t active = steps.active[step];
  return {steps.first[step], steps.slot0, active < steps.slot1 ? active : steps.slot1};
}

// One phase of one step: the recurrent product of a tile, and the gate math as its epilogue.
template <class Cell, class R, int Phase>
GRU_INLINE void forward_phase(const ForwardArgs<R>& args, int32_t step, const StepRows& rows) {
  constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  constexpr int L = kLanes<R>, G = kLayout.gates, P = kLayout.phase[Phase].count;
  const int64_t blocks = (args.hidden + L - 1) / L, field = blocks * L;
  const int64_t panel_stride = int64_t(args.hidden) * P * L;
  const R* h = args.h[step & 1];
  R* h_next = args.h[~step & 1];
  const R* pre = args.pre + (args.pre_first[step] - args.pre_first[args.steps.begin]) * G * field;

  const auto unit_of = [&](int64_t slot, int64_t block) GRU_LAMBDA {
    const int64_t at = slot * field + block * L;
    const int64_t row = rows.first + slot;
    ForwardUnit<R> unit;
    unit.pre = pre + (slot - rows.begin) * G * field + block * G * L;
    unit.bias_h = args.bias_h + block * L;
    unit.h = h + at;
    unit.h_next = h_next + at;
    unit.c = kLayout.cell_state ? args.c + at : nullptr;
    unit.scratch = kLayout.phases > 1 ? args.scratch + 2 * slot * field + block * L : nullptr;
    unit.saved = args.saved ? args.saved + row * kLayout.saved * field + block * L : nullptr;
    unit.field = field;
    unit.z_sign = args.z_sign;
    return unit;
  };

  each_tile<P, tallest_tile(P)>(
      rows.begin, rows.end, blocks, [&](auto m_, auto u_, int64_t slot, int64_t block) GRU_LAMBDA {
        constexpr int M = decltype(m_)::value, U = decltype(u_)::value;
        Vec<R> acc[M][U * P];
        const R* a[M];
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          a[m] = Phase == 0 ? h + (slot + m) * field : args.scratch + 2 * (slot + m) * field;
#pragma GCC unroll 8
          for (int u = 0; u < U; ++u) {
            Cell::template start<Phase>(unit_of(slot + m, block + u), &acc[m][u * P]);
          }
        }
        multiply<R, M, U, P>(acc, a, args.u[Phase] + block * panel_stride, panel_stride,
                             args.hidden);
        // The epilogue is long: one copy of it, fed through the stack, instead of M * U copies.
        Vec<R> chains[M * U * P];
        spill(acc, chains);
#pragma GCC unroll 1
        for (int i = 0; i < M * U; ++i) {
          Cell::template finish<Phase>(unit_of(slot + i / U, block + i % U), chains + i * P);
        }
      });
}

template <class Cell, class R>
void forward(const ForwardArgs<R>& args) {
  const int64_t field = (args.hidden + kLanes<R> - 1) / kLanes<R> * kLanes<R>;
  for (int32_t step = args.steps.begin; step < args.steps.end; ++step) {
    const StepRows rows = rows_of_step(args.steps, step);
    if (rows.begin >= rows.end) return;
    forward_phase<Cell, R, 0>(args, step, rows);
    if constexpr (kCellLayout[Cell::kCell].phases > 1) {
      forward_phase<Cell, R, 1>(args, step, rows);
    }
    if (!args.y.data) continue;
    const R* h_next = args.h[~step & 1];
    for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
      std::memcpy(row_of(args.y, rows.first + slot), h_next + slot * field,
                  args.hidden * sizeof(R));
    }
  }
}

// One phase of one step backward: gate gradients, then their way through the recurrent weights into
// the gradient of the state before the step (phase 0) or of what phase 0 made for phase 1.
template <class Cell, class R, int Phase>
GRU_INLINE void backward_phase(const BackwardArgs<R>& args, const StepRows& rows) {
  constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  constexpr int L = kLanes<R>;
  constexpr Window window = kLayout.u_grads[Phase];
  const int64_t blocks = (args.hidden + L - 1) / L, field = blocks * L;
  R* grads = args.grads + (rows.first - args.steps.first[args.steps.begin]) * kLayout.grads * field;

  for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t at = slot * field + block * L;
      BackwardUnit<R> unit;
      unit.saved = args.saved + (rows.first + slot) * kLayout.saved * field + block * L;
      unit.dh = args.dh + at;
      unit.dc = kLayout.cell_state ? args.dc + at : nullptr;
      unit.scratch = kLayout.phases > 1 ? args.scratch + 2 * slot * field + block * L : nullptr;
      unit.grads = grads + slot * kLayout.grads * field + block * L;
      unit.field = field;
      unit.z_sign = args.z_sign;
      Cell::template backward<Phase>(unit);
    }
  }

  ProductArgs<R> through;
  through.a = {grads + (rows.begin * kLayout.grads + window.first) * field, kLayout.grads * field,
               nullptr};
  through.rows = rows.end - rows.begin;
  through.segments = window.count;
  through.depth = args.hidden;
  through.segment_stride = field;
  through.panels = args.u[Phase];
  through.columns = field;
  through.init = nullptr;
  through.add = Phase == 0;
  if (Phase == 0) {
    through.out = {args.dh + rows.begin * field, field, nullptr};
  } else {
    through.out = {args.scratch + 2 * rows.begin * field, 2 * field, nullptr};
  }
  product(through);
}

template <class Cell, class R>
void backward(const BackwardArgs<R>& args) {
  const int64_t field = (args.hidden + kLanes<R> - 1) / kLanes<R> * kLanes<R>;
  for (int32_t step = args.steps.end - 1; step >= args.steps.begin; --step) {
    const StepRows rows = rows_of_step(args.steps, step);
    if (rows.begin >= rows.end) continue;
    if (args.dy.data) {
      for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
        const R* dy = row_of(args.dy, rows.first + slot);
        R* dh = args.dh + slot * field;
        for (int unit = 0; unit < args.hidden; ++unit) dh[unit] += dy[unit];
      }
    }
    if constexpr (kCellLayout[Cell::kCell].phases > 1) {
      backward_phase<Cell, R, 1>(args, rows);
    }
    backward_phase<Cell, R, 0>(args, rows);
  }
}

}  // namespace GRU_ISA
}  // namespace gru
