#include <doctest/doctest.h>

#include "random.hpp"

namespace gru {
namespace {

TEST_CASE("Philox4x32-10 gives the published answers") {
  const Philox zero = philox(0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5u);
  CHECK(zero.word[1] == 0xe169c58du);
  CHECK(zero.word[2] == 0xbc57ac4cu);
  CHECK(zero.word[3] == 0x9b00dbd8u);
  const Philox ones = philox(~0ull, ~0ull, ~0ull);
  CHECK(ones.word[0] == 0x408f276du);
  CHECK(ones.word[1] == 0x41c83b0eu);
  CHECK(ones.word[2] == 0xa20bc7c6u);
  CHECK(ones.word[3] == 0x6d5451fdu);
}

TEST_CASE("dropout keeps about 1 - rate and rescales what it keeps") {
  std::vector<double> x(100000, 1.0);
  drop_row(x.data(), static_cast<int64_t>(x.size()), 0.3, 5, 0, 9, 1);
  double sum = 0;
  int64_t kept = 0;
  for (const double value : x) {
    CHECK_MESSAGE((value == 0.0 || value == 1 / 0.7), value);
    sum += value;
    kept += value != 0;
  }
  CHECK(static_cast<double>(kept) / 100000 == doctest::Approx(0.7).epsilon(0.01));
  CHECK(sum / 100000 == doctest::Approx(1.0).epsilon(0.01));
}

}  // namespace
}  // namespace gru
