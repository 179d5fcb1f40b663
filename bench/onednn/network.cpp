#include "network.hpp"

namespace bench {

Network::Network(const Job& job, Device& device) : job_(job) {
  if (job.dtype != "float32") throw Absent("has no float64 cells");
  h0_ = read_floats(job.path + "/h0.bin");
  const Floats c0 = job.cell == "lstm" ? read_floats(job.path + "/c0.bin") : Floats();
  for (int64_t l = 0; l < job.layers; ++l) {
    const int64_t offset = l * job.directions * job.batch * job.hidden;
    layers_.push_back(
        std::make_unique<Layer>(job, l, device, &h0_[offset], c0.empty() ? nullptr : &c0[offset]));
  }
  load_inputs(device);
  if (job.mode == "step") make_steps();
}

void Network::load_inputs(Device& device) {
  const auto file = [&](const std::string& name) { return job_.path + "/" + name + ".bin"; };
  const auto load = [&](const dnnl::memory& memory, const std::string& name) {
    copy_in(memory, swap_axes(read_floats(file(name)), job_.batch, job_.steps).data());
  };
  for (int k = 0; exists(file("x" + std::to_string(k))); ++k) {
    x_.push_back(layers_.front()->input());
    load(x_.back(), "x" + std::to_string(k));
  }
  if (!job_.train()) return;
  dy_ = dnnl::memory(layers_.back()->at(DNNL_ARG_DST_LAYER).get_desc(), device.engine);
  load(dy_, "dy");
}

void Network::make_steps() {
  Layer& layer = *layers_.front();
  turns_ = {layer.at(DNNL_ARG_SRC_ITER), layer.at(DNNL_ARG_DST_ITER)};
  for (size_t k = 0; k < x_.size(); ++k)
    step_args_.push_back(layer.step_args(x_[k], turns_[k % 2], turns_[1 - k % 2]));
}

const dnnl::memory& Network::input_of(size_t layer, size_t k) const {
  return layer == 0 ? x_[k] : layers_[layer - 1]->at(DNNL_ARG_DST_LAYER);
}

void Network::run(size_t k) {
  if (!step_args_.empty()) return layers_.front()->execute(step_args_[k]);
  for (size_t l = 0; l < layers_.size(); ++l) layers_[l]->forward(input_of(l, k));
  if (!job_.train()) return;
  for (size_t l = layers_.size(); l-- > 0;) {
    const bool last = l + 1 == layers_.size();
    layers_[l]->backward(input_of(l, k), last ? dy_ : layers_[l + 1]->at(DNNL_ARG_DIFF_SRC_LAYER));
  }
}

Floats Network::states(int argument) const {
  Floats all;
  for (const auto& layer : layers_) {
    const Floats own = copy_out(layer->at(argument));
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

Words Network::write_outputs(const std::string& prefix) {
  return step_args_.empty() ? write_sequences(prefix) : write_steps(prefix);
}

Words Network::write_steps(const std::string& prefix) {
  copy_in(turns_[0], h0_.data());
  Floats y;  // (K, B, H)
  for (size_t k = 0; k < rotation(); ++k) {
    run(k);
    const Floats h = copy_out(turns_[1 - k % 2]);
    y.insert(y.end(), h.begin(), h.end());
  }
  write_floats(prefix + ".y.bin", swap_axes(y, rotation(), job_.batch));
  return {"y"};
}

Words Network::write_sequences(const std::string& prefix) {
  run(0);
  Words names;
  const auto write = [&](const std::string& name, const Floats& values) {
    names.push_back(name);
    write_floats(prefix + "." + name + ".bin", values);
  };
  const auto sequences = [&](const dnnl::memory& memory) {
    return swap_axes(copy_out(memory), job_.steps, job_.batch);
  };
  const bool lstm = job_.cell == "lstm";
  write("y", sequences(layers_.back()->at(DNNL_ARG_DST_LAYER)));
  if (!job_.ragged) {  // padded steps are run like any other, so the state goes on
    write("h", states(DNNL_ARG_DST_ITER));
    if (lstm) write("c", states(DNNL_ARG_DST_ITER_C));
  }
  if (!job_.train()) return names;
  write("dx", sequences(layers_.front()->at(DNNL_ARG_DIFF_SRC_LAYER)));
  write("dh0", states(DNNL_ARG_DIFF_SRC_ITER));
  if (lstm) write("dc0", states(DNNL_ARG_DIFF_SRC_ITER_C));
  for (size_t l = 0; l < layers_.size(); ++l) {
    for (const auto& name : write_gradients(job_, l, layers_[l]->gradients(), prefix))
      names.push_back(name);
  }
  return names;
}

}  // namespace bench
