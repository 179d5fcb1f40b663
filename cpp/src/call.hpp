// What a layer keeps for backward, and how its weights are packed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "buffer.hpp"
#include "geometry.hpp"
#include "gru/layer.hpp"
#include "kernels.hpp"
#include "recycled.hpp"
#include "schedule.hpp"
#include "segments.hpp"

namespace gru {

// Weights of one direction of one recurrent layer, or of a linear layer (w, init, w_t).
template <class R>
struct Panels {
  Buffer<R> w;            // input side: [vector][k][L], vectors in the order block, gate
  Buffer<R> init;         // folded bias in the same order of columns
  Buffer<R> u[2];         // recurrent side, one per phase: [block][k][gate][L]
  Buffer<R> bias_h;       // [Hp] bias of a hidden chain of its own
  Buffer<R> norm;         // normalised cells: as the kernels' argument
  Buffer<R> w_t, u_t[2];  // transposed, for backward; empty when packed for inference
};

// All of a layer's weights as one instruction set's kernels read them.
template <class R>
struct Packed {
  const Kernels<R>* kernels = nullptr;
  bool backward = false;
  std::optional<Geometry> geometry;  // recurrent
  std::vector<Panels<R>> panels;     // layer by layer, then direction
};

// A layer's parameters at one time: replaced as a whole, never changed.
template <class R>
struct Weights {
  std::shared_ptr<R> block;
  bool frozen = false;
  mutable std::shared_ptr<const Packed<R>> packed;  // while frozen; read and written atomically
};

// The weights in the active instruction set's layout, packed once while frozen; null for a layer
// that has none to pack.
template <class R>
std::shared_ptr<const Packed<R>> packed_weights(const Layer<R>& layer, const Weights<R>& weights,
                                                bool backward);

// What a forward pass keeps for backward. Each kind of layer uses the members it needs.
template <class R>
struct LayerTape {
  Shape in;
  std::shared_ptr<const Schedule> schedule;
  std::shared_ptr<const Packed<R>> packed;  // the weights it was made with
  std::shared_ptr<Recycler> memory;         // the layer's
  uint64_t seed = 0;                        // dropout
  // recurrent: [layer] rows, padded; linear: one; activation: output
  std::vector<Recycled<R>> inputs;
  std::vector<Recycled<R>> saved;     // recurrent: [layer][direction] rows of saved fields
  std::vector<Recycled<R>> zones;     // zoneout's masks beside them, which backward reads again
  std::vector<Segments<R>> segments;  // or, within a limit, states: [layer][direction]
  const R* x = nullptr;               // the caller's, where inputs[0] would be a copy of it
  std::vector<Recycled<R>> update;    // [layer][direction] rows of update gates, where asked for
  std::vector<int64_t> indices;       // embedding: tokens; max pool: winning step

  int64_t bytes() const {
    int64_t count = 0;
    for (const Recycled<R>& b : inputs) count += b.size();
    for (const Recycled<R>& b : saved) count += b.size();
    for (const Recycled<R>& b : zones) count += b.size();
    for (const Segments<R>& s : segments) count += s.states.size();
    for (const Recycled<R>& b : update) count += b.size();
    return count * static_cast<int64_t>(sizeof(R)) +
           static_cast<int64_t>(indices.size() * sizeof(int64_t));
  }
};

}  // namespace gru
