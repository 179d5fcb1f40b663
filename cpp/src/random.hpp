// Random bits that depend on a key and a counter alone, so that neither threads nor order matter.
#pragma once

#include <cstdint>
#include <vector>

namespace gru {

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
struct Philox {
  uint32_t word[4];
};

inline Philox philox(uint64_t key, uint64_t high, uint64_t low) {
  constexpr uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  Philox c = {{static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
               static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(kMultiply0) * c.word[0], p1 = uint64_t(kMultiply1) * c.word[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.word[1] ^ k0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.word[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

// Dropout of one row: x[i] *= mask[i] / (1 - rate), the mask drawn from (seed, stream, sequence,
// step, i), so that neither padding nor threads show. Calling it on the gradient is dropout's
// backward.
template <class R>
void drop_row(R* x, int64_t count, double rate, uint64_t seed, uint64_t stream, uint64_t sequence,
              uint64_t step) {
  const R scale = rate < 1 ? static_cast<R>(1 / (1 - rate)) : R(0);
  const double threshold = rate * 4294967296.0;
  for (int64_t i = 0; i < count; i += 4) {
    const Philox bits =
        philox(seed, stream << 40 | static_cast<uint64_t>(i), sequence << 32 | step);
    for (int64_t j = 0; j < 4 && i + j < count; ++j) {
      x[i + j] = bits.word[j] < threshold ? R(0) : x[i + j] * scale;
    }
  }
}

// Dropout of rows of `width` elements, `stride` apart; row i is position[i] = sequence * steps +
// step.
template <class R>
void drop_rows(R* x, int64_t stride, int64_t width, const std::vector<int64_t>& position,
               int64_t steps, double rate, uint64_t seed, uint64_t stream) {
  for (std::size_t row = 0; row < position.size(); ++row) {
    drop_row(x + static_cast<int64_t>(row) * stride, width, rate, seed, stream,
             static_cast<uint64_t>(position[row] / steps),
             static_cast<uint64_t>(position[row] % steps));
  }
}

}  // namespace gru
