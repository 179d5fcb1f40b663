// Sigmoid, tanh and relu of a vector; knows no cell.
//
// Both functions come from one exponential, left in two parts so that no rounding is spent on it:
//   exp(x) = s * (1 + t),  s = 2^k,  k = round(x / ln 2),  t = expm1(r) = r + r^2 q(r),
//   r = x - k ln 2 in [-ln2/2, ln2/2].
// The polynomials q were fitted by a Lawson-weighted minimax search; their error in t is below
// 5e-9 (float) and 3e-19 (double), a tenth of an ulp at most.
#pragma once

#include "simd.hpp"

namespace gru {
namespace GRU_ISA {

template <class R>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLargest = 88.3f;            // s is no infinity for x up to here
  static constexpr float kExactSum = 8388608.0f;      // 2^23
  static constexpr float kRound = 12582912.0f + 127;  // 1.5 * 2^23 and the exponent's bias
  static constexpr float kLog2e = 1.44269504f;
  static constexpr float kLn2Hi = 0.693145752f, kLn2Lo = 1.42860677e-6f;
  static constexpr int kMantissa = 23;
  static constexpr float kPoly[] = {0.001395054f, 0.008368918f, 0.041666206f, 0.16666518f, 0.5f};
};

template <>
struct ExpConstants<double> {
  static constexpr double kLargest = 709.0;
  static constexpr double kExactSum = 4503599627370496.0;      // 2^52
  static constexpr double kRound = 6755399441055744.0 + 1023;  // 1.5 * 2^52 and the bias
  static constexpr double kLog2e = 1.4426950408889634;
  static constexpr double kLn2Hi = 0.6931471803691238, kLn2Lo = 1.9082149292705877e-10;
  static constexpr int kMantissa = 52;
  static constexpr double kPoly[] = {2.08753191468184e-09,
                                     2.5108977094122807e-08,
                                     2.7557402671495544e-07,
                                     2.7557244378475494e-06,
                                     2.480158717251191e-05,
                                     0.00019841269885962625,
                                     0.001388888888896238,
                                     0.008333333333321693,
                                     0.04166666666666651,
                                     0.16666666666666677,
                                     0.5};
};

// Where tanh changes from the fraction to the exponential, where 2|x| makes it 1 to the last bit,
// and the fraction cut after its 9th (15th) partial denominator: off by 3e-10 (8e-19) at the
// switch.
template <class R>
struct TanhConstants;

template <>
struct TanhConstants<float> {
  static constexpr float kSwitch = 0.55f, kSaturates = 40;
  static constexpr float kNumerator[] = {14, 315};
  static constexpr float kDenominator[] = {15, 420, 945};
};

template <>
struct TanhConstants<double> {
  static constexpr double kSwitch = 0.55, kSaturates = 80;
  static constexpr double kNumerator[] = {1, 594, 45045, 675675};
  static constexpr double kDenominator[] = {1, 630, 51975, 945945, 2027025};
};

template <class R>
inline constexpr Int<R> kSignBit = Int<R>(uint64_t(1) << 63 >> (64 - 8 * sizeof(R)));

// Horner's rule, highest power first.
template <class R, int N>
GRU_INLINE Vec<R> polynomial(const R (&c)[N], Vec<R> x) {
  Vec<R> value = set1<R>(c[0]);
  for (int i = 1; i < N; ++i) value = fma(value, x, set1<R>(c[i]));
  return value;
}

// The same with half as long a chain: Horner's rule in x^2, over pairs of coefficients.
template <class R, int N>
GRU_INLINE Vec<R> polynomial(const R (&c)[N], Vec<R> x, Vec<R> square) {
  static_assert(N % 2 == 1);
  Vec<R> value = set1<R>(c[0]);
  for (int i = 1; i < N; i += 2) {
    value = fma(value, square, fma(set1<R>(c[i]), x, set1<R>(c[i + 1])));
  }
  return value;
}

// exp(x) = scale * (1 + tail).
template <class R>
struct Exp {
  Vec<R> scale, tail;
};

// |x| <= kLargest, or NaN, which ends in tail.
template <class R>
GRU_INLINE Exp<R> exp_parts(Vec<R> x) {
  using C = ExpConstants<R>;
  const Vec<R> round = set1<R>(C::kRound);
  const Vec<R> shifted = fma(x, set1<R>(C::kLog2e), round);
  const Vec<R> minus_k = sub(round, shifted);
  Vec<R> r = fma(minus_k, set1<R>(C::kLn2Hi), x);
  r = fma(minus_k, set1<R>(C::kLn2Lo), r);
  const Vec<R> square = mul(r, r);
  const Vec<R> tail = fma(square, polynomial(C::kPoly, r, square), r);
  // The low bits of `shifted` hold k + bias; moved to the exponent field they are 2^k.
  return {Vec<R>(Bits<R>(shifted) << C::kMantissa), tail};
}

// NaN stays NaN.
template <class R>
GRU_INLINE Vec<R> at_most(Vec<R> x, R limit) {
  return smaller<R>(set1<R>(limit), x);
}

template <class R>
GRU_INLINE Vec<R> at_least(Vec<R> x, R limit) {
  return larger<R>(set1<R>(limit), x);
}

// exp(x) + 1, rounded once while 2^k + 1 is exact.
template <class R>
GRU_INLINE Vec<R> plus_one(Exp<R> exp) {
  return fma(exp.scale, exp.tail, add(exp.scale, set1<R>(R(1))));
}

// 1 / (exp(-x) + 1). Where exp(-x) passes 2^126 the result would be subnormal and is flushed to 0.
template <class R>
GRU_INLINE Vec<R> sigmoid(Vec<R> x) {
  using C = ExpConstants<R>;
  const Vec<R> y = negated<R>(at_least<R>(at_most<R>(x, C::kLargest), -C::kLargest));
  const Exp<R> exp = exp_parts<R>(y);
  // Beside a larger 2^k the 1 would be lost: it is added to a part of that, the rest comes last.
  const Vec<R> lower = smaller<R>(exp.scale, set1<R>(C::kExactSum));
  const Vec<R> upper = sub(exp.scale, lower);
  const Vec<R> rest = fma(exp.scale, exp.tail, add(lower, set1<R>(R(1))));
  return div(set1<R>(R(1)), add(upper, rest));
}

// tanh|x| = 1 - 2 / (exp(2|x|) + 1), or below 1/2, where that loses digits, Lambert's continued
// fraction x - x z N(z) / D(z), z = x^2. One division serves both. The sign is put back at the end,
// so tanh is odd bit for bit.
template <class R>
GRU_INLINE Vec<R> tanh(Vec<R> x) {
  using C = TanhConstants<R>;
  const Bits<R> sign = Bits<R>(x) & kSignBit<R>;
  const Vec<R> a = Vec<R>(Bits<R>(x) & ~kSignBit<R>);
  const Vec<R> one = set1<R>(R(1)), two = set1<R>(R(2)), z = mul(a, a);
  const Bits<R> small = less<R>(a, set1<R>(C::kSwitch));
  const Vec<R> above = plus_one(exp_parts<R>(at_most<R>(mul(a, two), C::kSaturates)));
  const Vec<R> numerator = select<R>(small, mul(mul(a, z), polynomial(C::kNumerator, z)), two);
  const Vec<R> denominator = select<R>(small, polynomial(C::kDenominator, z), above);
  const Vec<R> t = sub(select<R>(small, a, one), div(numerator, denominator));
  return Vec<R>(Bits<R>(t) | sign);
}

// max(x, 0); NaN stays NaN.
template <class R>
GRU_INLINE Vec<R> relu(Vec<R> x) {
  const Vec<R> zero = set1<R>(R(0));
  return select<R>(less<R>(x, zero), zero, x);
}

}  // namespace GRU_ISA
}  // namespace gru
