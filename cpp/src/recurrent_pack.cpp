// Packs a recurrent layer's parameters into panels.
#include "recurrent.hpp"

#include <algorithm>

namespace gru {

Cell cell_of(const LayerSpec& spec) {
  if (spec.kind == Kind::lstm) return kLstm;
  if (spec.kind == Kind::rnn) return spec.nonlinearity == "relu" ? kRnnRelu : kRnnTanh;
  if (spec.layer_norm) return spec.reset_after ? kGruAfterNorm : kGruBeforeNorm;
  return spec.reset_after ? kGruAfter : kGruBefore;
}

namespace {

// The biases: folded into the start of the input chain, but for gates whose hidden product keeps a
// chain of its own.
template <class R>
void pack_bias(const Geometry& g, const DirectionParameters<const R>& p, Panels<R>& to) {
  to.init = Buffer<R>::zeros(g.layout.gates * g.field);
  to.bias_h = Buffer<R>::zeros(g.field);
  if (!p.bias_ih || g.layout.norm) return;
  for (int64_t gate = 0; gate < g.layout.gates; ++gate) {
    const bool own_chain = gate >= g.layout.gates - g.layout.hidden_chains;
    for (int64_t unit = 0; unit < g.hidden; ++unit) {
      const int64_t block = unit / g.lanes, lane = unit % g.lanes, from = gate * g.hidden + unit;
      R& folded = to.init[(block * g.layout.gates + gate) * g.lanes + lane];
      folded = own_chain ? p.bias_ih[from] : p.bias_ih[from] + p.bias_hh[from];
      if (own_chain) to.bias_h[unit] = p.bias_hh[from];
    }
  }
}

// Gains and biases of a normalised cell, padded with zeros.
template <class R>
void pack_norm(const Geometry& g, const DirectionParameters<const R>& p, Panels<R>& to) {
  if (!g.layout.norm) return;
  const R* const from[] = {p.norm_ih, p.norm_hh, p.bias_ih, p.bias_hh};
  to.norm = Buffer<R>::zeros(4 * g.layout.gates * g.field);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t gate = 0; from[i] && gate < g.layout.gates; ++gate) {
      std::copy_n(from[i] + gate * g.hidden, g.hidden,
                  to.norm.data() + (i * g.layout.gates + gate) * g.field);
    }
  }
}

template <class R>
void pack_forward(const Geometry& g, int64_t features, const DirectionParameters<const R>& p,
                  const Kernels<R>& kernels, Panels<R>& to) {
  const int gates = g.layout.gates, hidden = static_cast<int>(g.hidden);
  const int depth = static_cast<int>(features);
  to.w = Buffer<R>(gates * g.field * features);
  for (int gate = 0; gate < gates; ++gate) {
    kernels.pack({p.weight_ih + gate * g.hidden * features, 0, features, 1, 1, hidden, depth,
                  to.w.data() + gate * features * g.lanes, gates * features * g.lanes});
  }
  for (int phase = 0; phase < g.layout.phases; ++phase) {
    const Window window = g.layout.phase[phase];
    to.u[phase] = Buffer<R>(window.count * g.field * g.hidden);
    kernels.pack({p.weight_hh + window.first * g.hidden * g.hidden, g.hidden * g.hidden, g.hidden,
                  1, window.count, hidden, hidden, to.u[phase].data(),
                  window.count * g.hidden * g.lanes});
  }
}

// One matrix (G * H, columns), transposed: units are its columns, k runs over the units of the
// listed gates one after the other.
template <class R>
Buffer<R> transposed(const Geometry& g, const R* w, int64_t columns, const int* gates, int count,
                     const Kernels<R>& kernels) {
  const int64_t depth = g.hidden;
  Buffer<R> panels(count * depth * round_up(columns, g.lanes));
  for (int i = 0; i < count; ++i) {
    kernels.pack({w + gates[i] * depth * columns, 0, 1, columns, 1, static_cast<int>(columns),
                  static_cast<int>(depth), panels.data() + i * depth * g.lanes,
                  count * depth * g.lanes});
  }
  return panels;
}

}  // namespace

template <class R>
std::shared_ptr<const Packed<R>> pack_recurrent(const Layer<R>& from, const R* block,
                                                const Kernels<R>& kernels, bool backward) {
  static constexpr int kInOrder[] = {0, 1, 2, 3};
  auto packed = std::make_shared<Packed<R>>();
  packed->kernels = &kernels;
  packed->backward = backward;
  const LayerSpec& spec = from.spec();
  const Geometry& g = packed->geometry.emplace(spec, kernels.lanes);
  for (int64_t layer = 0; layer < g.layers; ++layer) {
    for (int64_t direction = 0; direction < g.directions; ++direction) {
      const auto p =
          direction_parameters<const R>(spec, from.parameters(), block, layer, direction);
      Panels<R> panels;
      pack_bias(g, p, panels);
      pack_norm(g, p, panels);
      pack_forward(g, g.features(layer), p, kernels, panels);
      if (backward) {
        panels.w_t =
            transposed(g, p.weight_ih, g.features(layer), kInOrder, g.layout.gates, kernels);
        for (int phase = 0; phase < g.layout.phases; ++phase) {
          panels.u_t[phase] = transposed(g, p.weight_hh, g.hidden, g.layout.u_gate[phase].gate,
                                         g.layout.u_grads[phase].count, kernels);
        }
      }
      packed->panels.push_back(std::move(panels));
    }
  }
  return packed;
}

template std::shared_ptr<const Packed<float>> pack_recurrent(const Layer<float>&, const float*,
                                                             const Kernels<float>&, bool);
template std::shared_ptr<const Packed<double>> pack_recurrent(const Layer<double>&, const double*,
                                                              const Kernels<double>&, bool);

}  // namespace gru
