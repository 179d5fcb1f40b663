// The boundary to the loops that find the machine's limits: like kernels.hpp, a table per
// instruction set.
#pragma once

#include <cstdint>

namespace gru {

struct LimitLoops {
  const char* isa;
  int chains;  // independent chains of multiply-adds
  int lanes_f32, lanes_f64;
  // values holds (chains + 2) vectors: the factor, the term, the chains. Each round takes every
  // chain one multiply-add further.
  void (*fma_f32)(float* values, int64_t rounds);
  void (*fma_f64)(double* values, int64_t rounds);
  // The sum of `count` floats, read `passes` times; count is a multiple of 4096.
  float (*read)(const float* data, int64_t count, int64_t passes);
};

}  // namespace gru
