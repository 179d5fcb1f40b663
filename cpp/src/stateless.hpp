// Layers without a state. Each works on rows of features: one a sequence, or one a valid step; rows
// of steps that are not valid get a zero output and a zero gradient.
#pragma once

#include "call.hpp"

namespace gru {

struct ValidRows {
  int64_t count;
  const int64_t* at;  // null: all of them, dense
};

ValidRows valid_rows(const Shape& in, const Schedule* schedule);

template <class R>
std::shared_ptr<const Packed<R>> pack_linear(const LayerSpec& spec, const R* parameters,
                                             const Kernels<R>& kernels, bool backward);
// out[row] = init + w a[row] for the valid rows, spread over threads; out is dense, `columns` wide.
template <class R>
void multiply_rows(const Kernels<R>& kernels, const ValidRows& rows, Rows<const R> a, int64_t depth,
                   const Buffer<R>& panels, const R* init, R* out, int64_t columns, int threads);
template <class R>
void linear_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                    const ForwardCall<R>& call);
template <class R>
void linear_backward(const LayerSpec& spec, const BackwardCall<R>& call);

// Throws std::invalid_argument naming the first of (sequences, steps) tokens that an embedding does
// not have.
void check_tokens(const LayerSpec& spec, const int64_t* tokens, int64_t sequences, int64_t steps);
// y = row of the table `parameters` that the token names.
template <class R>
void embedding_forward(const LayerSpec& spec, const R* parameters, const ForwardCall<R>& call);
template <class R>
void embedding_backward(const LayerSpec& spec, const BackwardCall<R>& call);

template <class R>
void activation_forward(const LayerSpec& spec, const ForwardCall<R>& call);
template <class R>
void activation_backward(const LayerSpec& spec, const BackwardCall<R>& call);
// One activation over `count` rows of `width` values; x and y may be the same.
template <class R>
void activate(const Kernels<R>& kernels, const std::string& name, const R* x, R* y, int64_t count,
              int64_t width);

// One row of an affine layer; x and y may be the same.
template <class R>
void affine(const R* parameters, const R* x, R* y, int64_t width);
template <class R>
void affine_forward(const R* parameters, const ForwardCall<R>& call);
template <class R>
void affine_backward(const BackwardCall<R>& call);

template <class R>
void dropout_forward(const LayerSpec& spec, const ForwardCall<R>& call);
template <class R>
void dropout_backward(const LayerSpec& spec, const BackwardCall<R>& call);

// The rules of pooling, shared by whole sequences and streams: a mean is the sum in time order over
// the count; a maximum is the first of equals, and NaN wins.
template <class R>
bool beats(R value, R best) {
  return value > best || (value != value && best == best);
}
template <class R>
R mean_of(R sum, int64_t count) {
  return sum / static_cast<R>(count);
}
// (batch, steps, features) -> (batch, features) over the valid steps; zero where there are none.
template <class R>
void pool_forward(const LayerSpec& spec, const ForwardCall<R>& call);
template <class R>
void pool_backward(const LayerSpec& spec, const BackwardCall<R>& call);

// (batch, steps, features) with the valid steps of each sequence the other way round.
template <class R>
void reverse_forward(const ForwardCall<R>& call);
template <class R>
void reverse_backward(const BackwardCall<R>& call);

// The steps that `schedule` (null: all) holds and whose features, or token, are not all the mask
// value.
template <class R>
std::shared_ptr<const Schedule> masked_schedule(const LayerSpec& spec, const Shape& in, const R* x,
                                                const int64_t* tokens, const Schedule* schedule);
// Copies the steps that count and zeroes the others.
template <class R>
void masking_forward(const LayerSpec& spec, const ForwardCall<R>& call);
template <class R>
void masking_backward(const BackwardCall<R>& call);

}  // namespace gru
