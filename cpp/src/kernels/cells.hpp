// The cells: gate math of L hidden units of one row, and its derivative, side by side.
//
// A cell knows its equations and, from cell_layout.hpp, in which field what lies. It knows no loop,
// no matrix, no batch and no time.
//
// forward, phase p:   start<p> fills the accumulators of the phase's gates; the sweep adds the
//                     recurrent product to them; gates<p> puts into their place what is a function
//                     of a gate alone; finish<p> does the rest. Apart, because a processor that
//                     looks a few hundred instructions ahead then finds the functions of several
//                     units to work on, and not one that waits for another.
// backward, phase p:  backward<p> turns dh (the gradient of the state after the step) into gate
//                     gradients and into the part of the previous state's gradient that does not
//                     go through the recurrent weights; the sweep then adds the part that does.
#pragma once

#include "../kernels.hpp"
#include "math.hpp"

namespace gru {
namespace GRU_ISA {

// One block of L units of one row. Fields of a row lie Hp apart.
template <class R>
struct ForwardUnit {
  const R* pre;      // [gate][L] input side, bias folded in
  const R* bias_h;   // bias of a hidden chain of its own
  const R* h;        // state before the step
  const R* operand;  // what the recurrent product is taken of: h, with recurrent dropout drop * h
  R* h_next;
  R* c;            // LSTM: in place
  R* scratch;      // two fields, from phase 0 to phase 1
  R* saved;        // null: inference
  R* raw;          // normalised cells: both sides of each gate before that
  R* update;       // null: not wanted
  const R* enter;  // zoneout in training; null: off
  bool zoned;      // zoneout at all
  R enter_mean;
  int64_t field;
  R z_sign;
};

template <class R>
struct BackwardUnit {
  const R* saved;
  const R* drop;   // recurrent dropout; null: off
  const R* enter;  // zoneout; null: off
  R* flow;         // null: not wanted
  R* dh;  // in: gradient of the state after the step; out: the direct part of the one before
  R* dc;
  R* scratch;  // gradient of what phase 1's product was taken of
  R* grads;
  int64_t field;
  R z_sign;
};

// Derivatives of s = sigmoid(a) and t = tanh(a), from their values.
template <class V>
GRU_INLINE V sigmoid_slope(V s) {
  return sub(s, mul(s, s));
}

template <class R>
GRU_INLINE Vec<R> tanh_slope(Vec<R> t) {
  return sub(set1<R>(R(1)), mul(t, t));
}

// Zoneout (Krueger et al. 2017): how much of a new state enters. In training 0 or 1, drawn for each
// unit and step; in inference the mean of that.
template <class R>
GRU_INLINE Vec<R> entering(const ForwardUnit<R>& u, int zone) {
  return u.enter ? load(u.enter + zone * u.field) : set1<R>(u.enter_mean);
}

// h + enter * (n - h); without zoneout n itself.
template <class R>
GRU_INLINE Vec<R> zoned(const ForwardUnit<R>& u, int zone, Vec<R> n, Vec<R> h) {
  return u.zoned ? fma(entering(u, zone), sub(n, h), h) : n;
}

// The gradient d of a state: what its new value gets.
template <class R>
GRU_INLINE Vec<R> entered(const BackwardUnit<R>& u, int zone, Vec<R> d) {
  return u.enter ? mul(d, load(u.enter + zone * u.field)) : d;
}

// And what it leaves to the old one.
template <class R>
GRU_INLINE Vec<R> held(const BackwardUnit<R>& u, int zone, Vec<R> d) {
  return u.enter ? sub(d, entered(u, zone, d)) : set1<R>(R(0));
}

// Recurrent dropout of an operand.
template <class R>
GRU_INLINE Vec<R> dropped(const BackwardUnit<R>& u, Vec<R> h) {
  return u.drop ? mul(h, load(u.drop)) : h;
}

// Both forms of the GRU share their blend of old and new. In either update-gate convention it is
//   h' = h + w * (n - h),   w = sigmoid(z_sign * a_z),   z_sign = -1 "keep", +1 "new",
// which carries h exactly where w is 0.
// Zoneout multiplies w.
template <class R>
GRU_INLINE Vec<R> blend(const ForwardUnit<R>& u, Vec<R> w, Vec<R> n, Vec<R> h) {
  return fma(u.zoned ? mul(w, entering(u, 0)) : w, sub(n, h), h);
}

template <class R>
struct BlendGradient {
  Vec<R> a_z, a_n, h;
};

template <class R>
GRU_INLINE BlendGradient<R> blend_backward(const BackwardUnit<R>& u, Vec<R> w, Vec<R> n, Vec<R> h) {
  const Vec<R> dh = load(u.dh), d = entered(u, 0, dh);
  const Vec<R> through_new = mul(d, w);
  const Vec<R> dw = mul(d, sub(n, h));
  return {mul(mul(dw, sigmoid_slope(w)), set1<R>(u.z_sign)), mul(through_new, tanh_slope<R>(n)),
          sub(dh, through_new)};
}

// r and w, of the first two chains. The update gate is wanted in the layer's own convention, which
// is w only where that is "new".
template <class R>
GRU_INLINE void reset_and_update(const ForwardUnit<R>& u, Vec<R>* acc) {
  if (u.saved && u.update) store(u.update, sigmoid<R>(acc[1]));
  acc[0] = sigmoid<R>(acc[0]);
  acc[1] = sigmoid<R>(mul(acc[1], set1<R>(u.z_sign)));
}

// GRU, reset after the recurrent product (cuDNN, PyTorch, Keras):
//   r = sigmoid(a_r)   w = sigmoid(z_sign a_z)   hn = U_n h + b_hn   n = tanh(W_n x + b_in + r hn)
template <class R>
struct GruAfter : GruAfterFields {
  static constexpr Cell kCell = kGruAfter;

  template <int Phase>
  static GRU_INLINE void start(const ForwardUnit<R>& u, Vec<R>* acc) {
    acc[0] = load(u.pre);
    acc[1] = load(u.pre + kLanes<R>);
    acc[2] = load(u.bias_h);
  }

  template <int Phase>
  static GRU_INLINE void gates(const ForwardUnit<R>& u, Vec<R>* acc) {
    reset_and_update(u, acc);
  }

  template <int Phase>
  static GRU_INLINE void finish(const ForwardUnit<R>& u, const Vec<R>* acc) {
    const Vec<R> r = acc[0], w = acc[1], hn = acc[2];
    const Vec<R> n = tanh<R>(fma(r, hn, load(u.pre + 2 * kLanes<R>)));
    const Vec<R> h = load(u.h);
    store(u.h_next, blend<R>(u, w, n, h));
    if (!u.saved) return;
    store(u.saved + kR * u.field, r);
    store(u.saved + kW * u.field, w);
    store(u.saved + kN * u.field, n);
    store(u.saved + kHn * u.field, hn);
    store(u.saved + kH * u.field, h);
  }

  template <int Phase>
  static GRU_INLINE void backward(const BackwardUnit<R>& u) {
    const Vec<R> r = load(u.saved + kR * u.field), w = load(u.saved + kW * u.field);
    const Vec<R> n = load(u.saved + kN * u.field), hn = load(u.saved + kHn * u.field);
    const Vec<R> h = load(u.saved + kH * u.field);
    const BlendGradient<R> d = blend_backward<R>(u, w, n, h);
    store(u.grads + kDn * u.field, d.a_n);
    store(u.grads + kRDn * u.field, mul(d.a_n, r));
    store(u.grads + kDz * u.field, d.a_z);
    store(u.grads + kDr * u.field, mul(mul(d.a_n, hn), sigmoid_slope(r)));
    store(u.dh, d.h);
  }
};

// GRU, reset before the recurrent product (Cho 2014, Chung 2014, ONNX's default):
//   phase 0   r = sigmoid(a_r)   w = sigmoid(z_sign a_z)
//   phase 1   n = tanh(W_n x + b_n + U_n (r h))      needs r of every unit
template <class R>
struct GruBefore : GruBeforeFields {
  static constexpr Cell kCell = kGruBefore;
  enum Scratch { kScratchRh, kScratchW };  // the product of phase 1 is taken of field 0

  template <int Phase>
  static GRU_INLINE void start(const ForwardUnit<R>& u, Vec<R>* acc) {
    if constexpr (Phase == 0) {
      acc[0] = load(u.pre);
      acc[1] = load(u.pre + kLanes<R>);
    } else {
      acc[0] = load(u.pre + 2 * kLanes<R>);
    }
  }

  template <int Phase>
  static GRU_INLINE void gates(const ForwardUnit<R>& u, Vec<R>* acc) {
    if constexpr (Phase == 0) {
      reset_and_update(u, acc);
    } else {
      acc[0] = tanh<R>(acc[0]);
    }
  }

  template <int Phase>
  static GRU_INLINE void finish(const ForwardUnit<R>& u, const Vec<R>* acc) {
    const Vec<R> h = load(u.h);
    if constexpr (Phase == 0) {
      const Vec<R> r = acc[0], w = acc[1];
      store(u.scratch + kScratchRh * u.field, mul(r, load(u.operand)));
      store(u.scratch + kScratchW * u.field, w);
      if (!u.saved) return;
      store(u.saved + kR * u.field, r);
      store(u.saved + kW * u.field, w);
      store(u.saved + kH * u.field, h);
    } else {
      const Vec<R> n = acc[0];
      store(u.h_next, blend<R>(u, load(u.scratch + kScratchW * u.field), n, h));
      if (u.saved) store(u.saved + kN * u.field, n);
    }
  }

  template <int Phase>
  static GRU_INLINE void backward(const BackwardUnit<R>& u) {
    const Vec<R> h = load(u.saved + kH * u.field);
    if constexpr (Phase == 1) {
      const Vec<R> w = load(u.saved + kW * u.field), n = load(u.saved + kN * u.field);
      const BlendGradient<R> d = blend_backward<R>(u, w, n, h);
      store(u.grads + kDz * u.field, d.a_z);
      store(u.grads + kDn * u.field, d.a_n);
      store(u.dh, d.h);
    } else {
      const Vec<R> r = load(u.saved + kR * u.field);
      const Vec<R> d_rh = load(u.scratch), operand = dropped(u, h);
      store(u.grads + kRh * u.field, mul(r, operand));
      store(u.grads + kDr * u.field, mul(mul(d_rh, operand), sigmoid_slope(r)));
      store(u.dh, fma(dropped(u, d_rh), r, load(u.dh)));
    }
  }
};

// LSTM without peepholes:
//   i f o = sigmoid(a_i a_f a_o)   g = tanh(a_g)   c' = f c + i g   h' = o tanh(c')
// Zoneout holds back units of c and of h, each on its own; h' is that of the c' that would be.
template <class R>
struct Lstm : LstmFields {
  static constexpr Cell kCell = kLstm;
  enum Zone { kZoneH, kZoneC };

  static GRU_INLINE Vec<R> next_c(Vec<R> i, Vec<R> f, Vec<R> g, Vec<R> c) {
    return fma(f, c, mul(i, g));
  }

  template <int Phase>
  static GRU_INLINE void start(const ForwardUnit<R>& u, Vec<R>* acc) {
    for (int gate = 0; gate < 4; ++gate) acc[gate] = load(u.pre + gate * kLanes<R>);
  }

  template <int Phase>
  static GRU_INLINE void gates(const ForwardUnit<R>&, Vec<R>* acc) {
    acc[0] = sigmoid<R>(acc[0]);
    acc[1] = sigmoid<R>(acc[1]);
    acc[2] = tanh<R>(acc[2]);
    acc[3] = sigmoid<R>(acc[3]);
  }

  template <int Phase>
  static GRU_INLINE void finish(const ForwardUnit<R>& u, const Vec<R>* acc) {
    const Vec<R> i = acc[0], f = acc[1], g = acc[2], o = acc[3];
    const Vec<R> c = load(u.c), h = load(u.h);
    const Vec<R> c_next = next_c(i, f, g, c);
    if (u.saved) {
      store(u.saved + kI * u.field, i);
      store(u.saved + kF * u.field, f);
      store(u.saved + kG * u.field, g);
      store(u.saved + kO * u.field, o);
      store(u.saved + kC * u.field, c);
      store(u.saved + kH * u.field, h);
    }
    store(u.c, zoned(u, kZoneC, c_next, c));
    store(u.h_next, zoned(u, kZoneH, mul(o, tanh<R>(c_next)), h));
  }

  template <int Phase>
  static GRU_INLINE void backward(const BackwardUnit<R>& u) {
    const Vec<R> i = load(u.saved + kI * u.field), f = load(u.saved + kF * u.field);
    const Vec<R> g = load(u.saved + kG * u.field), o = load(u.saved + kO * u.field);
    const Vec<R> c = load(u.saved + kC * u.field);
    const Vec<R> tanh_c = tanh<R>(next_c(i, f, g, c));
    const Vec<R> dh_whole = load(u.dh), dc_whole = load(u.dc);
    const Vec<R> dh = entered(u, kZoneH, dh_whole);
    const Vec<R> dc = fma(mul(dh, o), tanh_slope<R>(tanh_c), entered(u, kZoneC, dc_whole));
    store(u.grads + kDi * u.field, mul(mul(dc, g), sigmoid_slope(i)));
    store(u.grads + kDf * u.field, mul(mul(dc, c), sigmoid_slope(f)));
    store(u.grads + kDg * u.field, mul(mul(dc, i), tanh_slope<R>(g)));
    store(u.grads + kDo * u.field, mul(mul(dh, tanh_c), sigmoid_slope(o)));
    const Vec<R> held_c = held(u, kZoneC, dc_whole);
    store(u.dc, u.enter ? fma(dc, f, held_c) : mul(dc, f));
    store(u.dh, held(u, kZoneH, dh_whole));
    if (!u.flow) return;
    store(u.flow + kFlowDc * u.field, add(dc, held_c));
    store(u.flow + kFlowCarriedC * u.field, load(u.dc));
  }
};

template <class R>
struct Tanh {
  static constexpr Cell kCell = kRnnTanh;
  static GRU_INLINE Vec<R> value(Vec<R> a) { return tanh<R>(a); }
  static GRU_INLINE Vec<R> times_slope(Vec<R> d, Vec<R> n) { return mul(d, tanh_slope<R>(n)); }
};

template <class R>
struct Relu {
  static constexpr Cell kCell = kRnnRelu;
  static GRU_INLINE Vec<R> value(Vec<R> a) { return relu<R>(a); }
  static GRU_INLINE Vec<R> times_slope(Vec<R> d, Vec<R> n) {
    const Vec<R> zero = set1<R>(R(0));
    return select<R>(less<R>(zero, n), d, zero);
  }
};

// Plain RNN: h' = n = f(a_n), f = tanh or relu.
template <class R, template <class> class F>
struct Rnn : RnnFields {
  static constexpr Cell kCell = F<R>::kCell;

  template <int Phase>
  static GRU_INLINE void start(const ForwardUnit<R>& u, Vec<R>* acc) {
    acc[0] = load(u.pre);
  }

  template <int Phase>
  static GRU_INLINE void gates(const ForwardUnit<R>&, Vec<R>* acc) {
    acc[0] = F<R>::value(acc[0]);
  }

  template <int Phase>
  static GRU_INLINE void finish(const ForwardUnit<R>& u, const Vec<R>* acc) {
    const Vec<R> n = acc[0], h = load(u.h);
    if (u.saved) {
      store(u.saved + kN * u.field, n);
      store(u.saved + kH * u.field, h);
    }
    store(u.h_next, zoned(u, 0, n, h));
  }

  template <int Phase>
  static GRU_INLINE void backward(const BackwardUnit<R>& u) {
    const Vec<R> dh = load(u.dh), d = entered(u, 0, dh);
    store(u.grads + kDn * u.field, F<R>::times_slope(d, load(u.saved + kN * u.field)));
    store(u.dh, held(u, 0, dh));
  }
};

}  // namespace GRU_ISA
}  // namespace gru
