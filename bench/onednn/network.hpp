// A job that is ready to run: layers in a row, inputs in rotation.
#pragma once

#include <memory>

#include "layer.hpp"

namespace bench {

class Network {
 public:
  Network(const Job& job, Device& device);

  size_t rotation() const { return x_.size(); }
  void run(size_t k);  // one timed call on input k
  // Writes the outputs of the first input as PREFIX.NAME.bin; returns the names.
  Words write_outputs(const std::string& prefix);

 private:
  void load_inputs(Device& device);
  void make_steps();
  Words write_steps(const std::string& prefix);
  Words write_sequences(const std::string& prefix);
  // The states of all layers, one after the other.
  Floats states(int argument) const;
  const dnnl::memory& input_of(size_t layer, size_t k) const;

  Job job_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<dnnl::memory> x_;
  dnnl::memory dy_;
  Floats h0_;
  std::vector<dnnl::memory> turns_;  // single steps: two states that take turns
  std::vector<Args> step_args_;      // single steps: the arguments of each call
};

}  // namespace bench
