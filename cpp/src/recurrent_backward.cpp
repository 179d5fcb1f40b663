// Backward pass of a recurrent layer. Per layer and chunk of steps, latest first: one sweep for the
// gate gradients, then products over the chunk's rows for dW, dU and dx.
//
// Weight gradients are one chain a element over rows in descending order, continued from chunk to
// chunk through memory; threads split elements, never rows. So neither threads nor chunks show.
#include <algorithm>

#include "parallel.hpp"
#include "plan.hpp"
#include "random.hpp"
#include "recurrent.hpp"
#include "scratch.hpp"

namespace gru {
namespace {

// A chunk has enough rows to make the weight gradients' products worthwhile, then as many as fit.
constexpr int64_t kChunkRows = 256;
constexpr int64_t kChunkBytes = 512 * 1024;
constexpr int64_t kOuterGrain = 8;  // columns of gate gradients a thread takes at least

// Weight gradients as the kernels make them: padded, gates in the order of the windows.
template <class R>
struct Accumulated {
  Scratch<R> w;     // [w_grads fields * field][stride]
  Scratch<R> u[2];  // [u_grads fields * field][field]
  Scratch<R> bias;  // [grads fields * field]: sums of every field

  Accumulated(const Geometry& g, int64_t layer)
      : w(g.layout.w_grads.count * g.field * g.stride(layer)),
        u{Scratch<R>(g.layout.u_grads[0].count * g.field * g.field),
          Scratch<R>(g.layout.u_grads[1].count * g.field * g.field)},
        bias(g.layout.grads * g.field) {
    w.zero();
    for (Scratch<R>& phase : u) phase.zero();
    bias.zero();
  }
};

template <class R>
struct DirectionRun {
  bool reverse;
  const Panels<R>* panels;
  const R* saved;
  Scratch<R> dh, dc, scratch;  // [slot][field]
  Scratch<R> grads;            // of a chunk: [row][field of grads][field]
  Accumulated<R> sum;

  DirectionRun(const Geometry& g, const LayerTape<R>& tape, int64_t layer, int64_t direction,
               int64_t chunk_rows)
      : reverse(g.backward_in_time(direction)),
        panels(&tape.packed->panels[static_cast<std::size_t>(layer * g.directions + direction)]),
        saved(tape.saved[static_cast<std::size_t>(layer * g.directions + direction)].data()),
        dh(tape.schedule->batch * g.field),
        dc(g.layout.cell_state ? tape.schedule->batch * g.field : 0),
        scratch(g.layout.phases > 1 ? 2 * tape.schedule->batch * g.field : 0),
        grads(chunk_rows * g.grads_stride()),
        sum(g, layer) {
    dh.zero();
    dc.zero();
  }
};

template <class R>
struct LayerRun {
  const Geometry& g;
  const BackwardCall<R>& call;
  const Schedule& schedule;
  const Kernels<R>& kernels;
  int64_t layer;
  const R* x;           // rows of the layer's input, [row][stride]
  Rows<const R> dy[2];  // by direction
  Rows<R> dx[2];        // null data: not wanted
  DirectionRun<R>* directions[2];
};

template <class R>
void sweep(LayerRun<R>& run, int64_t direction, const Slice& slice, Member& member, int32_t begin,
           int32_t end) {
  const Geometry& g = run.g;
  DirectionRun<R>& d = *run.directions[direction];
  BackwardArgs<R> args = {};
  args.steps = {
      run.schedule.active.data(), run.schedule.first.data(), begin, end, slice.slot0, slice.slot1};
  args.share = share_of(g, member);
  args.hidden = static_cast<int>(g.hidden);
  for (int phase = 0; phase < g.layout.phases; ++phase) args.u[phase] = d.panels->u_t[phase].data();
  args.z_sign = static_cast<R>(g.z_sign);
  args.saved = d.saved;
  args.dy = run.dy[direction];
  args.dh = d.dh.data();
  args.dc = d.dc.data();
  args.scratch = d.scratch.data();
  args.grads = d.grads.data();
  args.grads_stride = g.grads_stride();
  run.kernels.backward[g.cell](args);
}

// One matrix of weight gradients to be continued over the rows of a chunk.
template <class R>
struct OuterTask {
  OuterArgs<R> args;
  int64_t columns;
};

template <class R>
void accumulate_weights(LayerRun<R>& run, int64_t first, int64_t rows) {
  const Geometry& g = run.g;
  const CellLayout& layout = g.layout;
  const int64_t grads_stride = g.grads_stride();
  OuterTask<R> tasks[6];  // of two directions: w and two phases
  int64_t count = 0;
  for (int64_t i = 0; i < g.directions; ++i) {
    DirectionRun<R>& d = *run.directions[i];
    const R* grads = d.grads.data();
    const auto add = [&](Window window, Rows<const R> operand, int64_t width, Scratch<R>& to) {
      OuterArgs<R> args = {};
      args.a = {grads + window.first * g.field, grads_stride, nullptr};
      args.b = operand;
      args.rows = rows;
      args.j1 = width;
      args.c = to.data();
      args.c_stride = width;
      tasks[count++] = {args, window.count * g.field};
    };
    const int64_t stride = g.stride(run.layer);
    Rows<const R> x = {run.x, stride, nullptr};
    if (d.reverse) {
      x.at = run.schedule.reverse_row.data() + first;
    } else {
      x.data += first * stride;
    }
    add(layout.w_grads, x, stride, d.sum.w);
    for (int phase = 0; phase < layout.phases; ++phase) {
      const int operand = layout.u_operand[phase];
      Rows<const R> from = {grads + operand * g.field, grads_stride, nullptr};
      if (operand == kTheState) {
        const int64_t saved_stride = layout.saved * g.field;
        from = {d.saved + first * saved_stride + layout.saved_h * g.field, saved_stride, nullptr};
      }
      add(layout.u_grads[phase], from, g.field, d.sum.u[phase]);
    }
  }
  const int64_t parts = run.call.threads;
  parallel_for(count * parts, run.call.threads, [&](int64_t task) {
    const OuterTask<R>& whole = tasks[task / parts];
    const int64_t grains = whole.columns / kOuterGrain + (whole.columns % kOuterGrain != 0);
    Scratch<R> strip(kOuterStrip);
    OuterArgs<R> part = whole.args;
    part.scratch = strip.data();
    part.i0 = std::min(whole.columns, grains * (task % parts) / parts * kOuterGrain);
    part.i1 = std::min(whole.columns, grains * (task % parts + 1) / parts * kOuterGrain);
    if (part.i0 < part.i1) run.kernels.outer(part);
  });
  for (int64_t i = 0; i < g.directions; ++i) {
    DirectionRun<R>& d = *run.directions[i];
    run.kernels.column_sum(
        {{d.grads.data(), grads_stride, nullptr}, rows, layout.grads * g.field, d.sum.bias.data()});
  }
}

// dx += W^T of the gate gradients, row by row. Each direction's part is one chain from zero, so
// their sum does not depend on which of them reaches a row first.
template <class R>
void accumulate_inputs(const LayerRun<R>& run, int64_t direction, int64_t first, int64_t rows) {
  const Geometry& g = run.g;
  const DirectionRun<R>& d = *run.directions[direction];
  const Window window = g.layout.w_grads;
  parallel_ranges(rows, 8, run.call.threads, [&](int64_t begin, int64_t end) {
    ProductArgs<R> args = {};
    args.a = {d.grads.data() + begin * g.grads_stride() + window.first * g.field, g.grads_stride(),
              nullptr};
    args.rows = end - begin;
    args.segments = window.count;
    args.depth = static_cast<int>(g.hidden);
    args.segment_stride = g.field;
    args.panels = d.panels->w_t.data();
    args.columns = g.features(run.layer);
    args.add = true;
    args.out = run.dx[direction];
    if (args.out.at) {
      args.out.at += first + begin;
    } else {
      args.out.data += (first + begin) * args.out.stride;
    }
    run.kernels.product(args);
  });
}

// Padded sums to the parameter block's own layout.
template <class R>
void write_gradients(const Layer<R>& layer, const LayerRun<R>& run, int64_t direction) {
  const Geometry& g = run.g;
  const CellLayout& layout = g.layout;
  const Accumulated<R>& sum = run.directions[direction]->sum;
  const auto to = direction_parameters<R>(layer.spec(), layer.parameters(), run.call.grads,
                                          run.layer, direction);
  const auto copy_gate = [&](const Scratch<R>& from, int64_t at, int64_t stride, R* matrix,
                             int gate, int64_t columns) {
    for (int64_t unit = 0; unit < g.hidden; ++unit) {
      std::copy_n(from.data() + (at * g.field + unit) * stride, columns,
                  matrix + (gate * g.hidden + unit) * columns);
    }
  };
  for (int gate = 0; gate < layout.gates; ++gate) {
    copy_gate(sum.w, gate, g.stride(run.layer), to.weight_ih, gate, g.features(run.layer));
    if (to.bias_ih) copy_gate(sum.bias, layout.w_grads.first + gate, 1, to.bias_ih, gate, 1);
  }
  for (int phase = 0; phase < layout.phases; ++phase) {
    for (int i = 0; i < layout.u_grads[phase].count; ++i) {
      const int gate = layout.u_gate[phase].gate[i];
      copy_gate(sum.u[phase], i, g.field, to.weight_hh, gate, g.hidden);
      if (to.bias_hh) {
        copy_gate(sum.bias, layout.u_grads[phase].first + i, 1, to.bias_hh, gate, 1);
      }
    }
  }
}

// Steps [begin, end) of a chunk, given its end: at least one, and as many as fit.
int32_t begin_of_chunk(const Schedule& schedule, int32_t end, int64_t chunk_rows) {
  int32_t begin = end - 1;
  while (begin > 0 && schedule.first[end] - schedule.first[begin - 1] <= chunk_rows) --begin;
  return begin;
}

template <class R>
void run_layer(const Layer<R>& layer, LayerRun<R>& run, const Plan& plan,
               const std::vector<Slice>& slices) {
  const Geometry& g = run.g;
  const Schedule& schedule = run.schedule;
  const int64_t row_bytes = g.grads_stride() * static_cast<int64_t>(sizeof(R));
  const int64_t chunk_rows =
      run.call.chunk_rows > 0 ? run.call.chunk_rows : std::max(kChunkRows, kChunkBytes / row_bytes);
  const int64_t most_rows =
      std::min(schedule.rows, std::max<int64_t>(chunk_rows, schedule.rows ? schedule.first[1] : 0));
  const LayerTape<R>& tape = *run.call.tape;
  // The second is empty where there is one direction.
  DirectionRun<R> forward(g, tape, run.layer, 0, most_rows);
  std::optional<DirectionRun<R>> backward;
  if (g.directions > 1) backward.emplace(g, tape, run.layer, 1, most_rows);
  run.directions[0] = &forward;
  run.directions[1] = backward ? &*backward : nullptr;
  for (int64_t i = 0; i < g.directions; ++i) {
    const StateRows rows{g, schedule, run.layer, i, 0, g.hidden};
    for (int64_t slot = 0; slot < schedule.batch; ++slot) {
      rows.read(run.call.dstate.h, run.directions[i]->dh.data(), slot);
      if (g.layout.cell_state) rows.read(run.call.dstate.c, run.directions[i]->dc.data(), slot);
    }
  }
  const int64_t parts = static_cast<int64_t>(slices.size());
  for (int32_t end = schedule.length(), begin = end; end > 0; end = begin) {
    begin = begin_of_chunk(schedule, end, chunk_rows);
    const int64_t first = schedule.first[begin], rows = schedule.first[end] - first;
    parallel_teams(g.directions * parts, plan.members, plan.threads,
                   [&](int64_t task, Member& member) {
                     sweep(run, task / parts, slices[task % parts], member, begin, end);
                   });
    accumulate_weights(run, first, rows);
    for (int64_t i = 0; i < g.directions; ++i) {
      if (run.dx[i].data) accumulate_inputs(run, i, first, rows);
    }
  }
  for (int64_t i = 0; i < g.directions; ++i) {
    const StateRows rows{g, schedule, run.layer, i, 0, g.hidden};
    for (int64_t slot = 0; slot < schedule.batch; ++slot) {
      rows.write(run.directions[i]->dh.data(), run.call.dfirst_state.h, slot);
      if (!g.layout.cell_state) continue;
      rows.write(run.directions[i]->dc.data(), run.call.dfirst_state.c, slot);
    }
    write_gradients(layer, run, i);
  }
}

}  // namespace

template <class R>
void recurrent_backward(const Layer<R>& from, const Plan& plan, const BackwardCall<R>& call) {
  const LayerTape<R>& tape = *call.tape;
  const LayerSpec& spec = from.spec();
  const Geometry& g = *tape.packed->geometry;
  const Schedule& schedule = *tape.schedule;
  const std::vector<Slice> slices = cut(schedule, plan.slices);
  const int64_t* at[2] = {schedule.position.data(), schedule.reverse_position.data()};
  const int64_t* row_at[2] = {nullptr, schedule.reverse_row.data()};
  if (call.dx) std::fill_n(call.dx, tape.in.size(), R(0));

  // Gradients of the outputs of the layer being run and of the one below it: rows, padded.
  const int64_t inner_size = schedule.rows * g.stride(1);
  Scratch<R> inner[2] = {Scratch<R>(g.layers > 1 ? inner_size : 0),
                         Scratch<R>(g.layers > 2 ? inner_size : 0)};
  for (int64_t layer = g.layers - 1; layer >= 0; --layer) {
    const bool top = layer == g.layers - 1;
    Scratch<R>&above = inner[layer & 1], &below = inner[~layer & 1];
    if (layer > 0) below.zero();
    LayerRun<R> run = {g,        call,
                       schedule, *tape.packed->kernels,
                       layer,    tape.inputs[static_cast<std::size_t>(layer)].data(),
                       {},       {},
                       {}};
    for (int64_t i = 0; i < g.directions; ++i) {
      const bool reverse = g.backward_in_time(i);
      if (top) {
        run.dy[i] = {call.dy ? call.dy + i * g.hidden : nullptr, g.output(), at[reverse]};
      } else {
        run.dy[i] = {above.data() + i * g.hidden, g.stride(layer + 1), row_at[reverse]};
      }
      if (layer > 0) {
        run.dx[i] = {below.data(), g.stride(layer), row_at[reverse]};
      } else {
        run.dx[i] = {call.dx, g.input, at[reverse]};
      }
    }
    run_layer(from, run, plan, slices);
    if (layer > 0 && spec.dropout > 0) {
      drop_rows(below.data(), g.stride(layer), g.output(), schedule.position, schedule.steps,
                spec.dropout, tape.seed, static_cast<uint64_t>(layer - 1));
    }
  }
}

template void recurrent_backward(const Layer<float>&, const Plan&, const BackwardCall<float>&);
template void recurrent_backward(const Layer<double>&, const Plan&, const BackwardCall<double>&);

}  // namespace gru
