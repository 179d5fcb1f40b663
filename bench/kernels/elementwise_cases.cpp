#include "cases.hpp"
#include "gate_ops.hpp"
#include "shapes.hpp"

namespace gru::bench {
namespace {

template <class R>
void function_cases(Bench<R>& bench, const char* name, int ops,
                    void (*function)(const R*, R*, int64_t)) {
  if (!bench.wants(name)) return;
  for (const int64_t count : {256, 8192, 262144}) {
    const Buffer<R> x = random_values<R>(count, 4, 2);  // where both functions take all branches
    Buffer<R> y = unwritten<R>(count);
    const double n = static_cast<double>(count), bytes = 2 * n * sizeof(R);
    bench.measure({name, "-", std::to_string(count), {0, ops * n, bytes, bytes}},
                  [&] { function(x.data(), y.data(), count); }, {{y.data(), count}});
  }
}

}  // namespace

template <class R>
void elementwise_cases(Bench<R>& bench) {
  function_cases(bench, "sigmoid", FunctionOps<R>::kSigmoid, bench.kernels.sigmoid);
  function_cases(bench, "tanh", FunctionOps<R>::kTanh, bench.kernels.tanh);
}

template void elementwise_cases(Bench<float>&);
template void elementwise_cases(Bench<double>&);

}  // namespace gru::bench
