// The opaque tape that Python carries from a training forward pass to backward.
#pragma once

#include <variant>

#include "numpy.hpp"

namespace gru::python {

class Tape {
 public:
  // x: what the tape may point to instead of a copy.
  template <class R>
  Tape(std::shared_ptr<Layer<R>> layer, std::shared_ptr<LayerTape<R>> tape, py::object x)
      : owner_(std::move(layer)), x_(std::move(x)), tape_(std::move(tape)) {}
  template <class R>
  Tape(std::shared_ptr<Sequential<R>> model, std::shared_ptr<ModelTape<R>> tape, Shape out,
       py::object x)
      : owner_(std::move(model)), x_(std::move(x)), tape_(std::move(tape)), out_(out) {}

  // The tape, where this very layer or model made it; ValueError otherwise.
  template <class R>
  const std::shared_ptr<LayerTape<R>>& layer(const Layer<R>& owner) const {
    return get<std::shared_ptr<LayerTape<R>>>(&owner, "layer");
  }
  template <class R>
  const std::shared_ptr<ModelTape<R>>& model(const Sequential<R>& owner) const {
    return get<std::shared_ptr<ModelTape<R>>>(&owner, "model");
  }
  const Shape& output() const { return out_; }

  int64_t bytes() const {
    return std::visit([](const auto& tape) { return count(*tape); }, tape_);
  }

 private:
  template <class T>
  const T& get(const void* owner, const char* what) const {
    const T* tape = std::get_if<T>(&tape_);
    if (!tape || owner != owner_.get()) {
      throw std::invalid_argument(
          std::string("tape must come from a training forward pass of this ") + what +
          ", got another's");
    }
    return *tape;
  }
  template <class R>
  static int64_t count(const LayerTape<R>& tape) {
    return tape_bytes(tape);
  }
  template <class R>
  static int64_t count(const ModelTape<R>& tape) {
    int64_t bytes = 0;
    for (const auto& layer : tape.layers) bytes += tape_bytes(*layer);
    return bytes;
  }

  std::shared_ptr<const void> owner_;  // kept alive, so that its address stays its own
  py::object x_;
  std::variant<std::shared_ptr<LayerTape<float>>, std::shared_ptr<LayerTape<double>>,
               std::shared_ptr<ModelTape<float>>, std::shared_ptr<ModelTape<double>>>
      tape_;
  Shape out_;
};

}  // namespace gru::python
