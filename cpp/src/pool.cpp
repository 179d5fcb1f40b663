// Pooling over the valid steps of each sequence: last, mean and max.
#include <algorithm>

#include "stateless.hpp"

namespace gru {
namespace {

// Position of the i-th valid step of a slot's sequence.
int64_t position_of(const Schedule& s, int64_t slot, int32_t i) {
  return s.position[s.first[i] + slot];
}

// For each slot with a valid step, the runs of features that "last" takes: body(sequence, position,
// from feature, to feature).
template <class Body>
void each_last(const LayerSpec& spec, const Schedule& s, int64_t features, Body body) {
  const int64_t half = spec.bidirectional ? features / 2 : features;
  for (int64_t slot = 0; slot < s.batch && s.count[slot] > 0; ++slot) {
    body(s.sequence[slot], position_of(s, slot, s.count[slot] - 1), int64_t(0), half);
    if (half < features) body(s.sequence[slot], position_of(s, slot, 0), half, features);
  }
}

// Every valid step, in time order within a sequence: body(sequence, position, its valid steps).
template <class Body>
void each_step(const Schedule& s, Body body) {
  for (int64_t slot = 0; slot < s.batch; ++slot) {
    for (int32_t i = 0; i < s.count[slot]; ++i) {
      body(s.sequence[slot], position_of(s, slot, i), s.count[slot]);
    }
  }
}

// -> [sequence][feature] position of the largest value (the first of equals; NaN wins).
template <class R>
std::vector<int64_t> winners(const Schedule& s, const R* x, int64_t features) {
  std::vector<int64_t> best(static_cast<std::size_t>(s.batch * features), -1);
  each_step(s, [&](int64_t sequence, int64_t position, int32_t) {
    for (int64_t i = 0; i < features; ++i) {
      int64_t& at = best[static_cast<std::size_t>(sequence * features + i)];
      const R value = x[position * features + i];
      if (at < 0 || beats(value, x[at * features + i])) {
        at = position;
      }
    }
  });
  return best;
}

}  // namespace

template <class R>
void pool_forward(const LayerSpec& spec, const ForwardCall<R>& call) {
  const Schedule& s = *call.schedule;
  const int64_t features = call.in.features;
  R* y = call.y;
  std::fill_n(y, call.in.batch * features, R(0));
  if (spec.pool == "last") {
    each_last(spec, s, features, [&](int64_t sequence, int64_t at, int64_t from, int64_t to) {
      std::copy(call.x + at * features + from, call.x + at * features + to,
                y + sequence * features + from);
    });
  } else if (spec.pool == "mean") {
    each_step(s, [&](int64_t sequence, int64_t at, int32_t) {
      for (int64_t i = 0; i < features; ++i)
        y[sequence * features + i] += call.x[at * features + i];
    });
    for (int64_t slot = 0; slot < s.batch; ++slot) {
      if (s.count[slot] == 0) continue;
      R* row = y + s.sequence[slot] * features;
      for (int64_t i = 0; i < features; ++i) row[i] = mean_of(row[i], s.count[slot]);
    }
  } else {
    std::vector<int64_t> best = winners(s, call.x, features);
    for (std::size_t i = 0; i < best.size(); ++i) {
      if (best[i] >= 0) y[i] = call.x[best[i] * features + static_cast<int64_t>(i) % features];
    }
    if (call.tape) call.tape->indices = std::move(best);
  }
}

template <class R>
void pool_backward(const LayerSpec& spec, const BackwardCall<R>& call) {
  if (!call.dx) return;
  const LayerTape<R>& tape = *call.tape;
  const Schedule& s = *tape.schedule;
  const int64_t features = tape.in.features;
  std::fill_n(call.dx, tape.in.size(), R(0));
  if (spec.pool == "last") {
    each_last(spec, s, features, [&](int64_t sequence, int64_t at, int64_t from, int64_t to) {
      std::copy(call.dy + sequence * features + from, call.dy + sequence * features + to,
                call.dx + at * features + from);
    });
  } else if (spec.pool == "mean") {
    each_step(s, [&](int64_t sequence, int64_t at, int32_t count) {
      for (int64_t i = 0; i < features; ++i) {
        call.dx[at * features + i] = mean_of(call.dy[sequence * features + i], count);
      }
    });
  } else {
    for (std::size_t i = 0; i < tape.indices.size(); ++i) {
      if (tape.indices[i] < 0) continue;
      call.dx[tape.indices[i] * features + static_cast<int64_t>(i) % features] = call.dy[i];
    }
  }
}

#define GRU_INSTANTIATE(R)                                             \
  template void pool_forward(const LayerSpec&, const ForwardCall<R>&); \
  template void pool_backward(const LayerSpec&, const BackwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
