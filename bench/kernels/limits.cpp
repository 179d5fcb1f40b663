#include "limits.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "buffer.hpp"
#include "limit_loops.hpp"
#include "timing.hpp"

namespace gru {

#define GRU_DECLARE(isa)               \
  namespace isa {                      \
  extern const LimitLoops kLimitLoops; \
  }
GRU_DECLARE(baseline)
#if defined(__x86_64__)
GRU_DECLARE(v3)
GRU_DECLARE(v4)
#endif
#undef GRU_DECLARE

namespace bench {
namespace {

const LimitLoops* const kLevels[] = {
    &baseline::kLimitLoops,
#if defined(__x86_64__)
    &v3::kLimitLoops,
    &v4::kLimitLoops,
#endif
};

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB;
// Closer together where a cache ends.
constexpr int64_t kSizes[] = {
    16 * kKiB,   32 * kKiB, 64 * kKiB, 128 * kKiB, 256 * kKiB, 512 * kKiB, 768 * kKiB, 1 * kMiB,
    1536 * kKiB, 2 * kMiB,  4 * kMiB,  8 * kMiB,   16 * kMiB,  32 * kMiB,  64 * kMiB,  256 * kMiB};
constexpr int64_t kLargest = 256 * kMiB;
constexpr double kBudget = 0.03;  // seconds each; the best try counts, the others were disturbed

volatile float sink;

template <class R>
double fma_gflops(void (*chains)(R*, int64_t), int count, int lanes) {
  constexpr int64_t kRounds = 20000;
  Buffer<R> values((count + 2) * lanes);
  // A factor of a half: the chains converge, at numbers of their own.
  for (int64_t i = 0; i < values.size(); ++i)
    values[i] = i < lanes ? R(0.5) : R(1) / static_cast<R>(i);
  const Timing timing = time_call([&] { chains(values.data(), kRounds); }, kBudget);
  sink = static_cast<float>(values[2 * lanes]);
  return 2.0 * kRounds * count * lanes / timing.best * 1e-9;
}

// Memory of ones: pages that were only read would all be one page of zeros.
const Buffer<float>& memory() {
  static const Buffer<float> ones = [] {
    Buffer<float> buffer(kLargest / static_cast<int64_t>(sizeof(float)));
    std::fill(buffer.begin(), buffer.end(), 1.0f);
    return buffer;
  }();
  return ones;
}

double read_gbs(const LimitLoops& loops, int64_t bytes) {
  const int64_t count = bytes / static_cast<int64_t>(sizeof(float));
  const float* data = memory().data();
  const int64_t passes = std::max<int64_t>(1, kMiB / bytes);
  const Timing timing = time_call([&] { sink = loops.read(data, count, passes); }, kBudget);
  return static_cast<double>(bytes * passes) / timing.best * 1e-9;
}

}  // namespace

double Limits::gbs(double bytes) const {
  if (bytes <= static_cast<double>(bandwidth.front().bytes)) return bandwidth.front().gbs;
  for (std::size_t i = 1; i < bandwidth.size(); ++i) {
    const Bandwidth &below = bandwidth[i - 1], &above = bandwidth[i];
    if (bytes > static_cast<double>(above.bytes)) continue;
    const double low = static_cast<double>(below.bytes), high = static_cast<double>(above.bytes);
    const double part = std::log(bytes / low) / std::log(high / low);
    return below.gbs + part * (above.gbs - below.gbs);
  }
  return bandwidth.back().gbs;
}

Limits measure_limits(const std::string& isa) {
  for (const LimitLoops* loops : kLevels) {
    if (loops->isa != isa) continue;
    Limits limits = {isa,
                     fma_gflops(loops->fma_f32, loops->chains, loops->lanes_f32),
                     fma_gflops(loops->fma_f64, loops->chains, loops->lanes_f64),
                     {}};
    for (const int64_t bytes : kSizes) limits.bandwidth.push_back({bytes, read_gbs(*loops, bytes)});
    return limits;
  }
  throw std::invalid_argument("no limits are known for the level '" + isa + "'");
}

}  // namespace bench
}  // namespace gru
