// Builds schedules and cuts them into slices.
#include "schedule.hpp"

#include <algorithm>
#include <numeric>

namespace gru {
namespace {

// Valid time indices of one sequence, in order.
template <class Visit>
void each_valid(int64_t sequence, int64_t steps, const int64_t* lengths, const uint8_t* mask,
                Visit visit) {
  const int64_t length = lengths ? lengths[sequence] : steps;
  for (int64_t t = 0; t < length; ++t) {
    if (!mask || mask[sequence * steps + t]) visit(t);
  }
}

}  // namespace

Schedule make_schedule(int64_t batch, int64_t steps, const int64_t* lengths, const uint8_t* mask) {
  Schedule s;
  s.batch = batch;
  s.steps = steps;
  std::vector<int32_t> counts(static_cast<std::size_t>(batch));
  for (int64_t b = 0; b < batch; ++b) {
    int32_t count = 0;
    each_valid(b, steps, lengths, mask, [&](int64_t) { ++count; });
    counts[b] = count;
  }
  s.sequence.resize(counts.size());
  std::iota(s.sequence.begin(), s.sequence.end(), 0);
  std::stable_sort(s.sequence.begin(), s.sequence.end(),
                   [&](int32_t a, int32_t b) { return counts[a] > counts[b]; });
  for (const int32_t b : s.sequence) s.count.push_back(counts[b]);

  const int32_t longest = batch > 0 ? s.count[0] : 0;
  s.active.resize(longest);
  s.first.resize(longest + 1, 0);
  int64_t slots = batch;
  for (int32_t step = 0; step < longest; ++step) {
    while (s.count[slots - 1] <= step) --slots;
    s.active[step] = static_cast<int32_t>(slots);
    s.first[step + 1] = s.first[step] + slots;
  }
  s.rows = s.first[longest];

  s.position.resize(s.rows);
  s.reverse_row.resize(s.rows);
  s.reverse_position.resize(s.rows);
  for (int64_t slot = 0; slot < batch; ++slot) {
    int32_t step = 0;
    each_valid(s.sequence[slot], steps, lengths, mask, [&](int64_t t) {
      const int64_t row = s.first[step] + slot, mirrored = s.first[s.count[slot] - 1 - step] + slot;
      const int64_t position = s.sequence[slot] * steps + t;
      s.position[row] = position;
      s.reverse_row[mirrored] = row;
      s.reverse_position[mirrored] = position;
      ++step;
    });
  }
  return s;
}

std::vector<Slice> cut(const Schedule& schedule, int parts) {
  const int32_t slots = static_cast<int32_t>(schedule.batch);
  parts = std::max(1, std::min(parts, slots));
  std::vector<Slice> slices;
  if (parts == 1) {
    slices.push_back({0, slots, {}, {}});
    return slices;
  }
  // A sequence costs its steps and a little more, so that empty ones find a slice too.
  int64_t left = schedule.rows + slots;
  int32_t slot = 0;
  for (int part = 0; part < parts && slot < slots; ++part) {
    Slice slice;
    slice.slot0 = slot;
    const int64_t share = (left + parts - part - 1) / (parts - part);
    int64_t taken = 0;
    while (slot < slots && (taken < share || part == parts - 1))
      taken += schedule.count[slot++] + 1;
    left -= taken;
    slice.slot1 = slot;
    slices.push_back(slice);
  }
  for (Slice& slice : slices) {
    slice.first.reserve(static_cast<std::size_t>(schedule.length()) + 1);
    int64_t all = 0;
    for (int32_t i = slice.slot0; i < slice.slot1; ++i) all += schedule.count[i];
    slice.row.reserve(static_cast<std::size_t>(all));
    slice.first.push_back(0);
    for (int32_t step = 0; step < schedule.length(); ++step) {
      const int32_t end = std::min(schedule.active[step], slice.slot1);
      const int32_t rows = std::max(0, end - slice.slot0);
      for (int32_t i = 0; i < rows; ++i) {
        slice.row.push_back(schedule.first[step] + slice.slot0 + i);
      }
      slice.first.push_back(slice.first.back() + rows);
    }
  }
  return slices;
}

}  // namespace gru
