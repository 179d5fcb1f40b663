// Backward pass of a recurrent layer. Per layer and chunk of steps, latest first: one sweep for the
// gate gradients, then products over the chunk's rows for dW, dU and dx.
#include <algorithm>
#include <optional>

#include "parallel.hpp"
#include "plan.hpp"
#include "recurrent_gradients.hpp"

namespace gru {
namespace {

template <class R>
void sweep(BackwardRun<R>& run, int64_t direction, const Slice& slice, Member& member,
           int32_t begin, int32_t end) {
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
  const int64_t first = run.schedule.first[static_cast<std::size_t>(begin)];
  if (g.zoned > 0) args.enter = d.enter + (first - run.saved_first) * g.zoned;
  if (d.flow.size() > 0) args.flow = d.flow.data();
  args.dy = run.dy[direction];
  args.dh = d.dh.data();
  args.dc = d.dc.data();
  args.scratch = d.scratch.data();
  args.grads = d.grads.data();
  args.grads_stride = run.grads_stride;
  run.kernels.backward[g.cell](args);
}

// Takes what a chunk's sweep found about the gradient's way to where the caller wants it.
template <class R>
void write_flow(BackwardRun<R>& run, int64_t direction, int64_t first, int64_t rows) {
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

// Steps [begin, end) of a chunk, given its end: at least one, and as many as fit, none before
// `low`.
int32_t begin_of_chunk(const Schedule& schedule, int32_t low, int32_t end, int64_t chunk_rows) {
  int32_t begin = end - 1;
  while (begin > low && schedule.first[end] - schedule.first[begin - 1] <= chunk_rows) --begin;
  return begin;
}

// Makes the saved fields of steps [begin, end), a segment, again, and the zoneout masks.
template <class R>
void run_again(BackwardRun<R>& run, const Plan& plan, const std::vector<Slice>& slices,
               int32_t begin, int32_t end) {
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
  const Schedule& schedule = run.schedule;
  const int64_t rows = schedule.first[static_cast<std::size_t>(end)] - again.saved_first;
  for (int64_t i = 0; i < run.g.directions; ++i) {
    DirectionRun<R>& d = *run.directions[i];
    again.saved[i] = d.again.data();
    if (run.g.zoned == 0) continue;
    const auto& position = d.reverse ? schedule.reverse_position : schedule.position;
    draw_zones(run.spec, run.g, run.kernels, position.data() + again.saved_first, rows,
               schedule.steps, tape.seed, run.layer, i, run.call.threads, d.zones.data());
    again.enter[i] = d.zones.data();
  }
  run.saved_first = again.saved_first;
  run_forward(again, plan, slices);
}

// Steps [begin, end) in chunks, latest first.
template <class R>
void run_chunks(BackwardRun<R>& run, const Plan& plan, const std::vector<Slice>& slices,
                int64_t chunk_rows, int32_t low, int32_t high) {
  const Geometry& g = run.g;
  const Schedule& schedule = run.schedule;
  const int64_t parts = static_cast<int64_t>(slices.size());
  for (int32_t end = high, begin = end; end > low; end = begin) {
    begin = begin_of_chunk(schedule, low, end, chunk_rows);
    const int64_t first = schedule.first[begin], rows = schedule.first[end] - first;
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
void run_layer(const Layer<R>& layer, BackwardRun<R>& run, const Plan& plan,
               const std::vector<Slice>& slices) {
  const Geometry& g = run.g;
  const Schedule& schedule = run.schedule;
  const LayerSpec& spec = layer.spec();
  run.grads_stride = g.grads_stride(spec.recurrent_dropout > 0);
  const int64_t row_bytes = run.grads_stride * static_cast<int64_t>(sizeof(R));
  const int64_t chunk_rows =
      run.call.chunk_rows > 0 ? run.call.chunk_rows : gradient_rows(row_bytes);
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
    BackwardRun<R> run = {spec, g, call, schedule, *tape.packed->kernels, layer, 0, 0, {}, {}, {}};
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
    // The gradient of what was dropped is dropped alike.
    if (layer > 0 || call.dx) {
      const Rows<R> dx = layer > 0 ? Rows<R>{below.data(), g.stride(layer), nullptr}
                                   : Rows<R>{call.dx, g.input, schedule.position.data()};
      drop_input(spec, *tape.packed, schedule, tape.seed, layer, dx, call.threads);
    }
  }
}

template void recurrent_backward(const Layer<float>&, const Plan&, const BackwardCall<float>&);
template void recurrent_backward(const Layer<double>&, const Plan&, const BackwardCall<double>&);

}  // namespace gru
