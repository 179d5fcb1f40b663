// What backward holds of one recurrent layer while it walks back through its steps, and the
// products over the rows of a chunk: gradients of weights and of the input.
//
// Weight gradients are one chain a element over rows in descending order, continued from chunk to
// chunk through memory; threads split elements, never rows. So neither threads nor chunks show.
#pragma once

#include "recurrent.hpp"

namespace gru {

// Weight gradients as the kernels make them: padded, gates in the order of the windows.
template <class R>
struct Accumulated {
  Scratch<R> w;     // [w_grads fields * field][stride]
  Scratch<R> u[2];  // [u_grads fields * field][field]
  Scratch<R> bias;  // [grads fields * field]: sums of every field

  Accumulated(const Geometry& g, int64_t layer)
      : w(g.layout.w_grads.count * g.field * g.stride(layer)),
        u{Scratch<R>(g.layout.u_grads[0].count * g.field * g.field),
          Scratch<R>(g.layout.u_grads[1].count * g.field * g.field)},
        bias(g.layout.grads * g.field) {
    w.zero();
    for (Scratch<R>& phase : u) phase.zero();
    bias.zero();
  }
};

// Rows that memory is made for.
struct MostRows {
  int64_t chunk;    // of gate gradients
  int64_t segment;  // of saved fields that are made again; 0: the tape has them all
};

template <class R>
struct DirectionRun {
  bool reverse;
  const Panels<R>* panels;
  const R* saved;              // [row - saved_first][field of saved][field]
  const R* enter;              // zoneout's masks: [row - saved_first][zone][field]
  Scratch<R> again, zones;     // saved and enter, where the tape kept states only
  Scratch<R> x;                // rows of a chunk's input, where the tape has the caller's
  Scratch<R> dh, dc, scratch;  // [slot][field]
  Scratch<R> drop, undropped;  // [slot][field], with recurrent dropout
  Scratch<R> flow;             // of a chunk, where asked for: [row][FlowField][field]
  Scratch<R> grads;            // of a chunk: [row][field of grads][field]
  Accumulated<R> sum;

  DirectionRun(const LayerSpec& spec, const Geometry& g, const LayerTape<R>& tape, int64_t layer,
               int64_t direction, const MostRows& most, bool flows)
      : reverse(g.backward_in_time(direction)),
        panels(&tape.packed->panels[static_cast<std::size_t>(layer * g.directions + direction)]),
        again(most.segment * g.layout.saved * g.field),
        zones(most.segment * g.zoned),
        x(tape.x && layer == 0 ? most.chunk * g.stride(0) : 0),
        dh(tape.schedule->batch * g.field),
        dc(g.layout.cell_state ? dh.size() : 0),
        scratch(g.layout.phases > 1 ? 2 * dh.size() : 0),
        drop(spec.recurrent_dropout > 0 ? dh.size() : 0),
        undropped(drop.size()),
        flow(flows ? most.chunk * kFlows * g.field : 0),
        grads(most.chunk * g.grads_stride(drop.size() > 0)),
        sum(g, layer) {
    const std::size_t at = static_cast<std::size_t>(layer * g.directions + direction);
    saved = tape.segments.empty() ? tape.saved[at].data() : again.data();
    enter = tape.zones.empty() ? zones.data() : tape.zones[at].data();
    dh.zero();
    dc.zero();
    x.zero();
    if (drop.size() == 0) return;
    draw_recurrent_masks(spec, g, *tape.packed->kernels, *tape.schedule, tape.seed, layer,
                         direction, drop.data());
  }
};

template <class R>
struct BackwardRun {
  const LayerSpec& spec;
  const Geometry& g;
  const BackwardCall<R>& call;
  const Schedule& schedule;
  const Kernels<R>& kernels;
  int64_t layer;
  int64_t grads_stride;
  int64_t saved_first;  // row that saved fields begin with
  Rows<const R> dy[2];  // by direction
  Rows<R> dx[2];        // null data: not wanted
  DirectionRun<R>* directions[2];
};

// Continues the weight gradients over a chunk: `rows` rows from row `first` of the schedule on,
// whose gate gradients are there.
template <class R>
void accumulate_weights(BackwardRun<R>& run, int64_t first, int64_t rows);

// dx += W^T of a chunk's gate gradients. Each direction's part is one chain from zero, so their sum
// does not depend on which of them reaches a row first.
template <class R>
void accumulate_inputs(const BackwardRun<R>& run, int64_t direction, int64_t first, int64_t rows);

// The whole sums, in the parameter block's own layout.
template <class R>
void write_gradients(const Layer<R>& layer, const BackwardRun<R>& run, int64_t direction);

}  // namespace gru
