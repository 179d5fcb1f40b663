// Layer normalisation inside a GRU (Ba, Kiros and Hinton 2016): of each gate's H numbers, the input
// side W x and the hidden side U h apart,
//   norm(a) = gain * (a - mean(a)) / sqrt(var(a) + epsilon) + bias.
// What is normalised is kept raw, and its mean and variance are made again in backward.
#pragma once

#include "cells.hpp"

namespace gru {
namespace GRU_ISA {

template <class R>
inline constexpr R kNormEpsilon = R(1e-5);

// A sum over units in one order, whatever the lanes: sixteen chains, then a tree.
inline constexpr int kNormChains = 16;
template <class R>
GRU_INLINE R sum_of(const R (&chain)[kNormChains]) {
  R s[kNormChains];
  for (int i = 0; i < kNormChains; ++i) s[i] = chain[i];
  for (int width = kNormChains / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) s[i] += s[i + width];
  }
  return s[0];
}

// The mean of value(i) for i in [0, hidden).
template <class R, class Value>
GRU_INLINE R mean_over(int hidden, const Value& value) {
  R chain[kNormChains] = {};
  int i = 0;
  for (; i + kNormChains <= hidden; i += kNormChains) {
    for (int j = 0; j < kNormChains; ++j) chain[j] += value(i + j);
  }
  for (int j = 0; i + j < hidden; ++j) chain[j] += value(i + j);
  return sum_of(chain) / R(hidden);
}

GRU_INLINE float root(float x) { return __builtin_sqrtf(x); }
GRU_INLINE double root(double x) { return __builtin_sqrt(x); }

template <class R>
struct Moments {
  R mean, scale;  // scale = 1 / sqrt(var + epsilon)
};

template <class R>
GRU_INLINE Moments<R> moments_of(const R* raw, int hidden) {
  const R mean = mean_over<R>(hidden, [&](int i) GRU_LAMBDA { return raw[i]; });
  const R variance = mean_over<R>(hidden, [&](int i) GRU_LAMBDA {
    const R d = raw[i] - mean;
    return d * d;
  });
  return {mean, R(1) / root(variance + kNormEpsilon<R>)};
}

// Where the gains and biases of a side (0 input, 1 hidden) of a gate are in `norm`.
template <class R>
GRU_INLINE const R* gain_of(const R* norm, int side, int gate, int64_t field) {
  return norm + (side * 3 + gate) * field;
}
template <class R>
GRU_INLINE const R* bias_of(const R* norm, int side, int gate, int64_t field) {
  return gain_of(norm, 2 + side, gate, field);
}

// Keeps what a tile's epilogue would have used: the hidden side, and once the input side.
template <class Cell, class R, int Phase>
GRU_INLINE void keep_raw(const ForwardUnit<R>& u, const Vec<R>* chains) {
  constexpr Window gates = kCellLayout[Cell::kCell].phase[Phase];
  for (int i = 0; i < gates.count; ++i) {
    store(u.raw + (3 + gates.first + i) * u.field, chains[i]);
  }
  if (Phase > 0) return;
  for (int gate = 0; gate < 3; ++gate) {
    store(u.raw + gate * u.field, load(u.pre + gate * kLanes<R>));
  }
}

// A row whose raw sides are there: normalises them and does the plain cell's gate math.
template <class Cell, class R, int Phase>
struct NormedRow {
  static constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  static constexpr Window kGates = kLayout.phase[Phase];

  const ForwardArgs<R>& args;
  Moments<R> moments[2][3];

  // first: the unit of block `block0`.
  GRU_INLINE NormedRow(const ForwardUnit<R>& first, const ForwardArgs<R>& args_, int64_t block0)
      : args(args_) {
    const R* raw = first.raw - block0 * kLanes<R>;
    for (int side = 0; side < 2; ++side) {
      for (int i = 0; i < kGates.count; ++i) {
        const int gate = kGates.first + i;
        moments[side][gate] = moments_of(raw + (side * 3 + gate) * first.field, args.hidden);
      }
    }
  }

  GRU_INLINE Vec<R> normed(const ForwardUnit<R>& u, int side, int gate, int64_t block) const {
    const Moments<R>& m = moments[side][gate];
    const Vec<R> a = load(u.raw + (side * 3 + gate) * u.field);
    const Vec<R> hat = mul(sub(a, set1<R>(m.mean)), set1<R>(m.scale));
    const int64_t at = block * kLanes<R>;
    return fma(hat, load(gain_of(args.norm, side, gate, u.field) + at),
               load(bias_of(args.norm, side, gate, u.field) + at));
  }

  GRU_INLINE void finish(ForwardUnit<R> u, int64_t block) const {
    constexpr int kAlone = kLayout.gates - kLayout.hidden_chains;  // from here on sides stay apart
    alignas(64) R pre[3 * kLanes<R>];
    Vec<R> acc[3];
    for (int i = 0; i < kGates.count; ++i) {
      const int gate = kGates.first + i;
      const Vec<R> x = normed(u, 0, gate, block), h = normed(u, 1, gate, block);
      store(pre + gate * kLanes<R>, x);
      acc[i] = gate < kAlone ? add(x, h) : h;
    }
    u.pre = pre;
    Cell::template gates<Phase>(u, acc);
    Cell::template finish<Phase>(u, acc);
  }
};

// One side of one gate of a row: from the gradient of what the normalisation gave, dy, those of
// what it was given and of the gain. With hat = (raw - mean) * scale and g = dy * gain,
//   draw = scale * (g - mean(g) - hat * mean(g * hat)),   dgain = dy * hat.
template <class R>
GRU_INLINE void norm_backward_side(const R* raw, const R* gain, const R* dy, int hidden, int unit0,
                                   int unit1, R* draw, R* dgain) {
  const Moments<R> m = moments_of(raw, hidden);
  const auto hat = [&](int i) GRU_LAMBDA { return (raw[i] - m.mean) * m.scale; };
  const auto g = [&](int i) GRU_LAMBDA { return dy[i] * gain[i]; };
  const R mean_g = mean_over<R>(hidden, g);
  const R mean_gh = mean_over<R>(hidden, [&](int i) GRU_LAMBDA { return g(i) * hat(i); });
  for (int i = unit0; i < unit1; ++i) {
    draw[i] = m.scale * (g(i) - mean_g - hat(i) * mean_gh);
    dgain[i] = dy[i] * hat(i);
  }
}

// The gates of a phase, both sides; one thread's share of the units. saved, grads: the row's.
template <class Cell, class R, int Phase>
GRU_INLINE void norm_backward(const BackwardArgs<R>& args, const R* saved, R* grads) {
  constexpr CellLayout kLayout = kCellLayout[Cell::kCell];
  constexpr Window gates = kLayout.phase[Phase];
  constexpr int L = kLanes<R>;
  const int64_t field = (args.hidden + L - 1) / L * L;
  const int unit0 = args.share.begin * L, end = args.share.end * L;
  const int unit1 = end < args.hidden ? end : args.hidden;
  for (int at = 0; at < 6; ++at) {
    const int side = at / 3, gate = at % 3;
    if (gate < gates.first || gate >= gates.first + gates.count) continue;
    const int from = side == 0 ? kLayout.bias_x[gate] : kLayout.bias_h[gate];
    R* draw = grads + (kLayout.raw_grads + at) * field;
    R* dgain = grads + (kLayout.gain + at) * field;
    norm_backward_side(saved + (kLayout.raw + at) * field, gain_of(args.norm, side, gate, field),
                       grads + from * field, args.hidden, unit0, unit1, draw, dgain);
    for (int i = unit1; i < end; ++i) draw[i] = dgain[i] = R(0);  // what pads the last vector
  }
}

// A cell with layer normalisation around the plain one's gate math.
template <class R, template <class> class Plain, gru::Cell kKind>
struct Normed : Plain<R> {
  static constexpr gru::Cell kCell = kKind;

  // The products start from nothing: biases come after the normalisation.
  template <int Phase>
  static GRU_INLINE void start(const ForwardUnit<R>&, Vec<R>* acc) {
    for (int i = 0; i < kCellLayout[kKind].phase[Phase].count; ++i) acc[i] = set1<R>(R(0));
  }
};

template <class R>
using GruAfterNorm = Normed<R, GruAfter, kGruAfterNorm>;
template <class R>
using GruBeforeNorm = Normed<R, GruBefore, kGruBeforeNorm>;

}  // namespace GRU_ISA
}  // namespace gru
