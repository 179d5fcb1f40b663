// The time loop over the steps of a slice of sequences, for any cell; knows no gate, shape or
// layer.
#pragma once

#include "cells.hpp"
#include "norm.hpp"
#include "products.hpp"

namespace gru {
namespace GRU_ISA {

struct StepRows {
  int64_t first;       // row of slot 0
  int32_t begin, end;  // slots
  int64_t back, on;    // from a slot's row to its rows one step earlier and later; 0 at either end
};

GRU_INLINE StepRows rows_of_step(const Steps& steps, int32_t step) {
  const int32_t active = steps.active[step];
  const int64_t first = steps.first[step];
  return {first, steps.slot0, active < steps.slot1 ? active : steps.slot1,
          step > 0 ? first - steps.first[step - 1] : 0,
          step + 1 < steps.end ? steps.first[step + 1] - first : 0};
}

// Fetches a block of units of a row's saved fields into L2, a step before its turn: the row was
// written long ago, or is about to be.
template <int Fields, class R>
GRU_INLINE void fetch_saved(const R* saved, int64_t field) {
#pragma GCC unroll 8
  for (int i = 0; i < Fields; ++i) __builtin_prefetch(saved + i * field, 0, 2);
}

GRU_INLINE void meet(const Share& share) {
  if (share.meet) share.meet(share.team);
}

// One phase of one step: the recurrent product of a tile, and the gate math as its epilogue.
template <class Cell, class R, int Phase>
GRU_INLINE void forward_phase(const ForwardArgs<R>& args, int32_t step, const StepRows& rows) {
  constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  constexpr int L = kLanes<R>, G = kLayout.gates, P = kLayout.phase[Phase].count;
  const int64_t field = (args.hidden + L - 1) / L * L;
  const int64_t block0 = args.share.begin, blocks = args.share.end - block0;
  const int64_t panel_stride = int64_t(args.hidden) * P * L;
  const R* h = args.h[step & 1];
  const R* operand = args.drop ? args.dropped[step & 1] : h;
  R* h_next = args.h[~step & 1];
  const int64_t zone_row = kLayout.zones * field;
  const bool is_zoned = args.enter || args.enter_mean != R(1);
  const int64_t pre_row = args.pre_first[step] - args.pre_first[args.steps.begin];
  const R* pre = args.pre + pre_row * G * blocks * L;

  // `i` counts blocks of the share.
  const auto unit_of = [&](int64_t slot, int64_t i) GRU_LAMBDA {
    const int64_t block = block0 + i;
    const int64_t at = slot * field + block * L;
    const int64_t row = rows.first + slot - args.saved_first;
    ForwardUnit<R> unit;
    unit.pre = pre + ((slot - rows.begin) * blocks + i) * G * L;
    unit.bias_h = args.bias_h + block * L;
    unit.h = h + at;
    unit.operand = operand + at;
    unit.h_next = h_next + at;
    unit.c = kLayout.cell_state ? args.c + at : nullptr;
    unit.scratch = kLayout.phases > 1 ? args.scratch + 2 * slot * field + block * L : nullptr;
    unit.saved = args.saved ? args.saved + row * kLayout.saved * field + block * L : nullptr;
    if constexpr (kLayout.norm) {
      unit.raw =
          unit.saved ? unit.saved + kLayout.raw * field : args.raw + slot * 6 * field + block * L;
    }
    unit.update = args.update ? args.update + row * field + block * L : nullptr;
    unit.enter =
        args.enter ? args.enter + (pre_row + slot - rows.begin) * zone_row + block * L : nullptr;
    unit.zoned = is_zoned;
    unit.enter_mean = args.enter_mean;
    unit.field = field;
    unit.z_sign = args.z_sign;
    return unit;
  };

  // Takes a new state to whoever reads it next.
  const auto hand_on = [&](const ForwardUnit<R>& unit, int64_t slot, int64_t block) GRU_LAMBDA {
    const int64_t at = block * L;
    if (args.drop) {
      store(args.dropped[~step & 1] + slot * field + at,
            mul(load(unit.h_next), load(args.drop + slot * field + at)));
    }
    if (args.y.data) {
      emit(row_of(args.y, rows.first + slot) + at, load(unit.h_next), args.hidden - at, false);
    }
  };

  const int64_t own = blocks * panel_stride * int64_t(sizeof(R));
  const int64_t bytes = own > args.bytes_between ? own : args.bytes_between;
  const bool descending = step & 1;
  each_tile<P, tallest_tile(P)>(
      rows.begin, rows.end, blocks, descending,
      [&](auto m_, auto u_, int64_t slot, int64_t block) GRU_LAMBDA {
        constexpr int M = decltype(m_)::value, U = decltype(u_)::value;
        Vec<R> acc[M][U * P];
        const R* a[M];
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          a[m] = Phase == 0 ? operand + (slot + m) * field : args.scratch + 2 * (slot + m) * field;
#pragma GCC unroll 8
          for (int u = 0; u < U; ++u) {
            Cell::template start<Phase>(unit_of(slot + m, block + u), &acc[m][u * P]);
          }
        }
        const R* panel = args.u[Phase] + (block0 + block) * panel_stride;
        const Fetch<R> next = share_of_next<M>(
            descending ? panel - U * panel_stride : panel + U * panel_stride, U * panel_stride,
            slot - rows.begin, tall_rows<P>(rows.end - rows.begin), args.hidden, bytes);
        multiply_fetching<R, M, U, P>(acc, a, panel, panel_stride, args.hidden, bytes, next);
        // The epilogue is long: one copy of it, fed through the stack, instead of M * U copies.
        Vec<R> chains[M * U * P];
        spill(acc, chains);
        if constexpr (kLayout.norm) {
#pragma GCC unroll 1
          for (int i = 0; i < M * U; ++i) {
            const ForwardUnit<R> unit = unit_of(slot + i / U, block + i % U);
            keep_raw<Cell, R, Phase>(unit, chains + i * P);
          }
          return;
        }
#pragma GCC unroll 1
        for (int i = 0; i < M * U; ++i) {
          Cell::template gates<Phase>(unit_of(slot + i / U, block + i % U), chains + i * P);
        }
#pragma GCC unroll 1
        for (int i = 0; i < M * U; ++i) {
          const ForwardUnit<R> unit = unit_of(slot + i / U, block + i % U);
          if (Phase == 0 && unit.saved && rows.on) {
            fetch_saved<kLayout.saved>(unit.saved + rows.on * kLayout.saved * field, field);
          }
          Cell::template finish<Phase>(unit, chains + i * P);
          if (Phase == kLayout.phases - 1) hand_on(unit, slot + i / U, block0 + block + i % U);
        }
      });
  if constexpr (kLayout.norm) {
    meet(args.share);  // a row is normalised when all of it is there
    for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
      const NormedRow<Cell, R, Phase> row(unit_of(slot, 0), args, block0);
      for (int64_t block = 0; block < blocks; ++block) {
        const ForwardUnit<R> unit = unit_of(slot, block);
        row.finish(unit, block0 + block);
        if (Phase == kLayout.phases - 1) hand_on(unit, slot, block0 + block);
      }
    }
  }
}

template <class Cell, class R>
void forward(const ForwardArgs<R>& args) {
  for (int32_t step = args.steps.begin; step < args.steps.end; ++step) {
    const StepRows rows = rows_of_step(args.steps, step);
    if (rows.begin >= rows.end) return;
    forward_phase<Cell, R, 0>(args, step, rows);
    if constexpr (kCellLayout[Cell::kCell].phases > 1) {
      meet(args.share);  // phase 1 multiplies what phase 0 made of all units
      forward_phase<Cell, R, 1>(args, step, rows);
    }
    meet(args.share);  // the next step multiplies the state of all units
  }
}

template <class R>
GRU_INLINE R* flow_of(const BackwardArgs<R>& args, int64_t row, int64_t block) {
  constexpr int L = kLanes<R>;
  const int64_t field = (args.hidden + L - 1) / L * L;
  return args.flow + row * kFlows * field + block * L;
}

// One phase of one step backward: gate gradients, then their way through the recurrent weights into
// the gradient of the state before the step (phase 0) or of what phase 0 made for phase 1.
template <class Cell, class R, int Phase>
GRU_INLINE void backward_phase(const BackwardArgs<R>& args, int32_t step, const StepRows& rows) {
  constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  constexpr int L = kLanes<R>;
  constexpr Window window = kLayout.u_grads[Phase];
  const int64_t field = (args.hidden + L - 1) / L * L;
  const int64_t block0 = args.share.begin, block1 = args.share.end;
  const int64_t chunk_row = rows.first - args.steps.first[args.steps.begin];
  R* grads = args.grads + chunk_row * args.grads_stride;

  for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
    for (int64_t block = block0; block < block1; ++block) {
      const int64_t at = slot * field + block * L;
      BackwardUnit<R> unit;
      const int64_t saved_row = rows.first + slot - args.saved_first;
      unit.saved = args.saved + saved_row * kLayout.saved * field + block * L;
      unit.drop = args.drop ? args.drop + at : nullptr;
      unit.enter = args.enter ? args.enter + (chunk_row + slot) * kLayout.zones * field + block * L
                              : nullptr;
      unit.flow = args.flow ? flow_of(args, chunk_row + slot, block) : nullptr;
      unit.dh = args.dh + at;
      unit.dc = kLayout.cell_state ? args.dc + at : nullptr;
      unit.scratch = kLayout.phases > 1 ? args.scratch + 2 * slot * field + block * L : nullptr;
      unit.grads = grads + slot * args.grads_stride + block * L;
      unit.field = field;
      unit.z_sign = args.z_sign;
      if (Phase == kLayout.phases - 1 && rows.back) {
        const int64_t row = rows.first + slot - rows.back;
        fetch_saved<kLayout.saved>(unit.saved - rows.back * kLayout.saved * field, field);
        if (args.dy.data) __builtin_prefetch(row_of(args.dy, row) + block * L, 0, 2);
      }
      if (Phase == kLayout.phases - 1 && unit.flow) {
        store(unit.flow + kFlowDh * field, load(unit.dh));
        Cell::template backward<Phase>(unit);
        store(unit.flow + kFlowCarried * field, load(unit.dh));
      } else {
        Cell::template backward<Phase>(unit);
      }
      if (Phase == 0 && unit.drop) {
        const Vec<R> h = load(unit.saved + kLayout.saved_h * field);
        store(unit.grads + kLayout.grads * field, mul(h, load(unit.drop)));
      }
    }
  }

  meet(args.share);  // the product reads the gate gradients of all units
  if constexpr (kLayout.norm) {
    for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
      const R* saved = args.saved + (rows.first + slot - args.saved_first) * kLayout.saved * field;
      norm_backward<Cell, R, Phase>(args, saved, grads + slot * args.grads_stride);
    }
    meet(args.share);
  }

  ProductArgs<R> through = {};
  through.a = {grads + rows.begin * args.grads_stride + window.first * field, args.grads_stride,
               nullptr};
  through.rows = rows.end - rows.begin;
  through.segments = window.count;
  through.depth = args.hidden;
  through.segment_stride = field;
  through.panels = args.u[Phase] + block0 * window.count * args.hidden * L;
  through.columns = (block1 - block0) * L;
  through.add = Phase == 0;
  through.descending = step & 1;
  if (Phase > 0) {
    through.out = {args.scratch + 2 * rows.begin * field + block0 * L, 2 * field, nullptr};
  } else if (args.drop) {
    through.add = false;
    through.out = {args.undropped + rows.begin * field + block0 * L, field, nullptr};
  } else {
    through.out = {args.dh + rows.begin * field + block0 * L, field, nullptr};
  }
  product(through);
}

// body(slot, block) of every block of units that a thread has of a step.
template <class R, class Body>
GRU_INLINE void each_unit(const BackwardArgs<R>& args, const StepRows& rows, const Body& body) {
  for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
    for (int64_t block = args.share.begin; block < args.share.end; ++block) body(slot, block);
  }
}

template <class Cell, class R>
void backward(const BackwardArgs<R>& args) {
  constexpr int L = kLanes<R>;
  const int64_t field = (args.hidden + L - 1) / L * L;
  const int64_t unit0 = args.share.begin * L;
  const int64_t unit1 = args.share.end * L < args.hidden ? args.share.end * L : args.hidden;
  for (int32_t step = args.steps.end - 1; step >= args.steps.begin; --step) {
    const StepRows rows = rows_of_step(args.steps, step);
    if (rows.begin >= rows.end) continue;
    if (args.dy.data) {
      for (int64_t slot = rows.begin; slot < rows.end; ++slot) {
        const R* dy = row_of(args.dy, rows.first + slot);
        R* dh = args.dh + slot * field;
        for (int64_t unit = unit0; unit < unit1; ++unit) dh[unit] += dy[unit];
      }
    }
    if constexpr (kCellLayout[Cell::kCell].phases > 1) {
      backward_phase<Cell, R, 1>(args, step, rows);
    }
    backward_phase<Cell, R, 0>(args, step, rows);
    if (args.drop) {
      each_unit(args, rows, [&](int64_t slot, int64_t block) GRU_LAMBDA {
        const int64_t at = slot * field + block * L;
        store(args.dh + at,
              fma(load(args.undropped + at), load(args.drop + at), load(args.dh + at)));
      });
    }
    if (args.flow) {
      const int64_t row = rows.first - args.steps.first[args.steps.begin];
      each_unit(args, rows, [&](int64_t slot, int64_t block) GRU_LAMBDA {
        R* flow = flow_of(args, row + slot, block);
        const Vec<R> handed = load(args.dh + slot * field + block * L);
        store(flow + kFlowThrough * field, sub(handed, load(flow + kFlowCarried * field)));
      });
    }
  }
}

}  // namespace GRU_ISA
}  // namespace gru
