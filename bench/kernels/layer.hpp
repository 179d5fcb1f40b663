// The weights of a layer of one direction, as the engine packs them.
#pragma once

#include <cmath>

#include "buffer.hpp"
#include "kernels.hpp"
#include "shapes.hpp"

namespace gru::bench {

inline const char* name_of(Cell cell) {
  constexpr const char* kNames[kFusedCells] = {"gru_after", "gru_before", "lstm", "rnn_tanh",
                                               "rnn_relu"};
  return kNames[cell];
}

// Hidden sizes are whole vectors at every level, so there is no padding and any numbers are packed
// weights. They are small enough that states and gradients stay bounded, however often a case is
// repeated.
template <class R>
struct Layer {
  Cell cell;
  const CellLayout& layout;
  int64_t hidden;          // inputs, too
  Buffer<R> w, w_t, init;  // input side
  Buffer<R> u[2], u_t[2];  // recurrent side, by phase
  Buffer<R> bias_h;

  Layer(Cell cell, int64_t hidden) : cell(cell), layout(kCellLayout[cell]), hidden(hidden) {
    const double scale = 1 / std::sqrt(static_cast<double>(hidden));
    const int64_t square = hidden * hidden;
    w = random_values<R>(layout.gates * square, scale, 1);
    w_t = random_values<R>(layout.w_grads.count * square, scale, 2);
    init = random_values<R>(layout.gates * hidden, scale, 3);
    for (int phase = 0; phase < layout.phases; ++phase) {
      u[phase] = random_values<R>(layout.phase[phase].count * square, scale, 4);
      u_t[phase] = random_values<R>(layout.u_grads[phase].count * square, scale, 5);
    }
    bias_h = random_values<R>(hidden, scale, 6);
  }

  const char* name() const { return name_of(cell); }
  // Bytes of `count` fields, a number per unit each.
  double fields(double count) const {
    return count * static_cast<double>(hidden) * static_cast<double>(sizeof(R));
  }
};

}  // namespace gru::bench
