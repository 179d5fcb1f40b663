// The GRU step as one writes it with Eigen, and reading alone: what gru is compared with.
#pragma once

#include <memory>

namespace latency {

// A reset-after GRU of one layer over parameters as gru.hpp lays them out; state kept inside.
class PlainGru {
 public:
  PlainGru(int inputs, int hidden, const float* weight_ih, const float* weight_hh,
           const float* bias_ih, const float* bias_hh);
  ~PlainGru();
  void step(const float* x, float* y);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The sum of numbers, as fast as they come out of memory, from the first to the last or the other
// way round. Up to 63 are left out: it takes 64 at a time.
float read(const float* data, long count, bool backward);

}  // namespace latency
