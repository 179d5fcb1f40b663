// Forward pass of a recurrent layer: stacked layers one after the other, and what the tape keeps.
#include <algorithm>

#include "plan.hpp"
#include "recurrent.hpp"

namespace gru {
namespace {

// Rows to be written, with zeros in what pads them to whole lanes.
template <class R>
Recycled<R> padded_rows(const LayerTape<R>& tape, int64_t rows, int64_t width, int64_t stride) {
  Recycled<R> buffer(tape.memory, rows * stride);
  for (int64_t row = 0; row < rows && width < stride; ++row) {
    std::fill_n(buffer.data() + row * stride + width, stride - width, R(0));
  }
  return buffer;
}

// The caller's x as dense rows in schedule order, padded to whole lanes, for the tape.
template <class R>
Recycled<R> gather_input(const Geometry& g, const ForwardCall<R>& call, const Schedule& schedule) {
  const int64_t stride = g.stride(0);
  Recycled<R> rows = padded_rows<R>(*call.tape, schedule.rows, g.input, stride);
  for (int64_t row = 0; row < schedule.rows; ++row) {
    std::copy_n(call.x + schedule.position[row] * g.input, g.input, rows.data() + row * stride);
  }
  return rows;
}

// Where a tape that keeps states only will keep them.
template <class R>
void add_segments(LayerTape<R>& tape, const Geometry& g, const std::vector<int32_t>& first) {
  const int64_t batch = tape.schedule->batch, parts = 1 + g.layout.cell_state;
  const int64_t count = static_cast<int64_t>(first.size()) - 1;
  for (int64_t i = 0; i < g.layers * g.directions; ++i) {
    tape.segments.push_back(
        {first, Recycled<R>(tape.memory, count * batch * parts * g.field), batch, parts, g.field});
  }
}

// Zoneout's masks of all rows, which forward and backward read.
template <class R>
const R* add_zones(LayerTape<R>& tape, const ForwardRun<R>& run, int64_t direction, int threads) {
  const Geometry& g = run.g;
  const Schedule& s = *tape.schedule;
  tape.zones.emplace_back(tape.memory, s.rows * g.zoned);
  const auto& position = g.backward_in_time(direction) ? s.reverse_position : s.position;
  draw_zones(run.spec, g, *tape.packed->kernels, position.data(), s.rows, s.steps, run.seed,
             run.layer, direction, threads, tape.zones.back().data());
  return tape.zones.back().data();
}

// Memory for what the tape keeps of one layer; `run` is told where.
template <class R>
void add_saved(LayerTape<R>& tape, const Geometry& g, bool trace, int threads, ForwardRun<R>& run) {
  const bool is_gru = run.spec.kind == Kind::gru;
  const int64_t rows = tape.schedule->rows;
  for (int64_t direction = 0; direction < g.directions; ++direction) {
    if (!tape.segments.empty()) continue;
    tape.saved.emplace_back(tape.memory, rows * g.layout.saved * g.field);
    run.saved[direction] = tape.saved.back().data();
    if (run.training && g.zoned > 0) {
      run.enter[direction] = add_zones(tape, run, direction, threads);
    }
    if (!trace || !is_gru) continue;
    tape.update.emplace_back(tape.memory, rows * g.field);
    run.update[direction] = tape.update.back().data();
  }
  if (!tape.segments.empty()) {
    run.keep = &tape.segments[static_cast<std::size_t>(run.layer * g.directions)];
  }
}

}  // namespace

template <class R>
Rows<const R> tape_input(const LayerTape<R>& tape, int64_t layer) {
  const Geometry& g = *tape.packed->geometry;
  if (tape.x && layer == 0) return {tape.x, g.input, tape.schedule->position.data()};
  const int64_t at = layer - (tape.x ? 1 : 0);
  return {tape.inputs[static_cast<std::size_t>(at)].data(), g.stride(layer), nullptr};
}

template <class R>
const int64_t* tape_input_reverse(const LayerTape<R>& tape, int64_t layer) {
  const Schedule& schedule = *tape.schedule;
  return (tape.x && layer == 0 ? schedule.reverse_position : schedule.reverse_row).data();
}

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const Plan& plan, const ForwardCall<R>& call) {
  const Geometry& g = *packed->geometry;
  const Schedule& schedule = *call.schedule;
  LayerTape<R>* tape = call.tape;
  const std::vector<Slice> slices = cut(schedule, plan.slices);
  if (call.y && schedule.ragged()) {
    std::fill_n(call.y, schedule.batch * schedule.steps * g.output(), R(0));
  }
  // Outputs of the layer below and of this one, where no tape keeps them.
  const int64_t inner_size = tape ? 0 : schedule.rows * g.stride(1);
  Scratch<R> inner[2] = {Scratch<R>(g.layers > 1 ? inner_size : 0),
                         Scratch<R>(g.layers > 2 ? inner_size : 0)};
  Rows<const R> x = {call.x, g.input, schedule.position.data()};
  const int64_t* x_at_reverse = schedule.reverse_position.data();
  const bool training = tape && !call.trace;
  if (tape) {
    tape->packed = packed;
    tape->seed = call.seed;
    if (call.x_stays && !tape->segments.empty() && spec.input_dropout == 0) {
      tape->x = call.x;
    } else {
      tape->inputs.push_back(gather_input(g, call, schedule));
      if (training) {
        drop_input(spec, *packed, schedule, call.seed, 0,
                   {tape->inputs[0].data(), g.stride(0), nullptr}, call.threads);
      }
    }
    x = tape_input(*tape, 0);
    x_at_reverse = tape_input_reverse(*tape, 0);
  }
  for (int64_t layer = 0; layer < g.layers; ++layer) {
    Running<R> running(g, schedule.batch, training && spec.recurrent_dropout > 0);
    const bool top = layer == g.layers - 1;
    ForwardRun<R> run = {spec, g, schedule, *packed, running, layer, 0, schedule.length()};
    run.training = training;
    run.seed = call.seed;
    run.x = x;
    run.x_at_reverse = x_at_reverse;
    run.y = call.y;
    run.y_stride = g.output();
    run.y_at = schedule.position.data();
    run.y_at_reverse = schedule.reverse_position.data();
    run.first_state = call.state;
    run.last_state = call.last_state;
    if (!top) {
      if (tape) {
        tape->inputs.push_back(
            padded_rows<R>(*tape, schedule.rows, g.output(), g.stride(layer + 1)));
      }
      run.y = tape ? tape->inputs.back().data() : inner[layer & 1].data();
      run.y_stride = g.stride(layer + 1);
      run.y_at = nullptr;
      run.y_at_reverse = schedule.reverse_row.data();
    }
    if (tape) add_saved(*tape, g, call.trace, call.threads, run);
    run_forward(run, plan, slices);
    if (top) continue;
    if (training) {
      drop_input(spec, *packed, schedule, call.seed, layer + 1, {run.y, run.y_stride, nullptr},
                 call.threads);
    }
    x = {run.y, g.stride(layer + 1), nullptr};
    x_at_reverse = schedule.reverse_row.data();
  }
}

template <class R>
void limit_tape(const LayerSpec& spec, const Packed<R>& packed, int64_t parameters,
                const ForwardCall<R>& call) {
  const Geometry& g = *packed.geometry;
  const bool x_stays = call.x_stays && spec.input_dropout == 0;
  const Need need = need_of(g, *call.schedule, parameters, sizeof(R), x_stays);
  check_limit(need.least, call.memory_limit);
  if (need.whole > call.memory_limit) add_segments(*call.tape, g, need.first);
}

#define GRU_INSTANTIATE(R)                                                                      \
  template Rows<const R> tape_input(const LayerTape<R>&, int64_t);                              \
  template const int64_t* tape_input_reverse(const LayerTape<R>&, int64_t);                     \
  template void limit_tape(const LayerSpec&, const Packed<R>&, int64_t, const ForwardCall<R>&); \
  template void recurrent_forward(const LayerSpec&, const std::shared_ptr<const Packed<R>>&,    \
                                  const Plan&, const ForwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
