// Recurrent layers: stacking, directions, lengths, workspaces and the tape; knows no gate and no
// lane.
#pragma once

#include "call.hpp"

namespace gru {

Cell cell_of(const LayerSpec& spec);

template <class R>
std::shared_ptr<const Packed<R>> pack_recurrent(const LayerSpec& spec, const R* parameters,
                                                const Kernels<R>& kernels, bool backward);

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const ForwardCall<R>& call);

template <class R>
void recurrent_backward(const LayerSpec& spec, const BackwardCall<R>& call);

}  // namespace gru
