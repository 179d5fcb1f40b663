// Chooses the instruction set: once at start from the processor and GRU_FORCE_ISA, or on request.
#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "gru/runtime.hpp"

// GRU_BASELINE_ALONE: built without the levels above it (under ThreadSanitizer they take minutes).
#if defined(__x86_64__) && !defined(GRU_BASELINE_ALONE)
#define GRU_X86_LEVELS 1
#endif

#if defined(GRU_X86_LEVELS)
#include <cpuid.h>
#endif

namespace gru {

#define GRU_DECLARE(isa)                \
  namespace isa {                       \
  extern const Kernels<float> kFloat;   \
  extern const Kernels<double> kDouble; \
  }
GRU_DECLARE(baseline)
#if defined(GRU_X86_LEVELS)
GRU_DECLARE(v3)
GRU_DECLARE(v4)
#endif
#undef GRU_DECLARE

namespace {

bool always() { return true; }

#if defined(GRU_X86_LEVELS)
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

// Which register files the operating system saves (XCR0).
unsigned saved_state() {
  constexpr unsigned kOsxsave = 1u << 27;
  if (!(cpuid(1).c & kOsxsave)) return 0;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has_all(unsigned word, unsigned bits) { return (word & bits) == bits; }

// The named levels of the x86-64 psABI, feature by feature.
bool cpu_has_v3() {
  constexpr unsigned kFma = 1u << 12, kMovbe = 1u << 22, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr unsigned kSse42 = 1u << 20, kPopcnt = 1u << 23, kCx16 = 1u << 13;
  constexpr unsigned kBmi1 = 1u << 3, kAvx2 = 1u << 5, kBmi2 = 1u << 8;
  constexpr unsigned kLzcnt = 1u << 5, kLahf = 1u << 0;
  constexpr unsigned kXmmYmm = 0x6;
  return has_all(cpuid(1).c, kFma | kMovbe | kAvx | kF16c | kSse42 | kPopcnt | kCx16) &&
         has_all(cpuid(7).b, kBmi1 | kAvx2 | kBmi2) &&
         has_all(cpuid(0x80000001u).c, kLzcnt | kLahf) && has_all(saved_state(), kXmmYmm);
}

bool cpu_has_v4() {
  constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kCd = 1u << 28, kBw = 1u << 30, kVl = 1u << 31;
  constexpr unsigned kXmmYmmZmm = 0xE6;
  return cpu_has_v3() && has_all(cpuid(7).b, kF | kDq | kCd | kBw | kVl) &&
         has_all(saved_state(), kXmmYmmZmm);
}
#endif

struct Level {
  const Kernels<float>* f32;
  const Kernels<double>* f64;
  bool (*supported)();
};

const Level kLevels[] = {
    {&baseline::kFloat, &baseline::kDouble, always},
#if defined(GRU_X86_LEVELS)
    {&v3::kFloat, &v3::kDouble, cpu_has_v3},
    {&v4::kFloat, &v4::kDouble, cpu_has_v4},
#endif
};

std::string join_levels() {
  std::string names;
  for (const std::string& name : isa_levels()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

const Level& find_level(const std::string& name, const char* source) {
  for (const Level& level : kLevels) {
    if (level.f32->isa == name && level.supported()) return level;
  }
  throw std::invalid_argument(std::string(source) +
                              " must be one of the levels this CPU can run (" + join_levels() +
                              "), got '" + name + "'");
}

const Level& first_level() {
  const char* forced = std::getenv("GRU_FORCE_ISA");
  if (forced && *forced) return find_level(forced, "GRU_FORCE_ISA");
  const Level* best = &kLevels[0];
  for (const Level& level : kLevels) {
    if (level.supported()) best = &level;
  }
  return *best;
}

std::atomic<const Level*>& active() {
  static std::atomic<const Level*> level{&first_level()};
  return level;
}

}  // namespace

template <>
const Kernels<float>& active_kernels<float>() {
  return *active().load(std::memory_order_acquire)->f32;
}

template <>
const Kernels<double>& active_kernels<double>() {
  return *active().load(std::memory_order_acquire)->f64;
}

std::vector<std::string> isa_levels() {
  std::vector<std::string> names;
  for (const Level& level : kLevels) {
    if (level.supported()) names.push_back(level.f32->isa);
  }
  return names;
}

std::string active_isa() { return active_kernels<float>().isa; }

void set_isa(const std::string& name) {
  active().store(&find_level(name, "name"), std::memory_order_release);
}

}  // namespace gru
