// How long one step of a stream takes, from C++, a million times: p50, p99, p99.9 and the longest,
// beside the same GRU written plainly with Eigen, and beside two whose spread is the machine's: a
// chain of multiplications that is as long and reads no memory, and a loop that reads the weights
// once, as each step must, and does nothing else. Of each thousand in a row p99/p50 as well, whose
// median leaves out that the machine is faster now than then. And that memory does not grow.
//
//   gru_latency [steps] [core]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

#include "gru/gru.hpp"
#include "plain.hpp"

namespace {

using Clock = std::chrono::steady_clock;
constexpr long kTurn = 10000;  // steps of one before it is the other's turn
constexpr std::ptrdiff_t kInARow = 1000;
constexpr long kWarmUp = 5000;
constexpr long kInputs = 16;  // few: at H = 32 they and the weights together fit in L1

void pin(int core) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) std::perror("core");
#else
  (void)core;
#endif
}

long resident_pages() {
  long size = 0, resident = 0;
#if defined(__linux__)
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(file);
  }
#endif
  return resident;
}

// Multiplications that wait for each other.
uint64_t spin(long multiplications) {
  uint64_t value = 0x9e3779b97f4a7c15u;
  for (long i = 0; i < multiplications; ++i) {
    value *= 0xd1342543de82ef95u;
#if defined(__GNUC__)
    asm volatile("" : "+r"(value));  // keeps the chain, which could be computed beforehand
#endif
  }
  return value;
}

struct Times {
  std::vector<uint32_t> ns;

  template <class Step>
  void turn(const Step& step, long count) {
    for (long i = 0; i < count; ++i) {
      const Clock::time_point begun = Clock::now();
      step(i);
      const auto taken = std::chrono::nanoseconds(Clock::now() - begun).count();
      ns.push_back(static_cast<uint32_t>(std::min<int64_t>(taken, UINT32_MAX)));
    }
  }
  uint32_t median() {
    std::sort(ns.begin(), ns.end());
    return ns[ns.size() / 2];
  }
  // The median of p99/p50 of a thousand steps in a row; to be asked before the others sort.
  double in_a_row() const {
    std::vector<double> ratios;
    for (auto from = ns.begin(); ns.end() - from >= kInARow; from += kInARow) {
      std::vector<uint32_t> some(from, from + kInARow);
      std::sort(some.begin(), some.end());
      ratios.push_back(double(some[kInARow * 99 / 100]) / some[kInARow / 2]);
    }
    if (ratios.empty()) return std::nan("");
    std::sort(ratios.begin(), ratios.end());
    return ratios[ratios.size() / 2];
  }
  void print(const char* name, int hidden) {
    const double local = in_a_row();
    std::sort(ns.begin(), ns.end());
    const auto at = [&](double part) {
      return ns[std::min(ns.size() - 1, static_cast<std::size_t>(part * double(ns.size())))] / 1e3;
    };
    std::printf("| %d | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", hidden, name, at(0.5),
                at(0.99), at(0.999), ns.back() / 1e3, at(0.99) / at(0.5), local);
  }
};

// As many multiplications as take what a step takes.
template <class Step>
long as_long_as(const Step& step, int rounds) {
  constexpr long kSome = 1000;
  Times one, some;
  for (int i = 0; i < rounds; ++i) {
    one.turn(step, 500);
    some.turn([&](long) { spin(kSome); }, 500);
  }
  return std::max(1L, static_cast<long>(kSome * double(one.median()) / some.median()));
}

void measure(int hidden, long steps) {
  gru::LayerSpec spec;
  spec.kind = gru::Kind::gru;
  spec.input_size = spec.hidden_size = hidden;
  auto layer = std::make_shared<gru::Layer<float>>(spec);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  float* block = layer->block().get();
  const float scale = 1 / std::sqrt(static_cast<float>(hidden));
  for (int64_t i = 0; i < layer->size(); ++i) block[i] = scale * uniform(random);
  const auto& p = layer->parameters();
  latency::PlainGru plain(hidden, hidden, block + p[0].offset, block + p[1].offset,
                          block + p[2].offset, block + p[3].offset);
  const gru::Model model{gru::Sequential<float>({layer})};
  gru::Stream stream(model);

  std::vector<float> x(static_cast<std::size_t>(kInputs * hidden));
  for (float& value : x) value = uniform(random);
  std::vector<float> y(static_cast<std::size_t>(hidden)), z(y);
  const auto of = [&](long i) { return x.data() + i % kInputs * hidden; };
  const auto ours = [&](long i) { stream.step(of(i), y.data()); };
  const auto theirs = [&](long i) { plain.step(of(i), z.data()); };
  for (long i = 0; i < kWarmUp; ++i) ours(i), theirs(i);
  float apart = 0;
  for (std::size_t i = 0; i < y.size(); ++i) apart = std::max(apart, std::abs(y[i] - z[i]));
  if (!(apart < 1e-5f)) {
    std::fprintf(stderr, "H = %d: the two differ by %g\n", hidden, static_cast<double>(apart));
    std::exit(1);
  }
  long multiplications = as_long_as(ours, 20);
  const auto nothing = [&](long) { spin(multiplications); };
  const std::vector<float> weights(block, block + layer->size());
  float sum = 0;
  const auto reading = [&](long i) {  // to and fro, as the steps do
    sum += latency::read(weights.data(), static_cast<long>(weights.size()), i & 1);
  };
  Times gru_times, plain_times, spin_times, read_times;
  for (Times* times : {&gru_times, &plain_times, &spin_times, &read_times}) {
    times->ns.assign(static_cast<std::size_t>(steps), 1);  // touch every page
    times->ns.clear();
  }
  resident_pages();  // what reading the figure takes itself
  const long before = resident_pages();
  for (long done = 0; done < steps; done += kTurn) {
    const long count = std::min(kTurn, steps - done);
    multiplications = as_long_as(ours, 2);  // anew: a neighbour does not slow both down alike
    gru_times.turn(ours, count);
    plain_times.turn(theirs, count);
    spin_times.turn(nothing, count);
    read_times.turn(reading, count);
  }
  const long grown = resident_pages() - before;
  gru_times.print("gru::Stream::step", hidden);
  plain_times.print("plain Eigen", hidden);
  spin_times.print("multiplications alone", hidden);
  read_times.print("reading the weights alone", hidden);
  if (!std::isfinite(sum)) std::printf("the weights' sum is %g\n", static_cast<double>(sum));
  std::printf("\nH = %d: resident memory grew by %ld pages over the %ld steps\n\n", hidden, grown,
              steps);
}

}  // namespace

int main(int argc, char** argv) {
  const long steps = argc > 1 ? std::atol(argv[1]) : 1000000;
  if (argc > 2) pin(std::atoi(argv[2]));
#if defined(__x86_64__)
  if (gru::active_isa() == "baseline") {
    std::printf("nothing measured: the plain code is compiled for AVX2, which is not here\n");
    return 0;
  }
#endif
  std::printf("%ld steps each, one sequence, I = H, float32, %s; microseconds\n\n", steps,
              gru::active_isa().c_str());
  for (const int hidden : {32, 128, 256}) {
    std::printf("| H | | p50 | p99 | p99.9 | longest | p99/p50 | of 1000 in a row |\n");
    std::printf("|---|---|---|---|---|---|---|---|\n");
    measure(hidden, steps);
  }
}
