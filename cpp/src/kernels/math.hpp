// Sigmoid, tanh and relu of a vector; knows no cell.
//
// Both functions come from one exponential of a non-positive number, taken apart so that nothing is
// lost where it matters:  exp(x) = s * (1 + t)  with s = 2^k, k = round(x / ln 2), r = x - k ln 2 in
// [-ln2/2, ln2/2] and t = expm1(r) = r + r^2 q(r). The polynomials q were fitted by a Lawson-weighted
// minimax search; their error in t is below 3e-10 (float) and 3e-19 (double), far under one ulp.
#pragma once

#include "simd.hpp"

namespace gru {
namespace GRU_ISA {

template <class R>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLowest = -88.1f;  // below, s is 0: results under 2^-126 are flushed
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLog2e = 1.44269504f;
  static constexpr float kLn2Hi = 0.693145752f, kLn2Lo = 1.42860677e-6f;
  static constexpr int kMantissa = 23;
  static constexpr int32_t kBias = 127;
  static constexpr int kTerms = 6;
  static constexpr float kPoly[kTerms] = {0.000198458833f, 0.0013940625f, 0.00833339f,
                                          0.041666362f,    0.16666666f,   0.5f};
};

template <>
struct ExpConstants<double> {
  static constexpr double kLowest = -708.8;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLog2e = 1.4426950408889634;
  static constexpr double kLn2Hi = 0.6931471803691238, kLn2Lo = 1.9082149292705877e-10;
  static constexpr int kMantissa = 52;
  static constexpr int64_t kBias = 1023;
  static constexpr int kTerms = 11;
  static constexpr double kPoly[kTerms] = {
      2.08753191468184e-09,   2.5108977094122807e-08, 2.7557402671495544e-07,
      2.7557244378475494e-06, 2.480158717251191e-05,  0.00019841269885962625,
      0.001388888888896238,   0.008333333333321693,   0.04166666666666651,
      0.16666666666666677,    0.5};
};

template <class R>
inline constexpr Int<R> kSignBit = Int<R>(uint64_t(1) << 63 >> (64 - 8 * sizeof(R)));

// exp(x) = scale * (1 + tail).
template <class R>
struct Exp {
  Vec<R> scale, tail;
};

// x <= 0 or NaN. NaN ends in tail.
template <class R>
GRU_INLINE Exp<R> exp_of_nonpositive(Vec<R> x) {
  using C = ExpConstants<R>;
  const Vec<R> lowest = set1<R>(C::kLowest), round = set1<R>(C::kRound);
  x = select<R>(less<R>(x, lowest), lowest, x);
  const Vec<R> shifted = fma(x, set1<R>(C::kLog2e), round);
  const Vec<R> minus_k = sub(round, shifted);
  Vec<R> r = fma(minus_k, set1<R>(C::kLn2Hi), x);
  r = fma(minus_k, set1<R>(C::kLn2Lo), r);
  Vec<R> q = set1<R>(C::kPoly[0]);
  for (int i = 1; i < C::kTerms; ++i) q = fma(q, r, set1<R>(C::kPoly[i]));
  const Vec<R> tail = fma(mul(r, r), q, r);
  // The low bits of `shifted` hold k; k + bias moved to the exponent field is 2^k.
  const Bits<R> exponent = (Bits<R>(shifted) + Int<R>(C::kBias)) << C::kMantissa;
  return {Vec<R>(exponent), tail};
}

template <class R>
GRU_INLINE Bits<R> sign_bit(Vec<R> x) {
  return Bits<R>(x) & kSignBit<R>;
}

// -|x|
template <class R>
GRU_INLINE Vec<R> minus_abs(Vec<R> x) {
  return Vec<R>(Bits<R>(x) | kSignBit<R>);
}

// 1 / (1 + exp(-x)). With e = exp(-|x|): 1 / (1 + e) for x >= 0 and e / (1 + e) below, whose
// numerator must not lose the tail.
template <class R>
GRU_INLINE Vec<R> sigmoid(Vec<R> x) {
  const Vec<R> one = set1<R>(R(1));
  const Exp<R> exp = exp_of_nonpositive<R>(minus_abs<R>(x));
  const Vec<R> e = fma(exp.scale, exp.tail, exp.scale);
  const Vec<R> numerator = select<R>(less<R>(x, set1<R>(R(0))), e, one);
  return div(numerator, add(one, e));
}

// With m = expm1(-2|x|), tanh|x| = -m / (2 + m); the sign is put back, so tanh is odd bit for bit.
template <class R>
GRU_INLINE Vec<R> tanh(Vec<R> x) {
  const Exp<R> exp = exp_of_nonpositive<R>(mul(minus_abs<R>(x), set1<R>(R(2))));
  const Vec<R> m = fma(exp.scale, exp.tail, sub(exp.scale, set1<R>(R(1))));
  const Vec<R> t = div(m, add(set1<R>(R(2)), m));
  return Vec<R>((Bits<R>(t) & ~sign_bit<R>(t)) | sign_bit<R>(x));
}

// max(x, 0); NaN stays NaN.
template <class R>
GRU_INLINE Vec<R> relu(Vec<R> x) {
  const Vec<R> zero = set1<R>(R(0));
  return select<R>(less<R>(x, zero), zero, x);
}

}  // namespace GRU_ISA
}  // namespace gru
