// Recurrent layers: stacking, directions, lengths, workspaces and the tape; knows no gate and no
// lane.
#pragma once

#include "call.hpp"

namespace gru {

template <class R>
std::shared_ptr<const Packed<R>> pack_recurrent(const Layer<R>& layer, const R* block,
                                                const Kernels<R>& kernels, bool backward);

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const Plan& plan, const ForwardCall<R>& call);

template <class R>
void recurrent_backward(const Layer<R>& layer, const Plan& plan, const BackwardCall<R>& call);

}  // namespace gru
