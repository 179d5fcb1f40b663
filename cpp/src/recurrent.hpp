// Recurrent layers: stacking, directions, lengths, workspaces and the tape; knows no gate and no
// lane.
#pragma once

#include "call.hpp"
#include "scratch.hpp"

namespace gru {

template <class R>
std::shared_ptr<const Packed<R>> pack_recurrent(const Layer<R>& layer, const R* block,
                                                const Kernels<R>& kernels, bool backward);

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const Plan& plan, const ForwardCall<R>& call);

template <class R>
void recurrent_backward(const Layer<R>& layer, const Plan& plan, const BackwardCall<R>& call);

// Makes the call's tape one that keeps states only, if the whole would not fit call.memory_limit.
template <class R>
void limit_tape(const LayerSpec& spec, const Packed<R>& packed, int64_t parameters,
                const ForwardCall<R>& call);

// State of one layer while it is swept: [direction][slot][field] each, h twice (read and written).
template <class R>
struct Running {
  Scratch<R> h[2], c, scratch;
  Scratch<R> raw;               // normalised cells, where nothing is saved
  Scratch<R> drop, dropped[2];  // recurrent dropout: masks, and drop * h beside h

  Running(const Geometry& g, int64_t batch, bool drops);
};

// One layer run over steps [begin, end) by a forward pass; or run again by backward, where the tape
// kept only the states at the beginnings of segments.
template <class R>
struct ForwardRun {
  const LayerSpec& spec;
  const Geometry& g;
  const Schedule& schedule;
  const Packed<R>& packed;
  Running<R>& running;
  int64_t layer;
  int32_t begin, end;
  bool training = false;
  uint64_t seed = 0;
  Rows<const R> x = {};  // forward direction: by row; `at` is null where rows are dense
  const int64_t* x_at_reverse = nullptr;
  R* y = nullptr;  // null: not wanted
  int64_t y_stride = 0;
  const int64_t *y_at = nullptr, *y_at_reverse = nullptr;
  StateView<const R> first_state = {};  // of the caller; taken up at step 0
  StateView<R> last_state = {};         // filled after the last step of all
  const Segments<R>* resume = nullptr;  // begin is a segment's: its state is taken up
  Segments<R>* keep = nullptr;          // keeps the state at the beginning of each
  R *saved[2] = {}, *update[2] = {};    // as the kernels' arguments
  const R* enter[2] = {};               // zoneout's masks [row - saved_first]; null: drawn here
  int64_t saved_first = 0;
};
template <class R>
void run_forward(const ForwardRun<R>& run, const Plan& plan, const std::vector<Slice>& slices);

// The caller's x, or what a layer below gave, for a layer of a tape.
template <class R>
Rows<const R> tape_input(const LayerTape<R>& tape, int64_t layer);
// And where its rows are in the backward direction of time.
template <class R>
const int64_t* tape_input_reverse(const LayerTape<R>& tape, int64_t layer);

// Masks of recurrent dropout: [slot][field], 0 or the scale of what is kept.
template <class R>
void draw_recurrent_masks(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                          const Schedule& schedule, uint64_t seed, int64_t layer, int64_t direction,
                          R* masks);

// Masks of zoneout for rows at these places: [row][zone][field], 1 where the new state enters.
template <class R>
void draw_zones(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                const int64_t* place, int64_t rows, int64_t steps, uint64_t seed, int64_t layer,
                int64_t direction, int threads, R* masks);

// Drops a layer's input, or its gradient: dropout between layers (`at` is null there) and of the
// input. Row i of x belongs to row i of the schedule.
template <class R>
void drop_input(const LayerSpec& spec, const Packed<R>& packed, const Schedule& schedule,
                uint64_t seed, int64_t layer, Rows<R> x, int threads);

}  // namespace gru
