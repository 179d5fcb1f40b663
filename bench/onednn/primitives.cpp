#include "primitives.hpp"

#include <tuple>

namespace bench {
namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;

// oneDNN 3 merged what oneDNN 2 calls operation descriptors into primitive descriptors.
#if DNNL_VERSION_MAJOR >= 3
template <class P, class... Args>
auto describe(const dnnl::engine& engine, const Args&... args) {
  return typename P::primitive_desc(engine, args...);
}
template <class P, class Hint, class... Args>
auto describe_backward(const dnnl::engine& engine, const Hint& hint, const Args&... args) {
  return typename P::primitive_desc(engine, args..., hint);
}
#else
template <class P, class... Args>
auto describe(const dnnl::engine& engine, const Args&... args) {
  return typename P::primitive_desc(typename P::desc(args...), engine);
}
template <class P, class Hint, class... Args>
auto describe_backward(const dnnl::engine& engine, const Hint& hint, const Args&... args) {
  return typename P::primitive_desc(typename P::desc(args...), engine, hint);
}
#endif

// head: what stands between the kind of propagation and the arrays (direction, activation);
// arrays: inputs, states, weights, bias, outputs, states. Gradients are described as the arrays
// are.
template <class Forward, class Backward, class Head, class Arrays>
Primitives make(const dnnl::engine& engine, bool train, const Head& head, const Arrays& arrays) {
  const auto kind = train ? prop_kind::forward_training : prop_kind::forward_inference;
  const auto forward =
      std::apply([&](const auto&... args) { return describe<Forward>(engine, args...); },
                 std::tuple_cat(std::tuple(kind), head, arrays));
  if (!train) return {forward, {}};
  const auto backward = std::apply(
      [&](const auto&... args) { return describe_backward<Backward>(engine, forward, args...); },
      std::tuple_cat(std::tuple(prop_kind::backward), head, arrays, arrays));
  return {forward, backward};
}

memory::desc describe_array(memory::dims dims, Tag tag) {
  return {std::move(dims), memory::data_type::f32, tag};
}

}  // namespace

Primitives make_primitives(const Job& job, int64_t layer, const dnnl::engine& engine) {
  const int64_t D = job.directions, H = job.hidden, G = job.gates(), I = job.width(layer);
  const auto x = describe_array({job.steps, job.batch, I}, Tag::tnc);
  const auto y = describe_array({job.steps, job.batch, D * H}, Tag::tnc);
  const auto h = describe_array({1, D, job.batch, H}, Tag::ldnc);
  const auto w = describe_array({1, D, I, G, H}, Tag::any);  // any: oneDNN packs as it likes
  const auto u = describe_array({1, D, H, G, H}, Tag::any);
  const auto b = describe_array({1, D, job.biases(), H}, Tag::ldgo);
  const auto direction = D == 2 ? dnnl::rnn_direction::bidirectional_concat
                                : dnnl::rnn_direction::unidirectional_left2right;
  const auto arrays = std::tuple(x, h, w, u, b, y, h);
  if (job.cell == "lstm") {
    return make<dnnl::lstm_forward, dnnl::lstm_backward>(engine, job.train(), std::tuple(direction),
                                                         std::tuple(x, h, h, w, u, b, y, h, h));
  }
  if (job.cell == "rnn") {
    return make<dnnl::vanilla_rnn_forward, dnnl::vanilla_rnn_backward>(
        engine, job.train(), std::tuple(dnnl::algorithm::eltwise_tanh, direction), arrays);
  }
  if (job.lbr()) {
    return make<dnnl::lbr_gru_forward, dnnl::lbr_gru_backward>(engine, job.train(),
                                                               std::tuple(direction), arrays);
  }
  return make<dnnl::gru_forward, dnnl::gru_backward>(engine, job.train(), std::tuple(direction),
                                                     arrays);
}

}  // namespace bench
