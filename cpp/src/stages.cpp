// Runs a list of layers over a few steps: the same packed weights and kernels as whole sequences.
#include "stages.hpp"

#include <algorithm>
#include <stdexcept>

#include "float_mode.hpp"
#include "stateless.hpp"

namespace gru {
namespace {

// Rows of a block of steps: enough for the weights to be read once for most of what they cost, few
// enough for thousands of streams.
constexpr int kBlockRows = 8;

// For the input sides of a single step, as few rows leave them in L1 and many in L2.
constexpr int64_t kInputSideBytes = 32 * 1024;

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

// The last of the steps so far is this one, and dropout does nothing in inference.
bool passes_on(const LayerSpec& spec) {
  return spec.kind == Kind::dropout || (spec.kind == Kind::pool && spec.pool == "last");
}

// A frozen layer's block stays as it is; an open one's is copied.
template <class R>
std::shared_ptr<const R> table_of(const Layer<R>& layer, const Weights<R>& weights) {
  if (weights.frozen) return weights.block;
  const auto copy = std::make_shared<Buffer<R>>(layer.size());
  std::copy_n(weights.block.get(), layer.size(), copy->data());
  return std::shared_ptr<const R>(copy, copy->data());
}

template <class R>
Stage<R> weights_of(const Layer<R>& layer, int64_t input) {
  Stage<R> stage;
  stage.spec = layer.spec();
  const auto weights = layer.weights();
  stage.packed = packed_weights(layer, *weights, false);
  stage.kernels = stage.packed ? stage.packed->kernels : &active_kernels<R>();
  stage.features = layer.output_shape({1, 1, input, true}).features;
  stage.stride = stage.spec.recurrent() ? stage.packed->geometry->field : stage.features;
  if (stage.spec.kind == Kind::embedding || stage.spec.kind == Kind::affine) {
    stage.table = table_of(layer, *weights);
  }
  return stage;
}

template <class R>
int64_t bytes_of(const Stage<R>& stage) {
  int64_t count = 0;
  if (stage.packed) {
    for (const Panels<R>& panels : stage.packed->panels) {
      count += panels.w.size() + panels.u[0].size() + panels.u[1].size();
    }
  }
  return count * static_cast<int64_t>(sizeof(R));
}

// What a stage writes and carries, all zero.
template <class R>
void add_buffers(Stage<R>& stage, int64_t batch, int64_t rows) {
  stage.out = Buffer<R>::zeros(rows * stage.stride);
  if (stage.spec.recurrent()) {
    const Geometry& g = *stage.packed->geometry;
    stage.pre = Buffer<R>(rows * g.layout.gates * g.field);
    for (int64_t i = 0; i < g.layers; ++i) {
      Level<R> level;
      for (Buffer<R>& h : level.h) h = Buffer<R>::zeros(batch * g.field);
      if (g.layout.cell_state) level.c = Buffer<R>::zeros(batch * g.field);
      if (g.layout.phases > 1) level.scratch = Buffer<R>::zeros(2 * batch * g.field);
      if (g.layout.norm) level.raw = Buffer<R>::zeros(6 * batch * g.field);
      stage.levels.push_back(std::move(level));
    }
  }
  if (stage.spec.kind != Kind::pool) return;
  stage.kept = Buffer<R>::zeros(batch * stage.features);
  stage.seen.assign(static_cast<std::size_t>(batch), 0);
}

// Blocks of units whose input sides a single step makes before it makes their states and goes on to
// others: few enough for what lies between the two to stay near; in fours, as tiles of a single row
// take them. All blocks where units wait for each other within the step, and of a few rows.
template <class R>
int64_t blocks_at_once(const Geometry& g, int64_t rows) {
  if (g.layout.phases > 1 || g.layout.norm) return g.blocks();
  const int64_t bytes = rows * g.layout.gates * g.lanes * static_cast<int64_t>(sizeof(R));
  return std::max<int64_t>(4, kInputSideBytes / bytes / 4 * 4);
}

// Of several steps the input sides of all rows in one product, then the steps, whose output is
// written to `out`, which the next level reads and writes in turn. One step's output is its state.
template <class R>
Flow<R> run_recurrent(Stage<R>& stage, int64_t sequences, int64_t steps, Flow<R> x) {
  const Kernels<R>& kernels = *stage.kernels;
  const Geometry& g = *stage.packed->geometry;
  // Steps are numbered from 0 and 1 in turns: odd ones go through a level's weights backward, and
  // begin with those that the one before may have left in the cache.
  const int begin = stage.current;
  int32_t active[kBlockRows + 1] = {};
  int64_t first[kBlockRows + 2] = {};
  for (int64_t s = 0; s < steps; ++s) {
    active[begin + s] = static_cast<int32_t>(sequences);
    first[begin + s] = s * sequences;
  }
  ForwardArgs<R> args = {};
  args.steps = {active, first, begin, begin + static_cast<int32_t>(steps), 0, active[begin]};
  args.hidden = static_cast<int>(g.hidden);
  args.bytes_between = steps > 1 ? 0 : stage.weight_bytes;
  args.z_sign = static_cast<R>(g.z_sign);
  args.enter_mean = static_cast<R>(1 - stage.spec.zoneout);
  args.pre = stage.pre.data();
  args.pre_first = first;
  const int next = static_cast<int>((begin + steps) & 1);
  const int64_t blocks = g.blocks(), some = steps > 1 ? blocks : blocks_at_once<R>(g, sequences);
  for (std::size_t i = 0; i < stage.levels.size(); ++i) {
    Level<R>& level = stage.levels[i];
    const Panels<R>& panels = stage.packed->panels[i];
    ProductArgs<R> product = {};
    product.a = {x.data, x.stride, nullptr};
    product.rows = sequences * steps;
    product.segments = 1;
    product.depth = static_cast<int>(x.features);
    product.descending = begin & 1;
    product.bytes_between = stage.weight_bytes;
    for (int phase = 0; phase < g.layout.phases; ++phase) args.u[phase] = panels.u[phase].data();
    args.bias_h = panels.bias_h.data();
    args.norm = panels.norm.data();
    args.raw = level.raw.data();
    for (int side = 0; side < 2; ++side) args.h[side] = level.h[side].data();
    args.c = level.c.data();
    args.scratch = level.scratch.data();
    args.y = {steps > 1 ? stage.out.data() : nullptr, g.field, nullptr};
    for (int64_t done = 0; done < blocks; done += some) {
      const int64_t count = std::min(some, blocks - done);
      const int64_t block = product.descending ? blocks - done - count : done;
      const int64_t column = g.layout.gates * g.lanes * block;
      product.panels = panels.w.data() + column * product.depth;
      product.columns = g.layout.gates * g.lanes * count;
      product.init = panels.init.data() + column;
      product.out = {stage.pre.data(), product.columns, nullptr};
      kernels.product(product);
      args.share = {static_cast<int32_t>(block), static_cast<int32_t>(block + count), nullptr,
                    nullptr};
      kernels.forward[g.cell](args);
    }
    x = {steps > 1 ? stage.out.data() : level.h[next].data(), g.field, g.hidden};
  }
  stage.current = next;
  return x;
}

template <class R>
void run_linear(Stage<R>& stage, int64_t rows, Flow<R> x) {
  const Panels<R>& panels = stage.packed->panels[0];
  multiply_rows(*stage.kernels, {rows, nullptr}, {x.data, x.stride, nullptr}, x.features, panels.w,
                panels.init.data(), stage.out.data(), stage.features, 1);
}

template <class R>
void pool_row(Stage<R>& stage, int64_t sequence, const R* x, R* out) {
  R* const kept = stage.kept.data() + sequence * stage.features;
  const int64_t seen = ++stage.seen[static_cast<std::size_t>(sequence)];
  if (stage.spec.pool == "max") {
    for (int64_t i = 0; i < stage.features; ++i) {
      if (seen == 1 || beats(x[i], kept[i])) kept[i] = x[i];
      out[i] = kept[i];
    }
    return;
  }
  for (int64_t i = 0; i < stage.features; ++i) {
    kept[i] += x[i];
    out[i] = mean_of(kept[i], seen);
  }
}

template <class R>
void run_rows(Stage<R>& stage, int64_t sequences, int64_t rows, Flow<R> x) {
  for (int64_t row = 0; row < rows; ++row) {
    const R* from = x.data + row * x.stride;
    R* out = stage.out.data() + row * stage.features;
    if (stage.spec.kind == Kind::pool) {
      pool_row(stage, row % sequences, from, out);
    } else if (stage.spec.kind == Kind::activation) {
      activate(*stage.kernels, stage.spec.nonlinearity, from, out, 1, stage.features);
    } else {  // affine: no other kind is left
      affine(stage.table.get(), from, out, stage.features);
    }
  }
}

template <class R>
Flow<R> run_stage(Stage<R>& stage, int64_t sequences, int64_t steps, Flow<R> x) {
  if (stage.spec.recurrent()) return run_recurrent(stage, sequences, steps, x);
  if (stage.spec.kind == Kind::linear) {
    run_linear(stage, sequences * steps, x);
  } else {
    run_rows(stage, sequences, sequences * steps, x);
  }
  return {stage.out.data(), stage.stride, stage.features};
}

}  // namespace

template <class R>
Stages<R>::Stages(const Sequential<R>& model, int64_t batch)
    : batch_(batch),
      features_(model.input_features()),
      most_steps_(batch == 1 ? kBlockRows : 1),
      tokens_(model.takes_tokens()) {
  if (features_ == 0) {
    throw std::invalid_argument(
        "a stream needs a layer that says how many features a step has (recurrent, linear or "
        "embedding), but the model has none");
  }
  int64_t features = features_;
  for (const auto& layer : model.layers()) {
    refuse_unstreamable(layer->spec());
    if (passes_on(layer->spec())) continue;
    stages_.push_back(weights_of(*layer, features));
    add_buffers(stages_.back(), batch_, batch_ * most_steps_);
    if (layer->spec().sized()) multiply_adds_ += layer->size();
    features = stages_.back().features;
  }
  index();
}

template <class R>
Stages<R>::Stages(const Stages& other)
    : batch_(other.batch_),
      features_(other.features_),
      multiply_adds_(other.multiply_adds_),
      most_steps_(other.most_steps_),
      tokens_(other.tokens_) {
  for (const Stage<R>& stage : other.stages_) {
    Stage<R> copy;
    copy.spec = stage.spec;
    copy.kernels = stage.kernels;
    copy.packed = stage.packed;
    copy.table = stage.table;
    copy.features = stage.features;
    copy.stride = stage.stride;
    add_buffers(copy, batch_, batch_ * most_steps_);
    stages_.push_back(std::move(copy));
  }
  index();
  Buffer<R> values(record_values_);
  std::vector<int64_t> counts(running_.size());
  for (int64_t row = 0; row < batch_; ++row) {
    other.save(row, values.data(), counts.data());
    load(row, values.data(), counts.data());
  }
}

template <class R>
void Stages<R>::index() {
  int64_t weight_bytes = 0;
  for (const Stage<R>& stage : stages_) weight_bytes += bytes_of(stage);
  for (Stage<R>& stage : stages_) {
    stage.weight_bytes = weight_bytes;
    if (stage.spec.recurrent()) recurrent_.push_back(&stage);
    if (!stage.seen.empty()) running_.push_back(&stage);
    each_carried(stage, 0, [this](R*, int64_t count) { record_values_ += count; });
  }
}

template <class R>
void Stages<R>::check_tokens(const int64_t* tokens, int64_t sequences, int64_t steps) const {
  gru::check_tokens(stages_.front().spec, tokens, sequences, steps);
}

template <class R>
void Stages<R>::run(int64_t sequences, int64_t steps, const R* x, int64_t x_stride, R* y,
                    int64_t y_stride) {
  FloatMode mode;
  run_from(0, sequences, steps, {x, x_stride, features_}, y, y_stride);
}

template <class R>
void Stages<R>::run(int64_t sequences, int64_t steps, const int64_t* tokens, int64_t stride, R* y,
                    int64_t y_stride) {
  FloatMode mode;
  Stage<R>& first = stages_.front();
  for (int64_t row = 0; row < sequences * steps; ++row) {
    std::copy_n(first.table.get() + tokens[row * stride] * first.features, first.features,
                first.out.data() + row * first.stride);
  }
  run_from(1, sequences, steps, {first.out.data(), first.stride, first.features}, y, y_stride);
}

template <class R>
void Stages<R>::run_from(std::size_t first, int64_t sequences, int64_t steps, Flow<R> x, R* y,
                         int64_t y_stride) {
  for (std::size_t i = first; i < stages_.size(); ++i) {
    x = run_stage(stages_[i], sequences, steps, x);
  }
  for (int64_t row = 0; row < sequences * steps; ++row) {
    std::copy_n(x.data + row * x.stride, x.features, y + row * y_stride);
  }
}

template <class R>
void Stages<R>::save(int64_t row, R* values, int64_t* counts) const {
  for (const Stage<R>& stage : stages_) {
    each_carried(const_cast<Stage<R>&>(stage), row,
                 [&](R* carried, int64_t count) { values = std::copy_n(carried, count, values); });
    if (!stage.seen.empty()) *counts++ = stage.seen[static_cast<std::size_t>(row)];
  }
}

template <class R>
void Stages<R>::load(int64_t row, const R* values, const int64_t* counts) {
  for (Stage<R>& stage : stages_) {
    each_carried(stage, row, [&](R* carried, int64_t count) {
      std::copy_n(values, count, carried);
      values += count;
    });
    if (!stage.seen.empty()) stage.seen[static_cast<std::size_t>(row)] = *counts++;
  }
}

template <class R>
void Stages<R>::reset(int64_t row) {
  for (Stage<R>& stage : stages_) {
    each_carried(stage, row, [](R* carried, int64_t count) { std::fill_n(carried, count, R(0)); });
    if (!stage.seen.empty()) stage.seen[static_cast<std::size_t>(row)] = 0;
  }
}

template class Stages<float>;
template class Stages<double>;

}  // namespace gru
