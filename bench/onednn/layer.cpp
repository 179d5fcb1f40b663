#include "layer.hpp"

#include <cstring>

namespace bench {
namespace {

using dnnl::memory;

constexpr int kWeightGradients[] = {DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER,
                                    DNNL_ARG_DIFF_BIAS};

void clear(const memory& memory) {
  std::memset(memory.get_data_handle(), 0, memory.get_desc().get_size());
}

// By value: a memory is a handle.
void reorder(Device& device, memory from, memory to) {
  dnnl::reorder(from, to).execute(device.stream, from, to);
  device.stream.wait();
}

}  // namespace

Floats copy_out(const memory& memory) {
  const auto* values = static_cast<const float*>(memory.get_data_handle());
  return Floats(values, values + memory.get_desc().get_size() / sizeof(float));
}

void copy_in(const memory& memory, const float* values) {
  std::memcpy(memory.get_data_handle(), values, memory.get_desc().get_size());
}

Layer::Layer(const Job& job, int64_t index, Device& device, const float* h0, const float* c0)
    : job_(job),
      index_(index),
      device_(device),
      descs_(make_primitives(job, index, device.engine)),
      forward_(descs_.forward.get()) {
  const Parameters parameters = read_parameters(job, index);
  const auto& desc = descs_.forward;
  args_[DNNL_ARG_WEIGHTS_LAYER] = packed(desc, DNNL_ARG_WEIGHTS_LAYER, parameters.w);
  args_[DNNL_ARG_WEIGHTS_ITER] = packed(desc, DNNL_ARG_WEIGHTS_ITER, parameters.u);
  args_[DNNL_ARG_BIAS] = make(desc, DNNL_ARG_BIAS);
  copy_in(args_[DNNL_ARG_BIAS], parameters.b.data());
  for (const int argument : {DNNL_ARG_SRC_ITER, DNNL_ARG_DST_LAYER, DNNL_ARG_DST_ITER})
    args_[argument] = make(desc, argument);
  copy_in(args_[DNNL_ARG_SRC_ITER], h0);
  if (c0) {
    for (const int argument : {DNNL_ARG_SRC_ITER_C, DNNL_ARG_DST_ITER_C})
      args_[argument] = make(desc, argument);
    copy_in(args_[DNNL_ARG_SRC_ITER_C], c0);
  }
  if (job.train()) add_backward(parameters);
}

// Backward takes all that forward took and gave, and its own packing of the weights.
void Layer::add_backward(const Parameters& parameters) {
  args_[DNNL_ARG_WORKSPACE] = {descs_.forward.query_md(dnnl::query::workspace_md), device_.engine};
  const auto& desc = descs_.backward;
  backward_ = dnnl::primitive(desc.get());
  backward_args_ = args_;
  backward_args_[DNNL_ARG_WEIGHTS_LAYER] = packed(desc, DNNL_ARG_WEIGHTS_LAYER, parameters.w);
  backward_args_[DNNL_ARG_WEIGHTS_ITER] = packed(desc, DNNL_ARG_WEIGHTS_ITER, parameters.u);
  std::vector<int> gradients = {DNNL_ARG_DIFF_SRC_LAYER, DNNL_ARG_DIFF_SRC_ITER,
                                DNNL_ARG_DIFF_DST_ITER};
  gradients.insert(gradients.end(), std::begin(kWeightGradients), std::end(kWeightGradients));
  if (args_.count(DNNL_ARG_SRC_ITER_C)) {
    gradients.push_back(DNNL_ARG_DIFF_SRC_ITER_C);
    gradients.push_back(DNNL_ARG_DIFF_DST_ITER_C);
  }
  for (const int argument : gradients) {
    args_[argument] = backward_args_[argument] = make(desc, argument);
    clear(args_[argument]);  // the final state has no gradient
  }
}

void Layer::forward(const memory& x) {
  args_[DNNL_ARG_SRC_LAYER] = x;
  execute(args_);
}

void Layer::backward(const memory& x, const memory& dy) {
  // oneDNN adds to the gradients of weights, so they start at zero in every call.
  for (const int argument : kWeightGradients) clear(backward_args_[argument]);
  backward_args_[DNNL_ARG_SRC_LAYER] = x;
  backward_args_[DNNL_ARG_DIFF_DST_LAYER] = dy;
  backward_.execute(device_.stream, backward_args_);
  device_.stream.wait();
}

memory Layer::input() const { return make(descs_.forward, DNNL_ARG_SRC_LAYER); }

Parameters Layer::gradients() const {
  return {plain(DNNL_ARG_DIFF_WEIGHTS_LAYER), plain(DNNL_ARG_DIFF_WEIGHTS_ITER),
          copy_out(at(DNNL_ARG_DIFF_BIAS))};
}

Args Layer::step_args(const memory& x, const memory& from, const memory& to) const {
  Args args = args_;
  args[DNNL_ARG_SRC_LAYER] = x;
  args[DNNL_ARG_SRC_ITER] = from;
  args[DNNL_ARG_DST_ITER] = to;
  return args;
}

void Layer::execute(const Args& args) {
  forward_.execute(device_.stream, args);
  device_.stream.wait();
}

memory Layer::make(const dnnl::primitive_desc_base& desc, int argument) const {
  return {desc.query_md(dnnl::query::exec_arg_md, argument), device_.engine};
}

// What a weight looks like in our files' oneDNN layout.
memory::desc Layer::plain_desc(int argument) const {
  const bool reads_x =
      argument == DNNL_ARG_WEIGHTS_LAYER || argument == DNNL_ARG_DIFF_WEIGHTS_LAYER;
  const int64_t inputs = reads_x ? job_.width(index_) : job_.hidden;
  return {{1, job_.directions, inputs, job_.gates(), job_.hidden},
          memory::data_type::f32,
          memory::format_tag::ldigo};
}

memory Layer::packed(const dnnl::primitive_desc_base& desc, int argument,
                     const Floats& plain) const {
  const memory target = make(desc, argument);
  auto* values = const_cast<float*>(plain.data());  // only read from
  reorder(device_, {plain_desc(argument), device_.engine, values}, target);
  return target;
}

Floats Layer::plain(int argument) const {
  const memory target(plain_desc(argument), device_.engine);
  reorder(device_, at(argument), target);
  return copy_out(target);
}

}  // namespace bench
