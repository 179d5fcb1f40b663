// The floating-point mode the engine is tested in, set while an object lives and then put back.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace gru {

// Round to nearest, subnormals flushed to zero, no exception traps: neither bits nor speed depend
// on the host's mode.
class FloatMode {
 public:
  FloatMode() : saved_(read()) { write(kMode); }
  ~FloatMode() { write(saved_); }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
#if defined(__x86_64__)
  using Word = uint32_t;
  static constexpr Word kMode = 0x9FC0;  // FTZ, DAZ, all exceptions masked, round to nearest
  static Word read() { return _mm_getcsr(); }
  static void write(Word mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
  using Word = uint64_t;
  static constexpr Word kMode = Word(1) << 24;  // FPCR.FZ, round to nearest
  static Word read() {
    Word mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(Word mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  using Word = uint32_t;
  static constexpr Word kMode = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif
  Word saved_;
};

}  // namespace gru
