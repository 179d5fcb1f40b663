// One step of a stream of one sequence, through the public interface: what a call from Python adds
// to it is the rest.
#include <algorithm>
#include <cmath>
#include <string>

#include "cases.hpp"
#include "gru/stream.hpp"
#include "shapes.hpp"

namespace gru::bench {

template <class R>
void stream_cases(Bench<R>& bench) {
  if (!bench.wants("step")) return;
  for (const bool reset_after : {true, false}) {
    for (const int64_t hidden : {8, 32, 128}) {
      LayerSpec spec;
      spec.kind = Kind::gru;
      spec.input_size = spec.hidden_size = hidden;
      spec.reset_after = reset_after;
      const auto layer = std::make_shared<gru::Layer<R>>(spec);
      const double scale = 1 / std::sqrt(static_cast<double>(hidden));
      const Buffer<R> weights = random_values<R>(layer->size(), scale, 15);
      std::copy_n(weights.data(), layer->size(), layer->block().get());
      layer->freeze();
      Stepper<R> stream(Sequential<R>({layer}));
      const Buffer<R> x = random_values<R>(hidden, 1, 16);
      Buffer<R> y = unwritten<R>(hidden);
      const double numbers = static_cast<double>(layer->size());
      const double bytes = numbers * sizeof(R);
      bench.measure({"step",
                     reset_after ? "gru_after" : "gru_before",
                     "H=" + std::to_string(hidden),
                     {2 * numbers, 0, bytes, bytes}},
                    [&] { stream.step(x.data(), y.data()); }, {{y.data(), hidden}});
    }
  }
}

template void stream_cases(Bench<float>&);
template void stream_cases(Bench<double>&);

}  // namespace gru::bench
