// Backward within a budget: the tape keeps the states at the beginnings of segments of steps, and
// backward runs each segment again.
#pragma once

#include <algorithm>
#include <vector>

#include "geometry.hpp"
#include "recycled.hpp"

namespace gru {

// States at the beginning of each segment: [segment][slot][h, c][field] of one direction of one
// layer.
template <class R>
struct Segments {
  std::vector<int32_t> first;  // step each begins with, and the number of steps
  Recycled<R> states;
  int64_t slots, parts, field;

  int64_t count() const { return static_cast<int64_t>(first.size()) - 1; }
  // The segment that begins with a step, or -1.
  int64_t find(int32_t step) const;
  R* state(int64_t segment, int64_t slot, int64_t part) {
    return states.data() + ((segment * slots + slot) * parts + part) * field;
  }
  const R* state(int64_t segment, int64_t slot, int64_t part) const {
    return const_cast<Segments*>(this)->state(segment, slot, part);
  }
};

// Rows whose gate gradients backward keeps at a time, one step's at least: enough to make the
// weight gradients' products worthwhile, then as many as fit half of L2.
inline int64_t gradient_rows(int64_t row_bytes) {
  return std::max<int64_t>(256, 512 * 1024 / row_bytes);
}

// Bytes that tape and working memory of forward and backward take, and how to make them the least.
struct Need {
  int64_t whole;  // of the whole tape
  int64_t least;  // in segments, or of the whole tape if that is less
  std::vector<int32_t>
      first;  // steps that segments begin with, and the number of steps; empty: none
};
// x_stays: the caller's x need not be copied.
Need need_of(const Geometry& g, const Schedule& schedule, int64_t parameters, int64_t element_bytes,
             bool x_stays);

// Throws std::invalid_argument where `limit` is below the least that would do.
void check_limit(int64_t least, int64_t limit);

}  // namespace gru
