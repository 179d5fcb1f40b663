// The products of backward over the rows of a chunk.
#include "recurrent_gradients.hpp"

#include <algorithm>

#include "parallel.hpp"

namespace gru {
namespace {

constexpr int64_t kOuterGrain = 8;  // columns of gate gradients a thread takes at least

// The layer's input as `outer` reads it: rows of a chunk, readable up to whole lanes.
template <class R>
Rows<const R> chunk_input(BackwardRun<R>& run, DirectionRun<R>& d, int64_t first, int64_t rows) {
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

}  // namespace

template <class R>
void accumulate_weights(BackwardRun<R>& run, int64_t first, int64_t rows) {
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

template <class R>
void accumulate_inputs(const BackwardRun<R>& run, int64_t direction, int64_t first, int64_t rows) {
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

template <class R>
void write_gradients(const Layer<R>& layer, const BackwardRun<R>& run, int64_t direction) {
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

#define GRU_INSTANTIATE(R)                                                           \
  template void accumulate_weights(BackwardRun<R>&, int64_t, int64_t);               \
  template void accumulate_inputs(const BackwardRun<R>&, int64_t, int64_t, int64_t); \
  template void write_gradients(const Layer<R>&, const BackwardRun<R>&, int64_t);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
