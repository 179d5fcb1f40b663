// The random masks of recurrent layers: drawn again in backward, never kept.
#include <algorithm>

#include "masks.hpp"
#include "recurrent.hpp"

namespace gru {
namespace {

// One row of masks for each of `rows`, which start at `place`.
template <class R>
DropArgs<R> one_row_each(DropArgs<R> args, R* masks, int64_t rows, int64_t stride, int64_t columns,
                         const int64_t* place) {
  args.x = masks;
  args.rows = rows;
  args.stride = stride;
  args.columns = columns;
  args.place = place;
  return args;
}

}  // namespace

template <class R>
void draw_recurrent_masks(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                          const Schedule& schedule, uint64_t seed, int64_t layer, int64_t direction,
                          R* masks) {
  const double rate = spec.recurrent_dropout;
  std::fill_n(masks, schedule.batch * g.field, R(1));
  const std::vector<int64_t> place(schedule.sequence.begin(), schedule.sequence.end());
  kernels.drop(one_row_each(
      drop_args<R>(rate, kept_scale(rate), seed, stream_of(Mask::recurrent, layer, direction)),
      masks, schedule.batch, g.field, g.hidden, place.data()));
}

template <class R>
void draw_zones(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                const int64_t* place, int64_t rows, int64_t steps, uint64_t seed, int64_t layer,
                int64_t direction, int threads, R* masks) {
  constexpr Mask kZones[] = {Mask::zone_h, Mask::zone_c};
  const int64_t stride = g.layout.zones * g.field;
  std::fill_n(masks, rows * stride, R(1));
  for (int zone = 0; zone < g.layout.zones; ++zone) {
    DropArgs<R> args =
        one_row_each(drop_args<R>(spec.zoneout, 1, seed, stream_of(kZones[zone], layer, direction)),
                     masks + zone * g.field, rows, stride, g.hidden, place);
    args.steps = steps;
    drop_rows(kernels, args, threads);
  }
}

namespace {

// One mask a sequence: x[row] *= mask of the sequence of row `row` of the schedule.
template <class R>
void drop_by_sequence(double rate, const Kernels<R>& kernels, const Schedule& schedule,
                      uint64_t seed, uint64_t stream, Rows<R> x, int64_t width) {
  Scratch<R> masks(schedule.batch * width);
  std::fill_n(masks.data(), masks.size(), R(1));
  kernels.drop(one_row_each(drop_args<R>(rate, kept_scale(rate), seed, stream), masks.data(),
                            schedule.batch, width, width, static_cast<const int64_t*>(nullptr)));
  for (int64_t row = 0; row < schedule.rows; ++row) {
    const int64_t place = schedule.position[static_cast<std::size_t>(row)];
    const R* mask = masks.data() + place / schedule.steps * width;
    R* to = x.data + (x.at ? x.at[row] : row) * x.stride;
    for (int64_t i = 0; i < width; ++i) to[i] *= mask[i];
  }
}

}  // namespace

template <class R>
void drop_input(const LayerSpec& spec, const Packed<R>& packed, const Schedule& schedule,
                uint64_t seed, int64_t layer, Rows<R> x, int threads) {
  const int64_t width = packed.geometry->features(layer);
  if (layer > 0 && spec.dropout > 0) {
    DropArgs<R> args =
        one_row_each(drop_args<R>(spec.dropout, kept_scale(spec.dropout), seed,
                                  stream_of(Mask::between_layers, layer - 1)),
                     x.data, schedule.rows, x.stride, width, schedule.position.data());
    args.steps = schedule.steps;
    drop_rows(*packed.kernels, args, threads);
  }
  if (spec.input_dropout > 0) {
    drop_by_sequence(spec.input_dropout, *packed.kernels, schedule, seed,
                     stream_of(Mask::input, layer), x, width);
  }
}

#define GRU_INSTANTIATE(R)                                                                         \
  template void draw_recurrent_masks(const LayerSpec&, const Geometry&, const Kernels<R>&,         \
                                     const Schedule&, uint64_t, int64_t, int64_t, R*);             \
  template void draw_zones(const LayerSpec&, const Geometry&, const Kernels<R>&, const int64_t*,   \
                           int64_t, int64_t, uint64_t, int64_t, int64_t, int, R*);                 \
  template void drop_input(const LayerSpec&, const Packed<R>&, const Schedule&, uint64_t, int64_t, \
                           Rows<R>, int);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
