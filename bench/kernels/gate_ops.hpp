// Vector operations of the gate math per unit, counted by hand in math.hpp and cells.hpp: each
// could have been a multiply-add instead. A division counts as one, loads and stores as none. To be
// counted anew when the math changes; a few off matter little.
#pragma once

#include "cell_layout.hpp"

namespace gru::bench {

template <class R>
struct FunctionOps;
template <>
struct FunctionOps<float> {
  static constexpr int kSigmoid = 25, kTanh = 37;
};
template <>
struct FunctionOps<double> {
  static constexpr int kSigmoid = 30, kTanh = 46;
};

template <class R>
constexpr int forward_ops(Cell cell) {
  constexpr int s = FunctionOps<R>::kSigmoid, t = FunctionOps<R>::kTanh;
  constexpr int kOps[kFusedCells] = {2 * s + t + 4, 2 * s + t + 4, 3 * s + 2 * t + 3, t, 2};
  return kOps[cell];
}

// With one for adding dy.
template <class R>
constexpr int backward_ops(Cell cell) {
  constexpr int kOps[kFusedCells] = {17, 18, FunctionOps<R>::kTanh + 24, 4, 3};
  return kOps[cell];
}

}  // namespace gru::bench
