// Streams: the same packed weights and kernels, one step at a time, over buffers made beforehand.
#include "gru/stream.hpp"

#include <algorithm>
#include <stdexcept>

#include "call.hpp"
#include "dispatch.hpp"
#include "float_mode.hpp"
#include "stateless.hpp"

namespace gru {
namespace {

// One stacked layer of a recurrent layer: the state is h[current], (batch, field).
template <class R>
struct Level {
  Buffer<R> h[2], c, scratch, raw;
};

// One layer of the model. `out` holds its last output, rows `stride` apart.
template <class R>
struct Stage {
  LayerSpec spec;
  const Kernels<R>* kernels = nullptr;
  std::shared_ptr<const Packed<R>> packed;  // recurrent, linear
  Buffer<R> table;                          // embedding, affine
  int64_t features = 0;                     // of the output
  int64_t stride = 0;
  Buffer<R> out;  // not recurrent
  Buffer<R> pre;  // recurrent
  std::vector<Level<R>> levels;
  int current = 0;
  Buffer<R> sum;              // mean
  std::vector<int64_t> seen;  // mean, max: steps so far of each row

  const R* output() const {
    return spec.recurrent() ? levels.back().h[current].data() : out.data();
  }
};

void refuse_unstreamable(const LayerSpec& spec) {
  if (spec.recurrent() && spec.direction != "forward") {
    throw std::invalid_argument("a stream runs forward in time, but a layer has direction '" +
                                spec.direction +
                                "': its output at a step depends on steps still to come");
  }
  if (spec.kind == Kind::reverse) {
    throw std::invalid_argument("a stream cannot run Reverse: it begins with the last step");
  }
  if (spec.kind == Kind::masking) {
    throw std::invalid_argument(
        "a stream cannot run Masking: each step counts; leave out those that do not");
  }
  if (spec.kind == Kind::pool && spec.bidirectional) {
    throw std::invalid_argument(
        "a stream cannot run Last(bidirectional=True): see bidirectional layers");
  }
}

template <class R>
Stage<R> make_stage(const Layer<R>& layer, int64_t batch, int64_t input) {
  Stage<R> stage;
  stage.spec = layer.spec();
  refuse_unstreamable(stage.spec);
  const auto weights = layer.weights();
  stage.packed = packed_weights(layer, *weights, false);
  stage.kernels = stage.packed ? stage.packed->kernels : &active_kernels<R>();
  stage.features = layer.output_shape({batch, 1, input, true}).features;
  stage.stride = stage.features;
  if (stage.spec.kind == Kind::embedding || stage.spec.kind == Kind::affine) {
    stage.table = Buffer<R>(layer.size());
    std::copy_n(weights->block.get(), layer.size(), stage.table.data());
  }
  if (stage.spec.recurrent()) {
    const Geometry& g = *stage.packed->geometry;
    stage.stride = g.field;
    stage.pre = Buffer<R>(batch * g.layout.gates * g.field);
    for (int64_t i = 0; i < g.layers; ++i) {
      Level<R> level;
      for (Buffer<R>& h : level.h) h = Buffer<R>::zeros(batch * g.field);
      if (g.layout.cell_state) level.c = Buffer<R>::zeros(batch * g.field);
      if (g.layout.phases > 1) level.scratch = Buffer<R>::zeros(2 * batch * g.field);
      if (g.layout.norm) level.raw = Buffer<R>::zeros(6 * batch * g.field);
      stage.levels.push_back(std::move(level));
    }
    return stage;
  }
  stage.out = Buffer<R>::zeros(batch * stage.features);
  if (stage.spec.kind != Kind::pool) return stage;
  stage.seen.assign(static_cast<std::size_t>(batch), 0);
  if (stage.spec.pool == "mean") stage.sum = Buffer<R>::zeros(batch * stage.features);
  return stage;
}

// Rows of features on their way from one stage to the next.
template <class R>
struct Flow {
  const R* data;
  int64_t stride, features;
};

template <class R>
void step_recurrent(Stage<R>& stage, int64_t batch, Flow<R> x) {
  const Kernels<R>& kernels = *stage.kernels;
  const Geometry& g = *stage.packed->geometry;
  const int32_t active = static_cast<int32_t>(batch);
  const int64_t first[2] = {0, batch};
  ForwardArgs<R> args = {};
  args.steps = {&active, first, 0, 1, 0, active};
  args.share = {0, static_cast<int32_t>(g.blocks()), nullptr, nullptr};
  args.hidden = static_cast<int>(g.hidden);
  args.z_sign = static_cast<R>(g.z_sign);
  args.enter_mean = static_cast<R>(1 - stage.spec.zoneout);
  args.pre = stage.pre.data();
  args.pre_first = first;
  for (std::size_t i = 0; i < stage.levels.size(); ++i) {
    Level<R>& level = stage.levels[i];
    const Panels<R>& panels = stage.packed->panels[i];
    ProductArgs<R> product = {};
    product.a = {x.data, x.stride, nullptr};
    product.rows = batch;
    product.segments = 1;
    product.depth = static_cast<int>(x.features);
    product.panels = panels.w.data();
    product.columns = g.layout.gates * g.field;
    product.init = panels.init.data();
    product.out = {stage.pre.data(), product.columns, nullptr};
    kernels.product(product);
    for (int phase = 0; phase < g.layout.phases; ++phase) args.u[phase] = panels.u[phase].data();
    args.bias_h = panels.bias_h.data();
    args.norm = panels.norm.data();
    args.raw = level.raw.data();
    args.h[0] = level.h[stage.current].data();
    args.h[1] = level.h[1 - stage.current].data();
    args.c = level.c.data();
    args.scratch = level.scratch.data();
    kernels.forward[g.cell](args);
    x = {args.h[1], g.field, g.hidden};
  }
  stage.current = 1 - stage.current;
}

template <class R>
void step_linear(Stage<R>& stage, int64_t batch, Flow<R> x) {
  const Panels<R>& panels = stage.packed->panels[0];
  multiply_rows(*stage.kernels, {batch, nullptr}, {x.data, x.stride, nullptr}, x.features, panels.w,
                panels.init.data(), stage.out.data(), stage.features, 1);
}

template <class R>
void step_pool(Stage<R>& stage, int64_t row, const R* x) {
  R* out = stage.out.data() + row * stage.features;
  if (stage.spec.pool == "last") {
    std::copy_n(x, stage.features, out);
    return;
  }
  const int64_t seen = ++stage.seen[static_cast<std::size_t>(row)];
  if (stage.spec.pool == "max") {
    for (int64_t i = 0; i < stage.features; ++i) {
      if (seen == 1 || beats(x[i], out[i])) out[i] = x[i];
    }
    return;
  }
  R* sum = stage.sum.data() + row * stage.features;
  for (int64_t i = 0; i < stage.features; ++i) {
    sum[i] += x[i];
    out[i] = mean_of(sum[i], seen);
  }
}

template <class R>
void step_rows(Stage<R>& stage, int64_t batch, Flow<R> x) {
  for (int64_t row = 0; row < batch; ++row) {
    const R* from = x.data + row * x.stride;
    R* out = stage.out.data() + row * stage.features;
    if (stage.spec.kind == Kind::pool) {
      step_pool(stage, row, from);
    } else if (stage.spec.kind == Kind::activation) {
      activate(*stage.kernels, stage.spec.nonlinearity, from, out, 1, stage.features);
    } else if (stage.spec.kind == Kind::affine) {
      affine(stage.table.data(), from, out, stage.features);
    } else {  // dropout does nothing in inference
      std::copy_n(from, stage.features, out);
    }
  }
}

}  // namespace

template <class R>
struct Stream<R>::Impl {
  int64_t batch;
  int64_t features;
  int64_t multiply_adds = 0;
  bool tokens;
  std::vector<Stage<R>> stages;
  std::vector<std::size_t> recurrent;

  void run(Flow<R> x, std::size_t from, R* y) {
    for (std::size_t i = from; i < stages.size(); ++i) {
      Stage<R>& stage = stages[i];
      if (stage.spec.recurrent()) {
        step_recurrent(stage, batch, x);
      } else if (stage.spec.kind == Kind::linear) {
        step_linear(stage, batch, x);
      } else {
        step_rows(stage, batch, x);
      }
      x = {stage.output(), stage.stride, stage.features};
    }
    for (int64_t row = 0; row < batch; ++row) {
      std::copy_n(x.data + row * x.stride, x.features, y + row * x.features);
    }
  }
};

template <class R>
Stream<R>::Stream(const Model<R>& model, int64_t batch) : impl_(std::make_unique<Impl>()) {
  if (batch < 1 || batch > (int64_t(1) << 24)) {
    throw std::invalid_argument("batch must be from 1 to 16777216, got " + std::to_string(batch));
  }
  if (model.input_features() == 0) {
    throw std::invalid_argument(
        "a stream needs a layer that says how many features a step has (recurrent, linear or "
        "embedding), but the model has none");
  }
  impl_->batch = batch;
  impl_->features = model.input_features();
  impl_->tokens = model.takes_tokens();
  int64_t features = impl_->features;
  for (const auto& layer : model.layers()) {
    impl_->stages.push_back(make_stage(*layer, batch, features));
    if (layer->spec().sized()) impl_->multiply_adds += batch * layer->size();
    features = impl_->stages.back().features;
    if (layer->spec().recurrent()) impl_->recurrent.push_back(impl_->stages.size() - 1);
  }
}

template <class R>
Stream<R>::~Stream() = default;
template <class R>
Stream<R>::Stream(Stream&&) noexcept = default;
template <class R>
Stream<R>& Stream<R>::operator=(Stream&&) noexcept = default;

template <class R>
int64_t Stream<R>::batch() const {
  return impl_->batch;
}

template <class R>
int64_t Stream<R>::input_features() const {
  return impl_->features;
}

template <class R>
int64_t Stream<R>::output_features() const {
  return impl_->stages.back().features;
}

template <class R>
bool Stream<R>::takes_tokens() const {
  return impl_->tokens;
}

template <class R>
int64_t Stream<R>::multiply_adds() const {
  return impl_->multiply_adds;
}

template <class R>
void Stream<R>::step(const R* x, R* y) {
  FloatMode mode;
  impl_->run({x, impl_->features, impl_->features}, 0, y);
}

template <class R>
void Stream<R>::step(const int64_t* tokens, R* y) {
  FloatMode mode;
  Stage<R>& first = impl_->stages.front();
  ForwardCall<R> call;
  call.in = {impl_->batch, 1, 1, true};
  call.tokens = tokens;
  call.y = first.out.data();
  embedding_forward<R>(first.spec, static_cast<const R*>(first.table.data()), call);
  impl_->run({first.out.data(), first.stride, first.features}, 1, y);
}

template <class R>
int64_t Stream<R>::recurrent_layers() const {
  return static_cast<int64_t>(impl_->recurrent.size());
}

template <class R>
const LayerSpec& Stream<R>::recurrent_spec(int64_t i) const {
  return impl_->stages[impl_->recurrent[static_cast<std::size_t>(i)]].spec;
}

namespace {

// Visits (row of the public state, row of the level's buffers) of every level and sequence.
template <class R, class Body>
void each_state_row(Stage<R>& stage, int64_t batch, Body body) {
  const int64_t hidden = stage.spec.hidden_size, levels = stage.spec.num_layers;
  for (int64_t level = 0; level < levels; ++level) {
    for (int64_t row = 0; row < batch; ++row) {
      body(stage.levels[static_cast<std::size_t>(level)], (row * levels + level) * hidden,
           row * stage.stride);
    }
  }
}

}  // namespace

template <class R>
void Stream<R>::get_state(int64_t i, StateView<R> to) const {
  Stage<R>& stage = impl_->stages[impl_->recurrent[static_cast<std::size_t>(i)]];
  const int64_t hidden = stage.spec.hidden_size;
  each_state_row(stage, impl_->batch, [&](Level<R>& level, int64_t outside, int64_t inside) {
    std::copy_n(level.h[stage.current].data() + inside, hidden, to.h + outside);
    if (to.c) std::copy_n(level.c.data() + inside, hidden, to.c + outside);
  });
}

template <class R>
void Stream<R>::set_state(int64_t i, StateView<const R> from) {
  Stage<R>& stage = impl_->stages[impl_->recurrent[static_cast<std::size_t>(i)]];
  const int64_t hidden = stage.spec.hidden_size;
  each_state_row(stage, impl_->batch, [&](Level<R>& level, int64_t outside, int64_t inside) {
    std::copy_n(from.h + outside, hidden, level.h[stage.current].data() + inside);
    if (from.c) std::copy_n(from.c + outside, hidden, level.c.data() + inside);
  });
}

template <class R>
void Stream<R>::reset(int64_t row) {
  for (Stage<R>& stage : impl_->stages) {
    for (Level<R>& level : stage.levels) {
      std::fill_n(level.h[stage.current].data() + row * stage.stride, stage.stride, R(0));
      if (level.c.size()) std::fill_n(level.c.data() + row * stage.stride, stage.stride, R(0));
    }
    if (!stage.seen.empty()) stage.seen[static_cast<std::size_t>(row)] = 0;
    if (stage.sum.size()) {
      std::fill_n(stage.sum.data() + row * stage.features, stage.features, R(0));
    }
  }
}

template class Stream<float>;
template class Stream<double>;

}  // namespace gru
