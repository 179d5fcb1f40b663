// One row of the table: what a call of a kernel does, and how long it took.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"
#include "limits.hpp"

namespace gru::bench {

// What one call has to do at least; the counts that the limits are held against.
struct Work {
  double flops;    // of the products: two per multiply-add
  double ops;      // other vector operations, per element: each takes the place of a multiply-add
  double bytes;    // read and written: weights once a step, everything else once
  double touched;  // of those, different ones: the working set
};

struct Case {
  std::string kernel, cell, shape;  // cell: "-" where a kernel knows none
  Work work;
};

struct Row {
  std::string kernel, cell, type, isa, shape;
  double us, best_us, gflops, gbs;  // of the median, but for best_us
  double share, best_share;         // of the limit: 1 is as fast as this machine could
  const char* bound;                // "fma" or "bytes", whichever is the limit
};

struct Options {
  bool quick = false;
  std::string only;  // a kernel or a cell; empty: all
};

// Where results lie: summed after the timing, so that nothing was for nothing.
template <class R>
struct Output {
  const R* data;
  int64_t size;
};

// Measures cases at one level and type, and hands their rows on.
template <class R>
class Bench {
 public:
  Bench(const Kernels<R>& kernels, const Limits& limits, const Options& options,
        std::function<void(const Row&)> report)
      : kernels(kernels), limits_(limits), options_(options), report_(std::move(report)) {}

  // Asked before a case's data is made.
  bool wants(const std::string& kernel, const std::string& cell = "-") const {
    return options_.only.empty() || options_.only == kernel || options_.only == cell;
  }
  bool quick() const { return options_.quick; }
  // Throws std::runtime_error if a result is not finite.
  void measure(const Case& what, const std::function<void()>& call,
               const std::vector<Output<R>>& outputs);
  double checksum() const { return checksum_; }

  const Kernels<R>& kernels;

 private:
  const Limits& limits_;
  const Options& options_;
  std::function<void(const Row&)> report_;
  double checksum_ = 0;
};

}  // namespace gru::bench
