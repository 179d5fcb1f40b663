// Chooses the segments of a tape that must fit a budget.
#include "segments.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gru {
namespace {

// Of each direction: a chunk of input products, and the strips of the weight gradients.
constexpr int64_t kStrips = 1024 * 1024;
// Packed for forward and for backward, the gradient's sums and the gradient.
constexpr int64_t kCopiesOfWeights = 4;

// Bytes that a call takes, by what they depend on.
struct Costs {
  int64_t fixed;        // whatever the segments
  int64_t whole_input;  // the first layer's input, as a tape keeps it
  int64_t saved_row;    // one row of one layer's saved fields, all directions
  int64_t state;        // the states of the batch at one step, all layers and directions
  int64_t layers;
};

// Working memory of forward and backward of one direction, in elements: chunks are one step at
// least, so they grow with the batch as the states do. Dropped states count, dropped or not.
int64_t working(const Geometry& g, const Schedule& s, int64_t element_bytes) {
  const int64_t step = s.rows > 0 ? s.first[1] : 0;
  const int64_t gradients = g.grads_stride(true);
  const int64_t rows = std::min(s.rows, std::max(gradient_rows(gradients * element_bytes), step));
  const int64_t two_phase = g.layout.phases > 1, c = g.layout.cell_state, norm = g.layout.norm;
  // h twice, dropped h twice, the masks twice, dh and U^T of its gates.
  const int64_t states = (8 + 2 * c + 4 * two_phase + 6 * norm) * g.field;
  const int64_t sum = rows * (gradients + g.stride(0)) +
                      step * (g.layout.gates * g.field + g.zoned) + s.batch * states;
  // Memory that is kept for the next call does not always fit what is asked for next.
  return sum + sum / 4;
}

Costs costs_of(const Geometry& g, const Schedule& s, int64_t parameters, int64_t element_bytes) {
  Costs c = {};
  // Inputs of the upper layers, and the gradients of two of them at a time.
  const int64_t inner = (g.layers - 1 + std::min<int64_t>(g.layers - 1, 2)) * g.stride(1);
  // Positions and rows both ways; a slice for a thread has numbers of its own.
  const int64_t schedule = s.rows * (s.batch > 1 ? 5 : 3) * 8 + s.length() * 12;
  c.fixed = kCopiesOfWeights * parameters * element_bytes + s.rows * inner * element_bytes +
            schedule + g.directions * (working(g, s, element_bytes) * element_bytes + kStrips);
  c.whole_input = s.rows * g.stride(0) * element_bytes;
  c.saved_row = g.directions * (g.layout.saved * g.field + g.zoned) * element_bytes;
  c.state = g.layers * g.directions * s.batch * (1 + g.layout.cell_state) * g.field * element_bytes;
  c.layers = g.layers;
  return c;
}

}  // namespace

template <class R>
int64_t Segments<R>::find(int32_t step) const {
  const auto at = std::lower_bound(first.begin(), first.end() - 1, step);
  return at != first.end() - 1 && *at == step ? at - first.begin() : -1;
}
template struct Segments<float>;
template struct Segments<double>;

Need need_of(const Geometry& g, const Schedule& s, int64_t parameters, int64_t element_bytes,
             bool x_stays) {
  const Costs c = costs_of(g, s, parameters, element_bytes);
  const int64_t whole = c.fixed + c.whole_input + c.layers * s.rows * c.saved_row;
  if (s.rows == 0) return {0, 0, {}};
  // states * rows / n + saved * n is least at n = sqrt(states * rows / saved).
  const auto best =
      static_cast<int64_t>(std::sqrt(static_cast<double>(c.state) * static_cast<double>(s.rows) /
                                     static_cast<double>(c.saved_row)));
  const int64_t rows = std::min(s.rows, std::max(best, s.first[1]));
  std::vector<int32_t> first = {0};
  for (int32_t step = 1; step < s.length(); ++step) {
    if (s.first[step + 1] - s.first[first.back()] > rows) first.push_back(step);
  }
  const int64_t cut = c.fixed + (x_stays ? 0 : c.whole_input) +
                      static_cast<int64_t>(first.size()) * c.state + rows * c.saved_row;
  if (cut >= whole) return {whole, whole, {}};
  first.push_back(s.length());
  return {whole, cut, std::move(first)};
}

void check_limit(int64_t least, int64_t limit) {
  if (least <= limit) return;
  throw std::invalid_argument("memory_limit must be at least " + std::to_string(least) +
                              " bytes for this call, got " + std::to_string(limit));
}

}  // namespace gru
