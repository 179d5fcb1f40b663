// Random bits that depend on a key and a counter alone, so that neither threads nor order matter.
#pragma once

#include <cstdint>

namespace gru {

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
struct Philox {
  static constexpr uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
  static constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  static constexpr int kRounds = 10;

  uint32_t word[4];
};

// One counter; kernels/drop.hpp has the same rounds on many side by side.
inline Philox philox(uint64_t key, uint64_t high, uint64_t low) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  Philox c = {{static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
               static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)}};
  for (int round = 0; round < Philox::kRounds; ++round) {
    const uint64_t p0 = uint64_t(Philox::kMultiply0) * c.word[0];
    const uint64_t p1 = uint64_t(Philox::kMultiply1) * c.word[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.word[1] ^ k0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.word[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += Philox::kWeyl0;
    k1 += Philox::kWeyl1;
  }
  return c;
}

// The counter of a dropout mask: elements i to i + 7 of a stream of masks, 16 bits each, low halves
// of words first, for one step of one sequence. Static, so that no symbol of it is shared by
// instruction sets.
static constexpr uint64_t random_stream(uint64_t stream, int64_t i) {
  return stream << 40 | static_cast<uint64_t>(i);
}
static constexpr uint64_t random_place(int64_t sequence, int64_t step) {
  return static_cast<uint64_t>(sequence) << 32 | static_cast<uint64_t>(step);
}

}  // namespace gru
