// What a model answers to an input drawn from a fixed seed; knows no file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "gru/sequential.hpp"
#include "random.hpp"

namespace gru {

constexpr int64_t kCheckBatch = 2, kCheckSteps = 5, kCheckValues = 64;

// A sample of the model's output for an input drawn from a fixed seed.
template <class R>
std::vector<double> self_check(const Sequential<R>& model) {
  const int64_t features = std::max<int64_t>(model.input_features(), 1);
  const int64_t rows = kCheckBatch * kCheckSteps;
  Buffer<R> x(rows * features);
  std::vector<int64_t> tokens(static_cast<std::size_t>(rows));
  const int64_t vocabulary = std::max<int64_t>(model.layers().front()->spec().input_size, 1);
  for (int64_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<R>(philox(1, 0, static_cast<uint64_t>(i)).word[0] / 2147483648.0 - 1.0);
  }
  for (int64_t i = 0; i < rows; ++i) {
    tokens[static_cast<std::size_t>(i)] =
        philox(2, 0, static_cast<uint64_t>(i)).word[0] % vocabulary;
  }
  ModelCall<R> call;
  call.in = {kCheckBatch, kCheckSteps, features, true};
  call.x = x.data();
  call.tokens = tokens.data();
  Buffer<R> y(model.output_shape(call.in).size());
  call.y = y.data();
  call.threads = 1;
  model.forward(call);
  std::vector<double> sample;
  const int64_t step = std::max<int64_t>(1, y.size() / kCheckValues);
  for (int64_t i = 0; i < y.size(); i += step) sample.push_back(static_cast<double>(y[i]));
  return sample;
}

}  // namespace gru
