#include "measure.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "timing.hpp"

namespace gru::bench {

template <class R>
void Bench<R>::measure(const Case& what, const std::function<void()>& call,
                       const std::vector<Output<R>>& outputs) {
  const Timing timing = time_call(call, options_.quick ? 0.003 : 0.012);
  constexpr bool kDouble = sizeof(R) == sizeof(double);
  const Work& work = what.work;
  const double by_fma = (work.flops + 2 * work.ops) / limits_.gflops(kDouble) * 1e-9;
  const double by_bytes = work.bytes / limits_.gbs(work.touched) * 1e-9;
  const double limit = std::max(by_fma, by_bytes), seconds = timing.median;
  report_({what.kernel, what.cell, kDouble ? "float64" : "float32", kernels.isa, what.shape,
           seconds * 1e6, timing.best * 1e6, work.flops / seconds * 1e-9,
           work.bytes / seconds * 1e-9, limit / seconds, limit / timing.best,
           by_fma > by_bytes ? "fma" : "bytes"});
  for (const Output<R>& output : outputs) {
    double sum = 0;
    for (int64_t i = 0; i < output.size; ++i) sum += static_cast<double>(output.data[i]);
    if (!std::isfinite(sum)) {
      throw std::runtime_error(what.kernel + " " + what.cell + " " + what.shape + " at " +
                               kernels.isa + ": the result is not finite");
    }
    checksum_ += sum;
  }
}

template class Bench<float>;
template class Bench<double>;

}  // namespace gru::bench
