// What one core can do at an instruction set: measured here, never assumed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gru::bench {

struct Bandwidth {
  int64_t bytes;  // working set, read again and again
  double gbs;
};

struct Limits {
  std::string isa;
  double fma_f32, fma_f64;           // GFLOP/s
  std::vector<Bandwidth> bandwidth;  // by growing working set

  double gflops(bool is_double) const { return is_double ? fma_f64 : fma_f32; }
  // Between measured sizes, by the logarithm of the size.
  double gbs(double bytes) const;
};

// `isa` is one of isa_levels().
Limits measure_limits(const std::string& isa);

}  // namespace gru::bench
