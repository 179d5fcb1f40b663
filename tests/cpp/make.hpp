// Layers and arrays of reproducible random numbers for the C++ tests.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "gru/gru.hpp"
#include "random.hpp"

namespace gru::test {

// For one thread: numbers made once are kept, since making them takes longer than most tests do.
template <class R>
std::vector<R> random_values(int64_t count, uint64_t seed) {
  static std::map<uint64_t, std::vector<R>> kept;
  std::vector<R>& values = kept[seed];
  for (auto i = static_cast<int64_t>(values.size()); i < count; ++i) {
    const double uniform = philox(seed, 7, static_cast<uint64_t>(i)).word[0] / 4294967296.0;
    values.push_back(static_cast<R>(uniform - 0.5));
  }
  return {values.begin(), values.begin() + count};
}

inline LayerSpec recurrent(Kind kind, int64_t input, int64_t hidden) {
  LayerSpec spec;
  spec.kind = kind;
  spec.input_size = input;
  spec.hidden_size = hidden;
  return spec;
}

inline LayerSpec linear(int64_t input, int64_t output) {
  return recurrent(Kind::linear, input, output);
}

inline LayerSpec pool(const char* name) {
  LayerSpec spec;
  spec.kind = Kind::pool;
  spec.pool = name;
  return spec;
}

template <class R>
std::shared_ptr<Layer<R>> random_layer(const LayerSpec& spec, uint64_t seed = 1) {
  auto layer = std::make_shared<Layer<R>>(spec);
  const std::vector<R> values = random_values<R>(layer->size(), seed);
  for (int64_t i = 0; i < layer->size(); ++i) {
    layer->block().get()[i] = values[static_cast<std::size_t>(i)];
  }
  return layer;
}

// Every recurrent form there is.
inline std::vector<LayerSpec> all_cells(int64_t input, int64_t hidden) {
  std::vector<LayerSpec> specs;
  for (const bool after : {true, false}) {
    for (const char* gate : {"keep", "new"}) {
      LayerSpec spec = recurrent(Kind::gru, input, hidden);
      spec.reset_after = after;
      spec.update_gate = gate;
      specs.push_back(spec);
    }
    specs.push_back(specs.back());
    specs.back().layer_norm = true;
  }
  specs.push_back(recurrent(Kind::lstm, input, hidden));
  specs.push_back(recurrent(Kind::rnn, input, hidden));
  specs.push_back(recurrent(Kind::rnn, input, hidden));
  specs.back().nonlinearity = "relu";
  return specs;
}

}  // namespace gru::test
