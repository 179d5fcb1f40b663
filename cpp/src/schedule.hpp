// What lengths, masks and direction mean to the engine: a list of steps. Kernels see no mask.
#pragma once

#include <cstdint>
#include <vector>

namespace gru {

// Valid steps of a batch, padded positions left out. Sequences are sorted by their number of valid
// steps, longest first, into slots; step s is the s-th valid step of each, so the active slots of a
// step are the first ones and never grow in number. A "row" is one (step, slot), numbered step by
// step. Position p = b * T + t is a step's place in the caller's array.
struct Schedule {
  int64_t batch = 0, steps = 0;   // of the caller's array; steps is T
  int64_t rows = 0;               // valid steps in all
  std::vector<int32_t> sequence;  // slot -> sequence
  std::vector<int32_t> count;     // slot -> valid steps
  std::vector<int32_t> active;    // step -> active slots
  std::vector<int64_t> first;     // step -> its first row; one more entry at the end
  std::vector<int64_t> position;  // row -> position
  // The backward direction visits each sequence's valid steps in the opposite order, so its steps
  // have the same active slots. Row of that direction -> row above, and -> position.
  std::vector<int64_t> reverse_row, reverse_position;

  int32_t length() const { return static_cast<int32_t>(active.size()); }
  bool ragged() const { return rows < batch * steps; }
};

// lengths: [batch] in [0, steps], or null; mask: [batch][steps], or null; at most one of them.
Schedule make_schedule(int64_t batch, int64_t steps, const int64_t* lengths, const uint8_t* mask);

// Slots [slot0, slot1) of a schedule, for one thread, with rows numbered within the slice.
struct Slice {
  int32_t slot0 = 0, slot1 = 0;
  std::vector<int64_t> first;  // step -> row within the slice; empty: the schedule's own, all of it
  std::vector<int64_t> row;    // row within the slice -> row of the schedule; empty: the same
};

// At most `parts` slices of about equal numbers of valid steps.
std::vector<Slice> cut(const Schedule& schedule, int parts);

}  // namespace gru
