// Thread counts and facts about the build.
#include "gru/runtime.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "fork_safe.hpp"
#include "parallel.hpp"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace gru {
namespace {

constexpr int kMostThreads = 1024;

std::atomic<int> num_threads{0};
std::atomic<bool> forked{false};

// A positive integer from the environment; 0 where unset or not one (OpenMP allows lists: its first
// number counts).
int from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::max(0, std::atoi(text)) : 0;
}

int allowed_by_affinity() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return 1;
}

// Whole processors in the cgroup's quota (version 2, then 1); a large number where there is none.
int allowed_by_quota() {
  constexpr int kNone = 1 << 20;
  long long quota = -1, period = -1;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lld %lld", &quota, &period) != 2) quota = -1;
    std::fclose(file);
  } else {
    const auto read = [](const char* path) {
      long long value = -1;
      if (std::FILE* f = std::fopen(path, "r")) {
        if (std::fscanf(f, "%lld", &value) != 1) value = -1;
        std::fclose(f);
      }
      return value;
    };
    quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  if (quota <= 0 || period <= 0) return kNone;
  return static_cast<int>(std::max(1LL, (quota + period / 2) / period));
}

}  // namespace

const char* version() noexcept { return GRU_VERSION; }

namespace {
std::mutex published;
}

std::mutex& fork_safe_mutex() {
#if defined(__linux__)
  static const int registered = pthread_atfork([] { published.lock(); }, [] { published.unlock(); },
                                               [] { published.unlock(); });
  (void)registered;
#endif
  return published;
}

bool threads_usable() {
#if defined(__linux__)
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
  (void)registered;
#endif
  return !forked.load(std::memory_order_relaxed);
}

namespace {

constexpr double kTolerated = 100e-6;  // seconds of waiting that are never held against a region
constexpr double kPause = 20;          // times what was lost: trying again costs at most 5 %

std::atomic<int64_t> paused_until{0};  // nanoseconds of the steady clock

int64_t now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double thread_seconds() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  timespec time = {};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) {
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool Patience::allows() { return now() >= paused_until.load(std::memory_order_relaxed); }

void Patience::learn(int threads, double own, double waited) {
  // One thread would have taken about `threads` times the caller's own time.
  const double lost = waited - (threads - 1) * own;
  if (waited <= kTolerated || lost <= 0) return;
  paused_until.store(now() + static_cast<int64_t>(kPause * lost * 1e9), std::memory_order_relaxed);
}

namespace {

void pause_thread() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

double Barrier::meet(int members) {
  constexpr int kSpins = 64;  // a pause is up to 140 cycles
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return 0;
  }
  const auto waiting = [&] {
    return round_.load(std::memory_order_acquire) == round &&
           !abandoned_.load(std::memory_order_acquire);
  };
  for (int spin = 0; spin < kSpins; ++spin) {
    if (!waiting()) return 0;
    pause_thread();
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begun = Clock::now();
  while (waiting()) std::this_thread::yield();
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

int get_num_threads() { return num_threads.load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  if (count < 0 || count > kMostThreads) {
    throw std::invalid_argument(
        "n must be a number of threads from 1 to 1024 (None: automatic), got " +
        std::to_string(count));
  }
  num_threads.store(count, std::memory_order_relaxed);
}

int max_threads() {
  if (!kThreads) return 1;
  if (const int wanted = from_environment("GRU_NUM_THREADS")) return std::min(wanted, kMostThreads);
  static const int allowed = [] {
    const int count = std::min(allowed_by_affinity(), allowed_by_quota());
    const int omp = from_environment("OMP_NUM_THREADS");
    return omp ? std::min(count, omp) : count;
  }();
  return allowed;
}

std::vector<std::pair<std::string, std::string>> build_info() {
  std::string levels;
  for (const std::string& name : isa_levels()) levels += (levels.empty() ? "" : " ") + name;
  return {
      {"version", version()},
      {"compiler", GRU_COMPILER},
      {"build_type", GRU_BUILD_TYPE},
      {"eigen", GRU_EIGEN_VERSION},
#if defined(_OPENMP)
      {"openmp", std::to_string(_OPENMP)},
#else
      {"openmp", "off"},
#endif
      {"isa_compiled", GRU_ISA_LEVELS},
      {"isa_available", levels},
      {"isa_active", active_isa()},
  };
}

}  // namespace gru
