#include <doctest/doctest.h>

#include "float_mode.hpp"
#include "gru/layer.hpp"
#include "schedule.hpp"

namespace gru {
namespace {

TEST_CASE("a schedule lists the valid steps, longest sequence first") {
  const int64_t lengths[] = {2, 0, 3};
  const Schedule s = make_schedule(3, 4, lengths, nullptr);
  CHECK(s.sequence == std::vector<int32_t>{2, 0, 1});
  CHECK(s.count == std::vector<int32_t>{3, 2, 0});
  CHECK(s.active == std::vector<int32_t>{2, 2, 1});
  CHECK(s.first == std::vector<int64_t>{0, 2, 4, 5});
  CHECK(s.position == std::vector<int64_t>{8, 0, 9, 1, 10});
  // Backward in time: sequence 2 visits 10, 9, 8 and sequence 0 visits 1, 0.
  CHECK(s.reverse_position == std::vector<int64_t>{10, 1, 9, 0, 8});
  for (std::size_t row = 0; row < s.position.size(); ++row) {
    CHECK(s.reverse_position[row] == s.position[static_cast<std::size_t>(s.reverse_row[row])]);
  }
  CHECK(s.ragged());
}

TEST_CASE("masked steps are absent") {
  const uint8_t mask[] = {1, 0, 1, 0, 0, 0, 1, 1};
  const Schedule s = make_schedule(2, 4, nullptr, mask);
  CHECK(s.position == std::vector<int64_t>{0, 6, 2, 7});
}

TEST_CASE("slices cover every slot once and every row once") {
  const int64_t lengths[] = {9, 1, 5, 0, 7, 3};
  const Schedule s = make_schedule(6, 9, lengths, nullptr);
  for (const int parts : {1, 2, 3, 4, 6, 50}) {
    std::vector<int> seen(static_cast<std::size_t>(s.rows), 0);
    int32_t slot = 0;
    const std::vector<Slice> slices = cut(s, parts);
    CHECK(slices.size() <= static_cast<std::size_t>(parts));
    for (const Slice& slice : slices) {
      CHECK(slice.slot0 == slot);
      slot = slice.slot1;
      for (const int64_t row : slice.row) ++seen[static_cast<std::size_t>(row)];
      if (slices.size() > 1) {
        CHECK(slice.first.back() == static_cast<int64_t>(slice.row.size()));
      }
    }
    CHECK(slot == 6);
    if (slices.size() > 1) CHECK(seen == std::vector<int>(seen.size(), 1));
  }
}

TEST_CASE("a length out of range is named") {
  const int64_t lengths[] = {1, 5};
  CHECK_THROWS_WITH(schedule_of(2, 4, lengths),
                    "lengths[1] must be from 0 to 4 (the steps of x), got 5");
}

#if defined(__x86_64__)
TEST_CASE("the floating-point mode is put back") {
  const unsigned before = _mm_getcsr();
  const unsigned odd = (before & ~0x8040u) | 0x6000u;  // subnormals kept, round towards zero
  _mm_setcsr(odd);
  {
    FloatMode mode;
    CHECK((_mm_getcsr() & 0xE040u) == 0x8040u);
  }
  CHECK(_mm_getcsr() == odd);
  _mm_setcsr(before);
}
#endif

}  // namespace
}  // namespace gru
