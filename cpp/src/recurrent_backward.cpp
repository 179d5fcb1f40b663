// Backward pass of a recurrent layer. Per layer and chunk of steps, latest first: one sweep for the
// gate gradients, then products over the chunk's rows for dW, dU and dx.
//
// Weight gradients are one chain a element over rows in descending order, continued from chunk to
// chunk through memory; threads split elements, never rows. So neither threads nor chunks show.
#include <algorithm>

#include <optional>

#include "masks.hpp"
#include "parallel.hpp"
#include "plan.hpp"
#include "recurrent.hpp"

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

// Rows that memory is made for.
struct MostRows {
  int64_t chunk;    // of gate gradients
  int64_t segment;  // of saved fields that are made again; 0: the tape has them all
};

template <class R>
struct DirectionRun {
  bool reverse;
  const Panels<R>* panels;
  const R* saved;              // [row - saved_first][field of saved][field]
  Scratch<R> again;            // saved, where the tape kept states only
  Scratch<R> x;                // rows of a chunk's input, where the tape has the caller's
  Scratch<R> dh, dc, scratch;  // [slot][field]
  Scratch<R> drop, undropped;  // [slot][field], with recurrent dropout
  Scratch<R> enter;            // of a chunk, with zoneout: [row][zone][field]
  Scratch<R> flow;             // of a chunk, where asked for: [row][FlowField][field]
  Scratch<R> grads;            // of a chunk: [row][field of grads][field]
  Accumulated<R> sum;

  DirectionRun(const LayerSpec& spec, const Geometry& g, const LayerTape<R>& tape, int64_t layer,
               int64_t direction, const MostRows& most, bool flows)
      : reverse(g.backward_in_time(direction)),
        panels(&tape.packed->panels[static_cast<std::size_t>(layer * g.directions + direction)]),
        again(most.segment * g.layout.saved * g.field),
        x(tape.x && layer == 0 ? most.chunk * g.stride(0) : 0),
        dh(tape.schedule->batch * g.field),
        dc(g.layout.cell_state ? dh.size() : 0),
        scratch(g.layout.phases > 1 ? 2 * dh.size() : 0),
        drop(spec.recurrent_dropout > 0 ? dh.size() : 0),
        undropped(drop.size()),
        enter(spec.zoneout > 0 ? most.chunk * g.layout.zones * g.field : 0),
        flow(flows ? most.chunk * kFlows * g.field : 0),
        grads(most.chunk * g.grads_stride(drop.size() > 0)),
        sum(g, layer) {
    const std::size_t at = static_cast<std::size_t>(layer * g.directions + direction);
    saved = tape.segments.empty() ? tape.saved[at].data() : again.data();
    dh.zero();
    dc.zero();
    x.zero();
    if (drop.size() == 0) return;
    draw_recurrent_masks(spec, g, *tape.packed->kernels, *tape.schedule, tape.seed, layer,
                         direction, drop.data());
  }
};

template <class R>
struct LayerRun {
  const LayerSpec& spec;
  const Geometry& g;
  const BackwardCall<R>& call;
  const Schedule& schedule;
  const Kernels<R>& kernels;
  int64_t layer;
  int64_t grads_stride;
  int64_t saved_first;  // row that saved fields begin with
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
  args.norm = d.panels->norm.data();
  args.saved = d.saved;
  args.saved_first = run.saved_first;
  if (d.drop.size() > 0) args.drop = d.drop.data();
  args.undropped = d.undropped.data();
  if (d.enter.size() > 0) args.enter = d.enter.data();
  if (d.flow.size() > 0) args.flow = d.flow.data();
  args.dy = run.dy[direction];
  args.dh = d.dh.data();
  args.dc = d.dc.data();
  args.scratch = d.scratch.data();
  args.grads = d.grads.data();
  args.grads_stride = run.grads_stride;
  run.kernels.backward[g.cell](args);
}

// The zoneout masks of a chunk, as forward drew them.
template <class R>
void draw_chunk(LayerRun<R>& run, int64_t direction, int64_t first, int64_t rows) {
  DirectionRun<R>& d = *run.directions[direction];
  if (d.enter.size() == 0) return;
  const auto& position = d.reverse ? run.schedule.reverse_position : run.schedule.position;
  draw_zones(run.spec, run.g, run.kernels, position.data() + first, rows, run.schedule.steps,
             run.call.tape->seed, run.layer, direction, run.call.threads, d.enter.data());
}

// Takes what a chunk's sweep found about the gradient's way to where the caller wants it.
template <class R>
void write_flow(LayerRun<R>& run, int64_t direction, int64_t first, int64_t rows) {
  const Geometry& g = run.g;
  DirectionRun<R>& d = *run.directions[direction];
  if (d.flow.size() == 0) return;
  const FlowView<R>& to = run.call.flow;
  const auto& position = d.reverse ? run.schedule.reverse_position : run.schedule.position;
  const int64_t each = g.layers * g.directions, index = run.layer * g.directions + direction;
  const std::pair<int, R*> fields[] = {{kFlowDh, to.dh},
                                       {kFlowCarried, to.carried},
                                       {kFlowThrough, to.through},
                                       {kFlowDc, to.dc},
                                       {kFlowCarriedC, to.carried_c}};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = (position[static_cast<std::size_t>(first + row)] * each + index) * g.hidden;
    for (const auto& [field, out] : fields) {
      if (!out) continue;
      std::copy_n(d.flow.data() + (row * kFlows + field) * g.field, g.hidden, out + at);
    }
  }
}

// The layer's input as `outer` reads it: rows of a chunk, readable up to whole lanes.
template <class R>
Rows<const R> chunk_input(LayerRun<R>& run, DirectionRun<R>& d, int64_t first, int64_t rows) {
  const Geometry& g = run.g;
  Rows<const R> x = tape_input(*run.call.tape, run.layer);
  if (d.reverse) x.at = tape_input_reverse(*run.call.tape, run.layer);
  if (d.x.size() > 0) {
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(x.data + x.at[first + row] * x.stride, g.input, d.x.data() + row * g.stride(0));
    }
    return {d.x.data(), g.stride(0), nullptr};
  }
  if (x.at) {
    x.at += first;
  } else {
    x.data += first * x.stride;
  }
  return x;
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
  const int64_t grads_stride = run.grads_stride;
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
    add(layout.w_grads, chunk_input(run, d, first, rows), g.stride(run.layer), d.sum.w);
    for (int phase = 0; phase < layout.phases; ++phase) {
      int operand = layout.u_operand[phase];
      // With recurrent dropout the sweep left drop * h behind the cell's own fields.
      if (operand == kTheState && d.drop.size() > 0) operand = layout.grads;
      Rows<const R> from = {grads + operand * g.field, grads_stride, nullptr};
      if (operand == kTheState) {
        const int64_t saved_stride = layout.saved * g.field;
        const R* saved = d.saved + (first - run.saved_first) * saved_stride;
        from = {saved + layout.saved_h * g.field, saved_stride, nullptr};
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
    args.a = {d.grads.data() + begin * run.grads_stride + window.first * g.field, run.grads_stride,
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
  const auto copy_field = [&](int field, R* vector, int gate) {
    if (vector) copy_gate(sum.bias, field, 1, vector, gate, 1);
  };
  for (int gate = 0; gate < layout.gates; ++gate) {
    copy_gate(sum.w, gate, g.stride(run.layer), to.weight_ih, gate, g.features(run.layer));
    copy_field(layout.bias_x[gate], to.bias_ih, gate);
    copy_field(layout.bias_h[gate], to.bias_hh, gate);
    copy_field(layout.gain + gate, to.norm_ih, gate);
    copy_field(layout.gain + layout.gates + gate, to.norm_hh, gate);
  }
  for (int phase = 0; phase < layout.phases; ++phase) {
    for (int i = 0; i < layout.u_grads[phase].count; ++i) {
      copy_gate(sum.u[phase], i, g.field, to.weight_hh, layout.u_gate[phase].gate[i], g.hidden);
    }
  }
}

// Steps [begin, end) of a chunk, given its end: at least one, and as many as fit, none before
// `low`.
int32_t begin_of_chunk(const Schedule& schedule, int32_t low, int32_t end, int64_t chunk_rows) {
  int32_t begin = end - 1;
  while (begin > low && schedule.first[end] - schedule.first[begin - 1] <= chunk_rows) --begin;
  return begin;
}

// Makes the saved fields of steps [begin, end), a segment, again.
template <class R>
void run_again(LayerRun<R>& run, const Plan& plan, const std::vector<Slice>& slices, int32_t begin,
               int32_t end) {
  const LayerTape<R>& tape = *run.call.tape;
  Running<R> running(run.g, run.schedule.batch, run.spec.recurrent_dropout > 0);
  ForwardRun<R> again = {run.spec, run.g,     run.schedule, *tape.packed,
                         running,  run.layer, begin,        end};
  again.training = true;
  again.seed = tape.seed;
  again.x = tape_input(tape, run.layer);
  again.x_at_reverse = tape_input_reverse(tape, run.layer);
  again.resume = &tape.segments[static_cast<std::size_t>(run.layer * run.g.directions)];
  again.saved_first = run.schedule.first[static_cast<std::size_t>(begin)];
  for (int64_t i = 0; i < run.g.directions; ++i) again.saved[i] = run.directions[i]->again.data();
  run.saved_first = again.saved_first;
  run_forward(again, plan, slices);
}

// Steps [begin, end) in chunks, latest first.
template <class R>
void run_chunks(LayerRun<R>& run, const Plan& plan, const std::vector<Slice>& slices,
                int64_t chunk_rows, int32_t low, int32_t high) {
  const Geometry& g = run.g;
  const Schedule& schedule = run.schedule;
  const int64_t parts = static_cast<int64_t>(slices.size());
  for (int32_t end = high, begin = end; end > low; end = begin) {
    begin = begin_of_chunk(schedule, low, end, chunk_rows);
    const int64_t first = schedule.first[begin], rows = schedule.first[end] - first;
    for (int64_t i = 0; i < g.directions; ++i) draw_chunk(run, i, first, rows);
    parallel_teams(g.directions * parts, plan.members, plan.threads,
                   [&](int64_t task, Member& member) {
                     sweep(run, task / parts, slices[task % parts], member, begin, end);
                   });
    accumulate_weights(run, first, rows);
    for (int64_t i = 0; i < g.directions; ++i) {
      write_flow(run, i, first, rows);
      if (run.dx[i].data) accumulate_inputs(run, i, first, rows);
    }
  }
}

template <class R>
MostRows most_rows(const LayerTape<R>& tape, int64_t chunk_rows) {
  const Schedule& schedule = *tape.schedule;
  const int64_t one_step = schedule.rows ? schedule.first[1] : 0;
  MostRows most = {std::min(schedule.rows, std::max(chunk_rows, one_step)), 0};
  if (tape.segments.empty()) return most;
  const auto& first = tape.segments[0].first;
  for (std::size_t i = 0; i + 1 < first.size(); ++i) {
    most.segment = std::max(most.segment, schedule.first[first[i + 1]] - schedule.first[first[i]]);
  }
  most.chunk = std::min(most.chunk, most.segment);
  return most;
}

template <class R>
void run_layer(const Layer<R>& layer, LayerRun<R>& run, const Plan& plan,
               const std::vector<Slice>& slices) {
  const Geometry& g = run.g;
  const Schedule& schedule = run.schedule;
  const LayerSpec& spec = layer.spec();
  run.grads_stride = g.grads_stride(spec.recurrent_dropout > 0);
  const int64_t row_bytes = run.grads_stride * static_cast<int64_t>(sizeof(R));
  const int64_t chunk_rows =
      run.call.chunk_rows > 0 ? run.call.chunk_rows : std::max(kChunkRows, kChunkBytes / row_bytes);
  const LayerTape<R>& tape = *run.call.tape;
  const MostRows most = most_rows(tape, chunk_rows);
  const bool flows = run.call.flow.dh;
  // The second is empty where there is one direction.
  DirectionRun<R> forward(spec, g, tape, run.layer, 0, most, flows);
  std::optional<DirectionRun<R>> backward;
  if (g.directions > 1) backward.emplace(spec, g, tape, run.layer, 1, most, flows);
  run.directions[0] = &forward;
  run.directions[1] = backward ? &*backward : nullptr;
  for (int64_t i = 0; i < g.directions; ++i) {
    const StateRows rows{g, schedule, run.layer, i, 0, g.hidden};
    for (int64_t slot = 0; slot < schedule.batch; ++slot) {
      rows.read(run.call.dstate.h, run.directions[i]->dh.data(), slot);
      if (g.layout.cell_state) rows.read(run.call.dstate.c, run.directions[i]->dc.data(), slot);
    }
  }
  if (tape.segments.empty()) {
    run_chunks(run, plan, slices, chunk_rows, 0, schedule.length());
  } else {
    const auto& first = tape.segments[0].first;
    for (std::size_t i = first.size() - 1; i-- > 0;) {
      run_again(run, plan, slices, first[i], first[i + 1]);
      run_chunks(run, plan, slices, chunk_rows, first[i], first[i + 1]);
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

namespace {

// Dropout's own backward: the gradient of a layer's input, where it was dropped, is.
template <class R>
void undrop_inputs(const LayerSpec& spec, const LayerTape<R>& tape, const BackwardCall<R>& call,
                   int64_t layer, R* below) {
  const Geometry& g = *tape.packed->geometry;
  const Schedule& schedule = *tape.schedule;
  const Kernels<R>& kernels = *tape.packed->kernels;
  const int64_t* position = schedule.position.data();
  if (layer == 0) {
    if (!call.dx) return;
    drop_input(spec, kernels, schedule.batch, schedule.steps, tape.seed, 0, position, schedule.rows,
               {call.dx, g.input, position}, g.input);
    return;
  }
  drop_input(spec, kernels, schedule.batch, schedule.steps, tape.seed, layer, position,
             schedule.rows, {below, g.stride(layer), nullptr}, g.output());
  if (spec.dropout == 0) return;
  DropArgs<R> args = drop_args<R>(spec.dropout, kept_scale(spec.dropout), tape.seed,
                                  stream_of(Mask::between_layers, layer - 1));
  args.x = below;
  args.stride = g.stride(layer);
  args.rows = schedule.rows;
  args.columns = g.output();
  args.place = position;
  args.steps = schedule.steps;
  drop_rows(kernels, args, call.threads);
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
    LayerRun<R> run = {spec, g, call, schedule, *tape.packed->kernels, layer, 0, 0, {}, {}, {}};
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
    undrop_inputs(spec, tape, call, layer, below.data());
  }
}

template void recurrent_backward(const Layer<float>&, const Plan&, const BackwardCall<float>&);
template void recurrent_backward(const Layer<double>&, const Plan&, const BackwardCall<double>&);

}  // namespace gru
