// Reverse and masking: layers that move or choose steps and leave their numbers alone.
#include <algorithm>

#include "stateless.hpp"

namespace gru {
namespace {

// The gradient goes the way of the numbers: step i and step n - 1 - i change places.
template <class R>
void flip(const Shape& in, const Schedule& schedule, const R* from, R* to) {
  if (schedule.ragged()) std::fill_n(to, in.size(), R(0));
  for (int64_t row = 0; row < schedule.rows; ++row) {
    const auto i = static_cast<std::size_t>(row);
    std::copy_n(from + schedule.reverse_position[i] * in.features, in.features,
                to + schedule.position[i] * in.features);
  }
}

template <class R>
void copy_valid(const Shape& in, const Schedule& schedule, const R* from, R* to) {
  std::fill_n(to, in.size(), R(0));
  for (const int64_t position : schedule.position) {
    std::copy_n(from + position * in.features, in.features, to + position * in.features);
  }
}

template <class R>
bool counts(const LayerSpec& spec, const Shape& in, const R* x, const int64_t* tokens,
            int64_t position) {
  if (tokens) return static_cast<double>(tokens[position]) != spec.mask_value;
  const R* row = x + position * in.features;
  const R value = static_cast<R>(spec.mask_value);
  return std::any_of(row, row + in.features, [value](R feature) { return feature != value; });
}

}  // namespace

template <class R>
void reverse_forward(const ForwardCall<R>& call) {
  flip(call.in, *call.schedule, call.x, call.y);
}

template <class R>
void reverse_backward(const BackwardCall<R>& call) {
  if (call.dx) flip(call.tape->in, *call.tape->schedule, call.dy, call.dx);
}

template <class R>
std::shared_ptr<const Schedule> masked_schedule(const LayerSpec& spec, const Shape& in, const R* x,
                                                const int64_t* tokens, const Schedule* schedule) {
  std::vector<uint8_t> mask(static_cast<std::size_t>(in.rows()), schedule ? 0 : 1);
  if (schedule) {
    for (const int64_t position : schedule->position) mask[static_cast<std::size_t>(position)] = 1;
  }
  for (int64_t position = 0; position < in.rows(); ++position) {
    uint8_t& valid = mask[static_cast<std::size_t>(position)];
    valid = valid && counts(spec, in, x, tokens, position);
  }
  return schedule_of(in.batch, in.steps, nullptr, mask.data());
}

template <class R>
void masking_forward(const LayerSpec& spec, const ForwardCall<R>& call) {
  const auto schedule = masked_schedule<R>(spec, call.in, call.x, nullptr, call.schedule.get());
  copy_valid(call.in, *schedule, call.x, call.y);
  if (call.tape) call.tape->schedule = schedule;
}

template <class R>
void masking_backward(const BackwardCall<R>& call) {
  if (call.dx) copy_valid(call.tape->in, *call.tape->schedule, call.dy, call.dx);
}

#define GRU_INSTANTIATE(R)                                                        \
  template void reverse_forward(const ForwardCall<R>&);                           \
  template void reverse_backward(const BackwardCall<R>&);                         \
  template std::shared_ptr<const Schedule> masked_schedule(                       \
      const LayerSpec&, const Shape&, const R*, const int64_t*, const Schedule*); \
  template void masking_forward(const LayerSpec&, const ForwardCall<R>&);         \
  template void masking_backward(const BackwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
