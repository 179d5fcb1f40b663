// The random masks of recurrent layers: a function of the seed and of places alone, so that
// backward can draw them again.
#include <algorithm>

#include "masks.hpp"
#include "recurrent.hpp"

namespace gru {
namespace {

template <class R>
DropArgs<R> rows_of(DropArgs<R> args, Rows<R> x, int64_t rows, int64_t columns,
                    const int64_t* place, int64_t steps) {
  args.x = x.data;
  args.stride = x.stride;
  args.rows = rows;
  args.columns = columns;
  args.place = place;
  args.steps = steps;
  return args;
}

// Masks of `g.hidden` units in rows of `stride`; padding keeps what it is multiplied with.
template <class R>
void draw_masks(DropArgs<R> args, const Geometry& g, const Kernels<R>& kernels, R* masks,
                int64_t stride, int64_t rows, const int64_t* place, int64_t steps, int threads) {
  args.write = true;
  drop_rows(kernels, rows_of(args, {masks, stride, nullptr}, rows, g.hidden, place, steps),
            threads);
  if (g.hidden == g.field) return;
  for (int64_t row = 0; row < rows; ++row) {
    std::fill_n(masks + row * stride + g.hidden, g.field - g.hidden, R(1));
  }
}

}  // namespace

template <class R>
void draw_recurrent_masks(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                          const Schedule& schedule, uint64_t seed, int64_t layer, int64_t direction,
                          R* masks) {
  const double rate = spec.recurrent_dropout;
  const std::vector<int64_t> place(schedule.sequence.begin(), schedule.sequence.end());
  draw_masks(
      drop_args<R>(rate, kept_scale(rate), seed, stream_of(Mask::recurrent, layer, direction)), g,
      kernels, masks, g.field, schedule.batch, place.data(), 1, 1);
}

template <class R>
void draw_zones(const LayerSpec& spec, const Geometry& g, const Kernels<R>& kernels,
                const int64_t* place, int64_t rows, int64_t steps, uint64_t seed, int64_t layer,
                int64_t direction, int threads, R* masks) {
  constexpr Mask kZones[] = {Mask::zone_h, Mask::zone_c};
  const int64_t stride = g.layout.zones * g.field;
  for (int zone = 0; zone < g.layout.zones; ++zone) {
    draw_masks(drop_args<R>(spec.zoneout, 1, seed, stream_of(kZones[zone], layer, direction)), g,
               kernels, masks + zone * g.field, stride, rows, place, steps, threads);
  }
}

namespace {

// One mask a sequence: x[row] *= mask of the sequence of row `row` of the schedule.
template <class R>
void drop_by_sequence(double rate, const Kernels<R>& kernels, const Schedule& schedule,
                      uint64_t seed, uint64_t stream, Rows<R> x, int64_t width, int threads) {
  Scratch<R> masks(schedule.batch * width);
  DropArgs<R> args =
      rows_of(drop_args<R>(rate, kept_scale(rate), seed, stream), {masks.data(), width, nullptr},
              schedule.batch, width, static_cast<const int64_t*>(nullptr), 1);
  args.write = true;
  kernels.drop(args);
  parallel_ranges(schedule.length(), std::max<int64_t>(1, 4096 / (width * schedule.batch + 1)),
                  threads, [&](int64_t begin, int64_t end) {
                    for (int64_t step = begin; step < end; ++step) {
                      for (int32_t slot = 0; slot < schedule.active[step]; ++slot) {
                        const int64_t row = schedule.first[step] + slot;
                        const R* mask = masks.data() + schedule.sequence[slot] * width;
                        R* to = x.data + (x.at ? x.at[row] : row) * x.stride;
                        for (int64_t i = 0; i < width; ++i) to[i] *= mask[i];
                      }
                    }
                  });
}

}  // namespace

template <class R>
void drop_input(const LayerSpec& spec, const Packed<R>& packed, const Schedule& schedule,
                uint64_t seed, int64_t layer, Rows<R> x, int threads) {
  const int64_t width = packed.geometry->features(layer);
  if (layer > 0 && spec.dropout > 0) {
    const DropArgs<R> args = drop_args<R>(spec.dropout, kept_scale(spec.dropout), seed,
                                          stream_of(Mask::between_layers, layer - 1));
    drop_rows(*packed.kernels,
              rows_of(args, x, schedule.rows, width, schedule.position.data(), schedule.steps),
              threads);
  }
  if (spec.input_dropout > 0) {
    drop_by_sequence(spec.input_dropout, *packed.kernels, schedule, seed,
                     stream_of(Mask::input, layer), x, width, threads);
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
