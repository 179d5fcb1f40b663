// Forward pass of a recurrent layer: layers one after the other, directions and slices of the batch
// side by side, steps in chunks whose input product stays in cache.
#include <algorithm>

#include "parallel.hpp"
#include "plan.hpp"
#include "random.hpp"
#include "recurrent.hpp"
#include "scratch.hpp"

namespace gru {
namespace {

// Input products of a chunk of steps wait for the sweep in this much memory, a part of L2.
constexpr int64_t kChunkBytes = 256 * 1024;

// State of one layer while it is swept: [direction][slot][field] each, h twice (read and written).
template <class R>
struct Running {
  Scratch<R> h[2], c, scratch;

  Running(const Geometry& g, int64_t batch)
      : h{Scratch<R>(g.directions * batch * g.field), Scratch<R>(g.directions * batch * g.field)},
        c(g.layout.cell_state ? h[0].size() : 0),
        scratch(g.layout.phases > 1 ? 2 * h[0].size() : 0) {
    for (Scratch<R>& state : h) state.zero();
    c.zero();
  }
};

template <class R>
struct LayerRun {
  const Geometry& g;
  const ForwardCall<R>& call;
  const Schedule& schedule;
  const Packed<R>& packed;
  int64_t layer;
  Rows<const R> x;  // forward direction: by row; `at` is null where rows are dense
  const int64_t* x_at_reverse;
  R* y;
  int64_t y_stride;
  const int64_t *y_at, *y_at_reverse;
  R* saved[2];
  Running<R>& running;
};

// Sweeps one direction over one slice of the batch, state in to state out: one member's share of
// the hidden units.
template <class R>
void run_slice(const LayerRun<R>& run, int64_t direction, const Slice& slice, Member& member) {
  const Geometry& g = run.g;
  const Kernels<R>& kernels = *run.packed.kernels;
  const Panels<R>& panels = run.packed.panels[run.layer * g.directions + direction];
  const bool reverse = g.backward_in_time(direction);
  const Share share = share_of(g, member);
  const int64_t unit0 = share.begin * g.lanes,
                unit1 = std::min<int64_t>(g.hidden, share.end * g.lanes);
  const StateRows rows{g, run.schedule, run.layer, direction, unit0, unit1};
  const int64_t base = direction * run.schedule.batch * g.field;
  R* const h[2] = {run.running.h[0].data() + base, run.running.h[1].data() + base};
  R* const c = g.layout.cell_state ? run.running.c.data() + base : nullptr;
  for (int32_t slot = slice.slot0; slot < slice.slot1; ++slot) {
    rows.read(run.call.state.h, h[0], slot);
    if (c) rows.read(run.call.state.c, c, slot);
  }
  if (share.meet) share.meet(share.team);

  // Where each row of the slice finds its input.
  Rows<const R> x = run.x;
  x.at = reverse ? run.x_at_reverse : run.x.at;
  const int64_t slice_rows = static_cast<int64_t>(slice.row.size());
  Scratch<int64_t> gathered(slice_rows);
  for (int64_t i = 0; i < slice_rows; ++i) {
    const int64_t row = slice.row[static_cast<std::size_t>(i)];
    gathered[i] = x.at ? x.at[row] : row;
  }
  if (slice_rows > 0) x.at = gathered.data();
  const int64_t* first_of = slice.first.empty() ? run.schedule.first.data() : slice.first.data();

  const int64_t width = g.layout.gates * (share.end - share.begin) * g.lanes;
  const int64_t chunk_rows =
      std::max<int64_t>(8, kChunkBytes / (width * static_cast<int64_t>(sizeof(R))));
  ForwardArgs<R> args = {};
  args.steps = {
      run.schedule.active.data(), run.schedule.first.data(), 0, 0, slice.slot0, slice.slot1};
  args.share = share;
  args.hidden = static_cast<int>(g.hidden);
  for (int phase = 0; phase < g.layout.phases; ++phase) args.u[phase] = panels.u[phase].data();
  args.bias_h = panels.bias_h.data();
  args.z_sign = static_cast<R>(g.z_sign);
  args.pre_first = first_of;
  for (int i = 0; i < 2; ++i) args.h[i] = h[i];
  args.c = c;
  args.scratch = g.layout.phases > 1 ? run.running.scratch.data() + 2 * base : nullptr;
  args.saved = run.saved[direction];
  args.y = {run.y ? run.y + direction * g.hidden : nullptr, run.y_stride,
            reverse ? run.y_at_reverse : run.y_at};

  const int32_t steps = run.schedule.length();
  // A chunk is one step at least, and no step has more rows than the first.
  Scratch<R> pre(steps == 0 ? 0
                            : width * std::min(first_of[steps], std::max(chunk_rows, first_of[1])));
  const int64_t columns0 = g.layout.gates * unit0;
  for (int32_t begin = 0, end = 0; begin < steps; begin = end) {
    const int64_t first = first_of[begin];
    do ++end;
    while (end < steps && first_of[end + 1] - first <= chunk_rows);
    const int64_t count = first_of[end] - first;
    if (count == 0) break;
    ProductArgs<R> product = {};
    product.a = x;
    if (x.at) {
      product.a.at = x.at + first;
    } else {
      product.a.data = x.data + first * x.stride;
    }
    product.rows = count;
    product.segments = 1;
    product.depth = static_cast<int>(g.features(run.layer));
    product.panels = panels.w.data() + columns0 * product.depth;
    product.columns = width;
    product.init = panels.init.data() + columns0;
    product.out = {pre.data(), width, nullptr};
    kernels.product(product);
    args.pre = pre.data();
    args.steps.begin = begin;
    args.steps.end = end;
    kernels.forward[g.cell](args);
  }

  for (int32_t slot = slice.slot0; slot < slice.slot1; ++slot) {
    rows.write(h[run.schedule.count[slot] & 1], run.call.last_state.h, slot);
    if (c) rows.write(c, run.call.last_state.c, slot);
  }
}

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

}  // namespace

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const Plan& plan, const ForwardCall<R>& call) {
  const Geometry& g = *packed->geometry;
  const Schedule& schedule = *call.schedule;
  LayerTape<R>* tape = call.tape;
  const std::vector<Slice> slices = cut(schedule, plan.slices);
  if (schedule.ragged()) std::fill_n(call.y, schedule.batch * schedule.steps * g.output(), R(0));

  // Outputs of the layer below and of this one, where no tape keeps them.
  const int64_t inner_size = tape ? 0 : schedule.rows * g.stride(1);
  Scratch<R> inner[2] = {Scratch<R>(g.layers > 1 ? inner_size : 0),
                         Scratch<R>(g.layers > 2 ? inner_size : 0)};
  Rows<const R> x = {call.x, g.input, schedule.position.data()};
  const int64_t* x_at_reverse = schedule.reverse_position.data();
  if (tape) {
    tape->inputs.push_back(gather_input(g, call, schedule));
    x = {tape->inputs[0].data(), g.stride(0), nullptr};
    x_at_reverse = schedule.reverse_row.data();
  }
  for (int64_t layer = 0; layer < g.layers; ++layer) {
    Running<R> running(g, schedule.batch);
    const bool top = layer == g.layers - 1;
    LayerRun<R> run = {g,
                       call,
                       schedule,
                       *packed,
                       layer,
                       x,
                       x_at_reverse,
                       call.y,
                       g.output(),
                       schedule.position.data(),
                       schedule.reverse_position.data(),
                       {nullptr, nullptr},
                       running};
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
    for (int64_t direction = 0; tape && direction < g.directions; ++direction) {
      tape->saved.emplace_back(tape->memory, schedule.rows * g.layout.saved * g.field);
      run.saved[direction] = tape->saved.back().data();
    }
    const int64_t parts = static_cast<int64_t>(slices.size());
    parallel_teams(g.directions * parts, plan.members, plan.threads,
                   [&](int64_t task, Member& member) {
                     run_slice(run, task / parts, slices[task % parts], member);
                   });
    if (top) continue;
    if (tape && spec.dropout > 0) {
      drop_rows(run.y, g.stride(layer + 1), g.output(), schedule.position, schedule.steps,
                spec.dropout, call.seed, layer);
    }
    x = {run.y, g.stride(layer + 1), nullptr};
    x_at_reverse = schedule.reverse_row.data();
  }
  if (tape) {
    tape->packed = packed;
    tape->seed = call.seed;
  }
}

template void recurrent_forward(const LayerSpec&, const std::shared_ptr<const Packed<float>>&,
                                const Plan&, const ForwardCall<float>&);
template void recurrent_forward(const LayerSpec&, const std::shared_ptr<const Packed<double>>&,
                                const Plan&, const ForwardCall<double>&);

}  // namespace gru
