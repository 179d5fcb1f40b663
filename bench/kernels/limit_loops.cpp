// What the machine can do: nothing but multiply-adds in registers, nothing but loads. Compiled once
// per instruction set, with the kernels' own flags and vector operations, so that a limit means
// what those can use (x86-64 baseline has no FMA: there it is a product and a sum).
#include "limit_loops.hpp"

#include "kernels/simd.hpp"

namespace gru {
namespace GRU_ISA {

template <class R>
void fma_chains(R* values, int64_t rounds) {
  constexpr int L = kLanes<R>, N = kAccumulators;
  const Vec<R> factor = load(values), term = load(values + L);
  R* chains = values + 2 * L;
  Vec<R> acc[N];
#pragma GCC unroll 32
  for (int n = 0; n < N; ++n) acc[n] = load(chains + n * L);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n) acc[n] = fma(acc[n], factor, term);
  }
#pragma GCC unroll 32
  for (int n = 0; n < N; ++n) store(chains + n * L, acc[n]);
}

float read(const float* data, int64_t count, int64_t passes) {
  // Two loads a cycle and sums of a latency of four: eight chains.
  constexpr int L = kLanes<float>, N = 8;
  Vec<float> acc[N];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) acc[n] = set1<float>(0);
  for (int64_t pass = 0; pass < passes; ++pass) {
    for (const float* p = data; p != data + count; p += 2 * N * L) {
#pragma GCC unroll 16
      for (int n = 0; n < 2 * N; ++n) acc[n % N] = add(acc[n % N], load(p + n * L));
    }
  }
  float lanes[N * L], sum = 0;
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) store(lanes + n * L, acc[n]);
  for (int i = 0; i < N * L; ++i) sum += lanes[i];
  return sum;
}

extern const LimitLoops kLimitLoops;
#define GRU_STRINGIFY(name) #name
#define GRU_NAME_OF(name) GRU_STRINGIFY(name)
constexpr LimitLoops kLimitLoops = {
    GRU_NAME_OF(GRU_ISA), kAccumulators,      kLanes<float>, kLanes<double>,
    fma_chains<float>,    fma_chains<double>, read,
};

}  // namespace GRU_ISA
}  // namespace gru
