// One layer with its memory: packs the weights once, runs forward and backward.
#pragma once

#include <unordered_map>

#include "arrays.hpp"
#include "primitives.hpp"

namespace bench {

using Args = std::unordered_map<int, dnnl::memory>;

// An engine, and the stream on which everything runs.
struct Device {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

Floats copy_out(const dnnl::memory& memory);
void copy_in(const dnnl::memory& memory, const float* values);

class Layer {
 public:
  // h0, c0: (D, B, H) of this layer; c0 is null where the cell has none.
  Layer(const Job& job, int64_t index, Device& device, const float* h0, const float* c0);

  void forward(const dnnl::memory& x);
  // Uses what forward left: may only follow it, with the same x. Overwrites all gradients.
  void backward(const dnnl::memory& x, const dnnl::memory& dy);

  dnnl::memory input() const;  // fresh memory for an x, (T, B, I)
  const dnnl::memory& at(int argument) const { return args_.at(argument); }
  Parameters gradients() const;

  // For single steps: the arguments of one call that reads one state and writes another.
  Args step_args(const dnnl::memory& x, const dnnl::memory& from, const dnnl::memory& to) const;
  void execute(const Args& args);

 private:
  dnnl::memory make(const dnnl::primitive_desc_base& desc, int argument) const;
  dnnl::memory::desc plain_desc(int argument) const;
  // A weight in the layout that the primitive chose, from plain (D, I, G, H); and a gradient back.
  dnnl::memory packed(const dnnl::primitive_desc_base& desc, int argument,
                      const Floats& plain) const;
  Floats plain(int argument) const;
  void add_backward(const Parameters& parameters);

  Job job_;
  int64_t index_;
  Device& device_;
  Primitives descs_;
  dnnl::primitive forward_, backward_;
  Args args_, backward_args_;
};

}  // namespace bench
