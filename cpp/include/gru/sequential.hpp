// A list of layers, run one after the other, forward and backward: what a model is while it trains.
#pragma once

#include <memory>
#include <vector>

#include "gru/layer.hpp"

namespace gru {

template <class R>
struct ModelTape {
  std::vector<std::shared_ptr<LayerTape<R>>> layers;
};

template <class R>
struct ModelCall {
  Shape in;
  const R* x = nullptr;
  const int64_t* tokens = nullptr;           // where the model takes tokens
  std::shared_ptr<const Schedule> schedule;  // null: every step is valid
  R* y = nullptr;                            // output_shape(in).size() values
  ModelTape<R>* tape = nullptr;              // null: inference
  uint64_t seed = 0;
  int threads = 0;
  // One entry a recurrent layer, in order; empty: zero, and not wanted.
  std::vector<StateView<const R>> state;
  std::vector<StateView<R>> last_state;
  int64_t memory_limit = 0;  // of the recurrent layers together, as in ForwardCall
  bool x_stays = false;
};

template <class R>
class GRU_API Sequential {
 public:
  using LayerPtr = std::shared_ptr<Layer<R>>;

  // Shares the layers. Throws std::invalid_argument where one does not fit the next.
  explicit Sequential(std::vector<LayerPtr> layers);

  const std::vector<LayerPtr>& layers() const { return layers_; }
  bool takes_tokens() const;
  // Features the first layer that fixes them expects (1 a token); 0 where none does.
  int64_t input_features() const;
  Shape output_shape(Shape in) const;
  void forward(const ModelCall<R>& call) const;
  // The least memory_limit that a call for training with these steps (null: all) takes.
  int64_t least_memory(const Shape& in, const Schedule* schedule = nullptr) const;
  // grads: one block a layer, overwritten; null where a layer has no parameters.
  void backward(const ModelTape<R>& tape, const R* dy, const std::vector<R*>& grads,
                int threads = 0) const;

 private:
  // Whether layer i + 1 pools nothing but the final state of layer i: then the outputs of the steps
  // before are neither written nor given a gradient.
  bool pools_state(std::size_t i) const;
  bool masks() const { return layers_.front()->spec().kind == Kind::masking; }

  std::vector<LayerPtr> layers_;
};

}  // namespace gru
