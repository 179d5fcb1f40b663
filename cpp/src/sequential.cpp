// Runs a list of layers forward and backward.
#include "gru/sequential.hpp"

#include <algorithm>
#include <stdexcept>

#include "buffer.hpp"
#include "dispatch.hpp"
#include "random.hpp"
#include "schedule.hpp"
#include "segments.hpp"
#include "stateless.hpp"

namespace gru {
namespace {

std::string name_of(std::size_t i, const LayerSpec& spec) {
  return "layers[" + std::to_string(i) + "] (" + name_of(spec.kind) + ")";
}

// Every layer draws its own dropout masks.
uint64_t seed_of(uint64_t seed, std::size_t layer) {
  const Philox bits = philox(seed, 0x6c61796572, layer);
  return uint64_t(bits.word[0]) << 32 | bits.word[1];
}

}  // namespace

template <class R>
Sequential<R>::Sequential(std::vector<LayerPtr> layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw std::invalid_argument("layers must hold at least one layer, got none");
  for (const LayerPtr& layer : layers_) {
    if (!layer) throw std::invalid_argument("layers must hold layers, got a null pointer");
  }
  Shape shape = {1, 1, std::max<int64_t>(input_features(), 1), true};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerSpec& spec = layers_[i]->spec();
    if (spec.kind == Kind::masking && i > 0) {
      throw std::invalid_argument(name_of(i, spec) +
                                  " must be the first layer: it says which steps count");
    }
    if (spec.kind == Kind::embedding && i > masks()) {
      throw std::invalid_argument(name_of(i, spec) + " must be the first layer: it takes tokens");
    }
    if (spec.timed() && !shape.sequence) {
      throw std::invalid_argument(name_of(i, spec) +
                                  " needs a time axis, but a pool before it has removed it");
    }
    if (spec.sized() && spec.input_size != shape.features) {
      throw std::invalid_argument(name_of(i, spec) + " expects " + std::to_string(spec.input_size) +
                                  " features, but " + std::to_string(shape.features) +
                                  " come out of the layers before it");
    }
    shape = layers_[i]->output_shape(shape);
  }
}

template <class R>
bool Sequential<R>::takes_tokens() const {
  return layers_.size() > masks() && layers_[masks()]->spec().kind == Kind::embedding;
}

template <class R>
int64_t Sequential<R>::input_features() const {
  for (const LayerPtr& layer : layers_) {
    if (layer->spec().sized()) return layer->spec().input_size;
    if (layer->spec().kind == Kind::embedding) return 1;
  }
  return 0;
}

template <class R>
Shape Sequential<R>::output_shape(Shape shape) const {
  for (const LayerPtr& layer : layers_) shape = layer->output_shape(shape);
  return shape;
}

template <class R>
bool Sequential<R>::pools_state(std::size_t i) const {
  if (i + 1 >= layers_.size() || !layers_[i]->spec().recurrent()) return false;
  const LayerSpec &from = layers_[i]->spec(), &pool = layers_[i + 1]->spec();
  if (pool.kind != Kind::pool || pool.pool != "last") return false;
  return from.direction == (pool.bidirectional ? "both" : "forward");
}

namespace {

// The last layer's rows of a state (batch, num_layers * directions, hidden), as features of a
// sequence; nothing where no step is valid.
template <class R>
struct TopState {
  const LayerSpec& spec;
  const Shape& in;
  std::vector<R> h;

  TopState(const LayerSpec& spec_, const Shape& in_)
      : spec(spec_), in(in_), h(static_cast<std::size_t>(in.batch * spec.num_layers * width())) {}
  int64_t width() const { return spec.directions() * spec.hidden_size; }
  R* row(int64_t sequence) { return h.data() + ((sequence + 1) * spec.num_layers - 1) * width(); }
};

template <class R>
void pool_state(TopState<R>& state, const R* h, const Schedule& schedule, R* y) {
  const int64_t width = state.width();
  for (int64_t slot = 0; slot < state.in.batch; ++slot) {
    const int64_t sequence = schedule.sequence[static_cast<std::size_t>(slot)];
    const R* row = h + (state.row(sequence) - state.h.data());
    if (schedule.count[static_cast<std::size_t>(slot)] > 0) {
      std::copy_n(row, width, y + sequence * width);
    } else {
      std::fill_n(y + sequence * width, width, R(0));
    }
  }
}

// What the recurrent layers need, in order. Layer `first` reads the call's own x.
template <class R>
std::vector<Need> needs_of(const std::vector<std::shared_ptr<Layer<R>>>& layers, std::size_t first,
                           const Schedule& schedule, bool x_stays) {
  std::vector<Need> needs;
  for (const auto& layer : layers) {
    const LayerSpec& spec = layer->spec();
    if (!spec.recurrent()) continue;
    const bool stays = x_stays && layer == layers[first] && spec.input_dropout == 0;
    needs.push_back(need_of(Geometry(spec, active_kernels<R>().lanes), schedule, layer->size(),
                            sizeof(R), stays));
  }
  return needs;
}

int64_t least_of(const std::vector<Need>& needs) {
  int64_t least = 0;
  for (const Need& need : needs) least += need.least;
  return least;
}

// Parts of a memory limit for the recurrent layers, in order: each gets its least, and the first
// ones all that they can use of what is left over. Throws std::invalid_argument where it is too
// little.
std::vector<int64_t> parts_of_limit(const std::vector<Need>& needs, int64_t limit) {
  const int64_t least = least_of(needs);
  check_limit(least, limit);
  std::vector<int64_t> parts;
  int64_t over = limit - least;
  for (const Need& need : needs) {
    const bool whole = need.whole - need.least <= over;
    parts.push_back(whole ? need.whole : need.least);
    over -= parts.back() - need.least;
  }
  return parts;
}

}  // namespace

template <class R>
int64_t Sequential<R>::least_memory(const Shape& in, const Schedule* schedule) const {
  const auto all = schedule ? nullptr : schedule_of(in.batch, in.steps);
  return least_of(needs_of(layers_, masks(), schedule ? *schedule : *all, true));
}

template <class R>
void Sequential<R>::forward(const ModelCall<R>& call) const {
  output_shape(call.in);
  const auto recurrent_layers = static_cast<std::size_t>(
      std::count_if(layers_.begin(), layers_.end(),
                    [](const LayerPtr& layer) { return layer->spec().recurrent(); }));
  for (const std::size_t given : {call.state.size(), call.last_state.size()}) {
    if (given == 0 || given == recurrent_layers) continue;
    throw std::invalid_argument(
        "state and last_state must hold " + std::to_string(recurrent_layers) +
        " entries, one a recurrent layer, or none, got " + std::to_string(given));
  }
  ForwardCall<R> step;
  step.in = call.in;
  step.x = call.x;
  step.tokens = call.tokens;
  step.schedule = call.schedule;
  if (!step.schedule && call.in.sequence) step.schedule = schedule_of(call.in.batch, call.in.steps);
  step.threads = call.threads;
  if (call.tape) call.tape->layers.clear();
  const auto add_tape = [&] {
    if (!call.tape) return;
    call.tape->layers.push_back(make_tape<R>());
    step.tape = call.tape->layers.back().get();
  };
  Buffer<R> value[2];  // in turn: the input of the layer that runs, and its output
  std::size_t recurrent = 0, turn = 0;
  if (masks()) {
    add_tape();  // nothing to keep, but layers and tapes go side by side
    step.schedule =
        masked_schedule(layers_.front()->spec(), call.in, call.x, call.tokens, step.schedule.get());
  }
  std::vector<int64_t> limits;
  if (call.tape && call.memory_limit > 0 && step.schedule) {
    limits =
        parts_of_limit(needs_of(layers_, masks(), *step.schedule, call.x_stays), call.memory_limit);
  }
  for (std::size_t i = masks(); i < layers_.size(); ++i) {
    const bool pooled = pools_state(i);
    const LayerSpec& spec = layers_[i]->spec();
    const Shape in = step.in;
    Shape out = layers_[i]->output_shape(in);
    if (pooled) out = layers_[i + 1]->output_shape(out);
    const bool last = i + 1 + pooled >= layers_.size();
    Buffer<R>& to = value[turn ^= 1];
    if (!last && to.size() < out.size()) to = Buffer<R>(out.size());
    step.y = last ? call.y : to.data();
    step.seed = seed_of(call.seed, i);
    step.x_stays = call.x_stays && i == masks();
    step.state = {};
    step.last_state = {};
    add_tape();
    if (spec.recurrent()) {
      if (!call.state.empty()) step.state = call.state[recurrent];
      if (!call.last_state.empty()) step.last_state = call.last_state[recurrent];
      if (!limits.empty()) step.memory_limit = limits[recurrent];
      ++recurrent;
    }
    R* const y = step.y;
    if (pooled) {
      TopState<R> top(spec, in);
      step.y = nullptr;
      if (!step.last_state.h) step.last_state.h = top.h.data();
      layers_[i]->forward(step);
      pool_state(top, step.last_state.h, *step.schedule, y);
      add_tape();
      ++i;
    } else {
      layers_[i]->forward(step);
    }
    step.in = out;
    step.x = y;
    step.tokens = nullptr;
  }
}

template <class R>
void Sequential<R>::backward(const ModelTape<R>& tape, const R* dy, const std::vector<R*>& grads,
                             int threads) const {
  if (tape.layers.size() != layers_.size() || grads.size() != layers_.size()) {
    throw std::invalid_argument(
        "tape must come from a training forward pass of this model, and grads "
        "hold an entry a layer: " +
        std::to_string(layers_.size()) + ", got " + std::to_string(tape.layers.size()) + " and " +
        std::to_string(grads.size()));
  }
  Buffer<R>
      value[2];  // in turn: the gradient of the output of the layer that runs, and of its input
  std::size_t turn = 0;
  BackwardCall<R> step;
  step.dy = dy;
  step.threads = threads;
  for (std::size_t i = layers_.size(); i-- > masks();) {
    const bool pooled = i > 0 && pools_state(i - 1);
    if (pooled) --i;
    const LayerSpec& spec = layers_[i]->spec();
    const Shape& in = layer_input(*tape.layers[i]);
    step.tape = tape.layers[i].get();
    step.grads = grads[i];
    step.dx = nullptr;
    if (i > masks()) {
      Buffer<R>& to = value[turn ^= 1];
      if (to.size() < in.size()) to = Buffer<R>(in.size());
      step.dx = to.data();
    }
    if (pooled) {
      TopState<R> top(spec, in);
      for (int64_t b = 0; b < in.batch; ++b) {
        std::copy_n(step.dy + b * top.width(), top.width(), top.row(b));
      }
      step.dy = nullptr;
      step.dstate.h = top.h.data();
      layers_[i]->backward(step);
      step.dstate = {};
    } else {
      layers_[i]->backward(step);
    }
    step.dy = step.dx;
  }
}

template class Sequential<float>;
template class Sequential<double>;

}  // namespace gru
