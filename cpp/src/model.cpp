// Runs a list of layers forward and backward.
#include "gru/model.hpp"

#include <algorithm>
#include <stdexcept>

#include "buffer.hpp"
#include "random.hpp"

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
Model<R>::Model(std::vector<LayerPtr> layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw std::invalid_argument("layers must hold at least one layer, got none");
  Shape shape = {1, 1, std::max<int64_t>(input_features(), 1), true};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerSpec& spec = layers_[i]->spec();
    if (spec.kind == Kind::embedding && i > 0) {
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
int64_t Model<R>::input_features() const {
  for (const LayerPtr& layer : layers_) {
    if (layer->spec().sized()) return layer->spec().input_size;
    if (layer->spec().kind == Kind::embedding) return 1;
  }
  return 0;
}

template <class R>
Shape Model<R>::output_shape(Shape shape) const {
  for (const LayerPtr& layer : layers_) shape = layer->output_shape(shape);
  return shape;
}

template <class R>
void Model<R>::forward(const ModelCall<R>& call) const {
  output_shape(call.in);
  ForwardCall<R> step;
  step.in = call.in;
  step.x = call.x;
  step.tokens = call.tokens;
  step.schedule = call.schedule;
  if (!step.schedule && call.in.sequence) step.schedule = schedule_of(call.in.batch, call.in.steps);
  step.threads = call.threads;
  if (call.tape) call.tape->layers.clear();
  Buffer<R> value[2];
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Shape out = layers_[i]->output_shape(step.in);
    Buffer<R>& to = value[i & 1];
    if (i + 1 < layers_.size() && to.size() < out.size()) to = Buffer<R>(out.size());
    step.y = i + 1 < layers_.size() ? to.data() : call.y;
    step.seed = seed_of(call.seed, i);
    if (call.tape) {
      call.tape->layers.push_back(make_tape<R>());
      step.tape = call.tape->layers.back().get();
    }
    layers_[i]->forward(step);
    step.in = out;
    step.x = step.y;
    step.tokens = nullptr;
  }
}

template <class R>
void Model<R>::backward(const ModelTape<R>& tape, const R* dy, const std::vector<R*>& grads,
                        int threads) const {
  Buffer<R> value[2];
  BackwardCall<R> step;
  step.dy = dy;
  step.threads = threads;
  for (std::size_t i = layers_.size(); i-- > 0;) {
    step.tape = tape.layers[i].get();
    step.grads = grads[i];
    step.dx = nullptr;
    if (i > 0) {
      Buffer<R>& to = value[i & 1];
      const int64_t size = layer_input(*step.tape).size();
      if (to.size() < size) to = Buffer<R>(size);
      step.dx = to.data();
    }
    layers_[i]->backward(step);
    step.dy = step.dx;
  }
}

template class Model<float>;
template class Model<double>;

}  // namespace gru
