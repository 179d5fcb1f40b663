#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "dispatch.hpp"
#include "gru/gru.hpp"
#include "masks.hpp"
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
  DropArgs<double> args = drop_args<double>(0.3, kept_scale(0.3), 5, 0);
  args.x = x.data();
  args.rows = 1;
  args.columns = static_cast<int64_t>(x.size());
  args.first = 9;
  active_kernels<double>().drop(args);
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

// The kernels draw many counters side by side; here one after the other. What stands beside a row
// stays as it is.
template <class R>
void check_drops(int64_t columns, bool write) {
  const int64_t rows = 7, stride = columns + 2;
  const int64_t place[] = {14, 3, 0, 4, 5, 12, 24};
  std::vector<R> x(static_cast<std::size_t>(rows * stride), R(2));
  DropArgs<R> args = drop_args<R>(0.4, 1.5, 0x123456789abcdefULL, 77);
  args.x = x.data();
  args.rows = rows;
  args.stride = stride;
  args.columns = columns;
  args.place = place;
  args.steps = 5;
  args.write = write;
  active_kernels<R>().drop(args);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < stride; ++i) {
      const uint64_t sequence = static_cast<uint64_t>(place[row] / 5);
      const uint64_t step = static_cast<uint64_t>(place[row] % 5);
      const Philox bits =
          philox(0x123456789abcdefULL, uint64_t(77) << 40 | static_cast<uint64_t>(i / 8 * 8),
                 sequence << 32 | step);
      const uint32_t word = bits.word[i % 8 / 2], half = i % 2 ? word >> 16 : word & 0xffff;
      const bool dropped = half < std::round(0.4 * 65536);
      const R wanted = i >= columns ? R(2) : dropped ? R(0) : write ? R(1.5) : R(3);
      CHECK(x[static_cast<std::size_t>(row * stride + i)] == wanted);
    }
  }
}

TEST_CASE("every instruction set drops the elements whose bits are below the rate") {
  const std::string before = active_isa();
  for (const std::string& isa : isa_levels()) {
    set_isa(isa);
    for (const int64_t columns : {1, 3, 4, 8, 13, 16, 17, 32, 33, 64, 65, 200}) {
      for (const bool write : {false, true}) {
        check_drops<float>(columns, write);
        check_drops<double>(columns, write);
      }
    }
  }
  set_isa(before);
}

}  // namespace
}  // namespace gru
