// The sweeps: some steps of a batch of equal lengths, of every cell.
#include <algorithm>
#include <string>

#include "cases.hpp"
#include "gate_ops.hpp"
#include "layer.hpp"

namespace gru::bench {
namespace {

// Steps of a call: 20, or fewer where rows are many, as in a chunk of the engine; even, so that the
// state ends where it began and a repeated call goes on from it.
int32_t steps_of(int64_t batch) {
  return static_cast<int32_t>(std::clamp<int64_t>(128 / batch, 2, 20));
}

// A batch of equal lengths: every step works on all slots, and rows are dense.
struct EqualSteps {
  std::vector<int32_t> active;
  std::vector<int64_t> first;

  EqualSteps(int32_t steps, int64_t batch) {
    for (int32_t step = 0; step <= steps; ++step) {
      active.push_back(static_cast<int32_t>(batch));
      first.push_back(step * batch);
    }
  }
  Steps all() const {
    Steps steps = {};
    steps.active = active.data();
    steps.first = first.data();
    steps.end = static_cast<int32_t>(first.size()) - 1;
    steps.slot1 = active[0];
    return steps;
  }
};

// Everything the sweeps of one layer and batch read and write.
template <class R>
struct Sweep {
  const Layer<R>& layer;
  int64_t batch, rows;
  int32_t blocks;  // all of them: one thread
  int64_t grads_stride;
  EqualSteps steps;
  Buffer<R> pre, h[2], c, scratch, saved, y;
  Buffer<R> dy, dh, dc, grads;

  Sweep(const Layer<R>& layer, int64_t batch, int lanes)
      : layer(layer),
        batch(batch),
        rows(steps_of(batch) * batch),
        blocks(static_cast<int32_t>(layer.hidden / lanes)),
        grads_stride(grads_row(layer.layout, layer.hidden, lanes)),
        steps(steps_of(batch), batch) {
    pre = random_values<R>(rows * layer.layout.gates * layer.hidden, 1, 8);
    for (Buffer<R>& state : h) state = random_values<R>(batch * layer.hidden, 1, 9);
    c = random_values<R>(batch * layer.hidden, 1, 10);
    scratch = Buffer<R>::zeros(2 * batch * layer.hidden);
    saved = unwritten<R>(rows * layer.layout.saved * layer.hidden);
    y = unwritten<R>(rows * layer.hidden);
    dy = random_values<R>(rows * layer.hidden, 0.1, 11);
    dh = random_values<R>(batch * layer.hidden, 0.1, 12);
    dc = random_values<R>(batch * layer.hidden, 0.1, 13);
    grads = unwritten<R>(rows * grads_stride);
    for (int64_t row = 0; row < rows; ++row) {  // nobody writes between the rows
      std::fill(grads.data() + row * grads_stride + layer.layout.grads * layer.hidden,
                grads.data() + (row + 1) * grads_stride, R(0));
    }
  }

  ForwardArgs<R> forward(bool train) {
    ForwardArgs<R> args = {};
    args.steps = steps.all();
    args.share.end = blocks;
    args.hidden = static_cast<int>(layer.hidden);
    for (int i = 0; i < layer.layout.phases; ++i) args.u[i] = layer.u[i].data();
    args.bias_h = layer.bias_h.data();
    args.z_sign = R(-1);
    args.pre = pre.data();
    args.pre_first = steps.first.data();
    for (int i = 0; i < 2; ++i) args.h[i] = h[i].data();
    args.c = c.data();
    args.scratch = scratch.data();
    args.saved = train ? saved.data() : nullptr;
    args.enter_mean = R(1);
    args.y = {y.data(), layer.hidden, nullptr};
    return args;
  }

  BackwardArgs<R> backward() {
    BackwardArgs<R> args = {};
    args.steps = steps.all();
    args.share.end = blocks;
    args.hidden = static_cast<int>(layer.hidden);
    for (int i = 0; i < layer.layout.phases; ++i) args.u[i] = layer.u_t[i].data();
    args.z_sign = R(-1);
    args.saved = saved.data();
    args.dy = {dy.data(), layer.hidden, nullptr};
    args.dh = dh.data();
    args.dc = dc.data();
    args.scratch = scratch.data();
    args.grads = grads.data();
    args.grads_stride = grads_stride;
    return args;
  }

  // Common to both directions: the recurrent weights every step, `a_row` fields of every row once,
  // `a_slot` fields of every slot and step.
  Work work(int ops, int a_row, int a_slot) const {
    const double r = static_cast<double>(rows), units = r * static_cast<double>(layer.hidden);
    const double depth = static_cast<double>(layer.hidden * layer.layout.gates);
    const double weights = layer.fields(depth);
    return {2 * units * depth, ops * units,
            r / static_cast<double>(batch) * weights + layer.fields(r * (a_row + 2 * a_slot)),
            weights + layer.fields(r * a_row + static_cast<double>(batch) * a_slot)};
  }
  // Fields of a slot that live from step to step beside h or dh.
  int slot_fields() const {
    return (layer.layout.cell_state ? 1 : 0) + (layer.layout.phases > 1 ? 2 : 0);
  }
  std::string shape() const {
    return "T=" + std::to_string(rows / batch) + " B=" + std::to_string(batch) +
           " H=" + std::to_string(layer.hidden);
  }
};

template <class R>
void forward_case(Bench<R>& bench, Sweep<R>& sweep, const char* name, bool train) {
  const Layer<R>& layer = sweep.layer;
  const CellLayout& layout = layer.layout;
  if (!bench.wants(name, layer.name())) return;
  const ForwardArgs<R> args = sweep.forward(train);
  // Per row: the input side, y, and what is saved; per slot: h.
  const int a_row = layout.gates + 1 + (train ? layout.saved : 0);
  const Work work = sweep.work(forward_ops<R>(layer.cell), a_row, 1 + sweep.slot_fields());
  bench.measure({name, layer.name(), sweep.shape(), work},
                [&] { bench.kernels.forward[layer.cell](args); },
                {{sweep.y.data(), sweep.y.size()}, {sweep.h[0].data(), sweep.h[0].size()}});
}

template <class R>
void backward_case(Bench<R>& bench, Sweep<R>& sweep) {
  const Layer<R>& layer = sweep.layer;
  const CellLayout& layout = layer.layout;
  if (!bench.wants("backward", layer.name())) return;
  bench.kernels.forward[layer.cell](sweep.forward(true));  // what it needs saved
  const BackwardArgs<R> args = sweep.backward();
  // Per row: what was saved, dy and the gate gradients; per slot: dh.
  const int a_row = layout.saved + 1 + layout.grads;
  const Work work = sweep.work(backward_ops<R>(layer.cell), a_row, 1 + sweep.slot_fields());
  bench.measure({"backward", layer.name(), sweep.shape(), work},
                [&] { bench.kernels.backward[layer.cell](args); },
                {{sweep.grads.data(), sweep.grads.size()}, {sweep.dh.data(), sweep.dh.size()}});
}

}  // namespace

template <class R>
void recurrent_cases(Bench<R>& bench) {
  constexpr const char *kForward = "forward", *kTrain = "forward_train", *kBackward = "backward";
  for (int i = 0; i < kFusedCells; ++i) {
    const Cell cell = static_cast<Cell>(i);
    const char* name = name_of(cell);
    if (!bench.wants(kForward, name) && !bench.wants(kTrain, name) &&
        !bench.wants(kBackward, name)) {
      continue;
    }
    for (const int64_t hidden : hidden_sizes(bench.quick())) {
      const Layer<R> layer(cell, hidden);
      for (const int64_t batch : batch_sizes(bench.quick())) {
        Sweep<R> sweep(layer, batch, bench.kernels.lanes);
        forward_case(bench, sweep, kForward, false);
        forward_case(bench, sweep, kTrain, true);
        backward_case(bench, sweep);
      }
    }
  }
}

template void recurrent_cases(Bench<float>&);
template void recurrent_cases(Bench<double>&);

}  // namespace gru::bench
