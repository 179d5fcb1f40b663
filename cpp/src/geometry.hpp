// The sizes of a recurrent layer, derived once from its spec and the kernels' lanes.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "cell_layout.hpp"
#include "gru/types.hpp"
#include "schedule.hpp"

namespace gru {

Cell cell_of(const LayerSpec& spec);

struct Geometry {
  Cell cell;
  CellLayout layout;
  int lanes;
  int64_t layers, directions, input, hidden;
  int64_t field;  // hidden, padded to whole lanes
  bool reversed;  // the only direction is the backward one
  double z_sign;
  int64_t zoned;  // numbers of a row that zoneout draws in training: zones of field units; 0: none

  Geometry(const LayerSpec& spec, int lanes_)
      : cell(cell_of(spec)),
        layout(kCellLayout[cell]),
        lanes(lanes_),
        layers(spec.num_layers),
        directions(spec.directions()),
        input(spec.input_size),
        hidden(spec.hidden_size),
        field(round_up(spec.hidden_size, lanes_)),
        reversed(spec.direction == "reverse"),
        z_sign(spec.update_gate == "new" ? 1.0 : -1.0),
        zoned(spec.zoneout > 0 ? layout.zones * field : 0) {}

  // dropped: with recurrent dropout.
  int64_t grads_stride(bool dropped) const { return grads_row(layout, field, lanes, dropped); }
  int64_t blocks() const { return field / lanes; }
  int64_t output() const { return directions * hidden; }
  // Features of layer l's input, and the same padded to whole lanes.
  int64_t features(int64_t layer) const { return layer == 0 ? input : output(); }
  int64_t stride(int64_t layer) const { return round_up(features(layer), lanes); }
  bool backward_in_time(int64_t direction) const { return reversed || direction == 1; }
};

// Where one direction of one layer finds its parameters in the block; null: no bias, no layer
// normalisation.
template <class R>
struct DirectionParameters {
  R *weight_ih, *weight_hh, *bias_ih, *bias_hh, *norm_ih, *norm_hh;
};

template <class R>
DirectionParameters<R> direction_parameters(const LayerSpec& spec,
                                            const std::vector<Parameter>& parameters, R* block,
                                            int64_t layer, int64_t direction) {
  const bool norm = spec.kind == Kind::gru && spec.layer_norm;
  const std::size_t before_norm = spec.bias ? 4 : 2, each = before_norm + (norm ? 2 : 0);
  const std::size_t at = static_cast<std::size_t>(layer * spec.directions() + direction) * each;
  const auto find = [&](bool there, std::size_t i) {
    return there ? block + parameters[at + i].offset : nullptr;
  };
  return {find(true, 0),      find(true, 1),           find(spec.bias, 2),
          find(spec.bias, 3), find(norm, before_norm), find(norm, before_norm + 1)};
}

// Copies a state's row (B, N * D, H) of one layer and direction to its slot [slot][field], or back:
// units [unit0, unit1) of it.
struct StateRows {
  const Geometry& g;
  const Schedule& schedule;
  int64_t layer, direction;
  int64_t unit0, unit1;

  int64_t outside(int64_t slot) const {
    const int64_t rows = g.layers * g.directions;
    return (schedule.sequence[slot] * rows + layer * g.directions + direction) * g.hidden;
  }
  template <class R>
  void read(const R* state, R* slots, int64_t slot) const {
    if (!state) return;
    std::copy(state + outside(slot) + unit0, state + outside(slot) + unit1,
              slots + slot * g.field + unit0);
  }
  template <class R>
  void write(const R* slots, R* state, int64_t slot) const {
    if (!state) return;
    std::copy(slots + slot * g.field + unit0, slots + slot * g.field + unit1,
              state + outside(slot) + unit0);
  }
};

}  // namespace gru
