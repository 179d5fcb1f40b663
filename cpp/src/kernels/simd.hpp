// The dozen vector operations the kernels need, over Eigen's packet math; knows no cell, no matrix.
//
// Every function here is compiled once per instruction set, inside a namespace of that set's name
// (GRU_ISA), with Eigen's own namespace renamed likewise: two sets never share a symbol.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#define GRU_INLINE inline __attribute__((always_inline))
#define GRU_LAMBDA __attribute__((always_inline))

namespace gru {
namespace GRU_ISA {

template <class R>
using Vec = typename Eigen::internal::packet_traits<R>::type;

template <class R>
inline constexpr int kLanes = Eigen::internal::packet_traits<R>::size;

// Accumulators a tile may hold: what is left of 32 or 16 registers once weights are in some.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kAccumulators = 24;
#else
inline constexpr int kAccumulators = 12;
#endif

template <class R>
GRU_INLINE Vec<R> load(const R* p) {
  return Eigen::internal::ploadu<Vec<R>>(p);
}

template <class R>
GRU_INLINE void store(R* p, Vec<R> v) {
  Eigen::internal::pstoreu(p, v);
}

template <class R>
GRU_INLINE Vec<R> set1(R v) {
  return Eigen::internal::pset1<Vec<R>>(v);
}

template <class V>
GRU_INLINE V add(V a, V b) {
  return Eigen::internal::padd(a, b);
}

template <class V>
GRU_INLINE V sub(V a, V b) {
  return Eigen::internal::psub(a, b);
}

template <class V>
GRU_INLINE V mul(V a, V b) {
  return Eigen::internal::pmul(a, b);
}

template <class V>
GRU_INLINE V div(V a, V b) {
  return Eigen::internal::pdiv(a, b);
}

// a * b + c, fused wherever the instruction set can (every level but x86-64 baseline).
template <class V>
GRU_INLINE V fma(V a, V b, V c) {
  return Eigen::internal::pmadd(a, b, c);
}

// An L x L square: to[j * to_stride + i] = from[i * from_stride + j].
template <class R>
GRU_INLINE void transpose(const R* from, int64_t from_stride, R* to, int64_t to_stride) {
  constexpr int L = kLanes<R>;
  Eigen::internal::PacketBlock<Vec<R>, L> square;
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) square.packet[i] = load(from + i * from_stride);
  Eigen::internal::ptranspose(square);
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) store(to + i * to_stride, square.packet[i]);
}

// Bit patterns go through the compiler's own vectors of integers, which exist for every set.
template <class R>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Int = int32_t;
  typedef int32_t Type __attribute__((vector_size(sizeof(Vec<float>))));
};
template <>
struct BitsOf<double> {
  using Int = int64_t;
  typedef int64_t Type __attribute__((vector_size(sizeof(Vec<double>))));
};
template <class R>
using Bits = typename BitsOf<R>::Type;
template <class R>
using Int = typename BitsOf<R>::Int;

// GNU vectors of R, to compare with: they give a mask of all ones or zeros per lane.
template <class R>
struct LanesOf;
template <>
struct LanesOf<float> {
  typedef float Type __attribute__((vector_size(sizeof(Vec<float>))));
};
template <>
struct LanesOf<double> {
  typedef double Type __attribute__((vector_size(sizeof(Vec<double>))));
};

// a < b, lane by lane; false where either is NaN.
template <class R>
GRU_INLINE Bits<R> less(Vec<R> a, Vec<R> b) {
  using Lanes = typename LanesOf<R>::Type;
  return Bits<R>(Lanes(a) < Lanes(b));
}

// a < b ? a : b and a > b ? a : b, so b where either is NaN: an instruction each, which GCC 12 does
// not make of the words themselves. Eigen's take b first.
template <class R>
GRU_INLINE Vec<R> smaller(Vec<R> a, Vec<R> b) {
  return Eigen::internal::pmin(b, a);
}
template <class R>
GRU_INLINE Vec<R> larger(Vec<R> a, Vec<R> b) {
  return Eigen::internal::pmax(b, a);
}

template <class R>
GRU_INLINE Vec<R> negated(Vec<R> a) {
  using Lanes = typename LanesOf<R>::Type;
  return Vec<R>(-Lanes(a));
}

template <class R>
GRU_INLINE Vec<R> select(Bits<R> mask, Vec<R> a, Vec<R> b) {
  return Vec<R>(mask ? Bits<R>(a) : Bits<R>(b));
}

}  // namespace GRU_ISA
}  // namespace gru
