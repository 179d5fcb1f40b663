// Every kind of stream, and the work that must need nothing from the system.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "make.hpp"

namespace gru::test {

inline LayerSpec softmax() {
  LayerSpec spec;
  spec.kind = Kind::activation;
  spec.nonlinearity = "softmax";
  return spec;
}

// Calls body(Stream) for both dtypes, each cell twice above itself, an embedding or numbers before
// it, each way of pooling or none behind it.
template <class R, class Body>
void each_stream_of(const Body& body) {
  LayerSpec embedding = recurrent(Kind::embedding, 5, 6);
  for (const bool tokens : {false, true}) {
    for (LayerSpec spec : all_cells(6, 20)) {
      spec.num_layers = 2;
      for (const char* name : {"", "last", "mean", "max"}) {
        std::vector<std::shared_ptr<Layer<R>>> layers = {
            random_layer<R>(tokens ? embedding : linear(3, 6)), random_layer<R>(spec)};
        if (*name) layers.push_back(random_layer<R>(pool(name)));
        layers.push_back(random_layer<R>(linear(20, 4)));
        layers.push_back(random_layer<R>(softmax()));
        body(Stream(Model(Sequential<R>(layers))));
      }
    }
  }
}

template <class Body>
void each_stream(const Body& body) {
  each_stream_of<float>(body);
  each_stream_of<double>(body);
}

constexpr int kSteps = 20, kFeatures = 3, kOutputs = 4;
using Outputs = std::array<double, kSteps * kOutputs>;

template <class R, class X>
Outputs work_on(Stream& stream, const X* x) {
  const int width = stream.takes_tokens() ? 1 : kFeatures;
  R y[kSteps * kOutputs], state[256];
  for (int i = 0; i < kSteps; ++i) stream.step(x + width * i, y);
  if (stream.state_size() > 256) std::abort();
  stream.get_state(state);
  stream.reset();
  stream.set_state(state);
  stream.run(x, kSteps, y);
  stream.reset(0);
  Outputs outputs;
  std::copy_n(y, outputs.size(), outputs.begin());
  return outputs;
}

template <class R>
Outputs work_of(Stream& stream) {
  static const std::vector<R> x = random_values<R>(kSteps * kFeatures, 3);
  static const int64_t tokens[kSteps] = {0, 1, 2, 3, 4, 4, 3};
  return stream.takes_tokens() ? work_on<R>(stream, tokens) : work_on<R>(stream, x.data());
}

// Single steps, a state taken and put back, a block, a new beginning: what the block gave.
inline Outputs work(Stream& stream) {
  return stream.dtype() == Dtype::float32 ? work_of<float>(stream) : work_of<double>(stream);
}

}  // namespace gru::test
