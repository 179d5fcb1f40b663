// Runs one recurrent layer over steps: directions and slices of the batch side by side, steps in
// chunks whose input product stays in cache. Knows no stack of layers and no tape.
#include <algorithm>

#include "parallel.hpp"
#include "plan.hpp"
#include "recurrent.hpp"

namespace gru {
namespace {

// Input products of a chunk of steps wait for the sweep in this much memory, a part of L2.
constexpr int64_t kChunkBytes = 256 * 1024;

// What one member of a team works on: a slice of the batch in one direction, and its share of the
// hidden units.
template <class R>
struct Part {
  const ForwardRun<R>& run;
  int64_t direction;
  const Slice& slice;
  Share share;
  int64_t unit0, unit1;
  R *h[2], *c, *drop, *dropped[2];  // [slot][field] of the direction

  Part(const ForwardRun<R>& run_, int64_t direction_, const Slice& slice_, Member& member)
      : run(run_),
        direction(direction_),
        slice(slice_),
        share(share_of(run_.g, member)),
        unit0(share.begin * run_.g.lanes),
        unit1(std::min<int64_t>(run_.g.hidden, share.end * run_.g.lanes)) {
    Running<R>& r = run.running;
    const int64_t base = direction * run.schedule.batch * run.g.field;
    c = run.g.layout.cell_state ? r.c.data() + base : nullptr;
    drop = r.drop.size() > 0 ? r.drop.data() + base : nullptr;
    for (int i = 0; i < 2; ++i) {
      h[i] = r.h[i].data() + base;
      dropped[i] = drop ? r.dropped[i].data() + base : nullptr;
    }
  }
  bool zoned() const { return run.training && run.g.zoned > 0; }
  const R* enter() const { return run.enter[direction]; }
  bool reverse() const { return run.g.backward_in_time(direction); }
  int64_t index() const { return run.layer * run.g.directions + direction; }
  // Slots of the slice that are active at a step.
  int32_t active_at(int32_t step) const {
    return std::min(slice.slot1, run.schedule.active[static_cast<std::size_t>(step)]);
  }
};

// Copies the state of the active slots at the beginning of a segment from what was kept, or to it.
template <class R>
void resume(const Part<R>& part, int64_t segment) {
  const Segments<R>& kept = part.run.resume[part.direction];
  const int32_t step = kept.first[static_cast<std::size_t>(segment)];
  for (int32_t slot = part.slice.slot0; slot < part.active_at(step); ++slot) {
    const int64_t at = slot * kept.field + part.unit0, count = part.unit1 - part.unit0;
    std::copy_n(kept.state(segment, slot, 0) + part.unit0, count, part.h[step & 1] + at);
    if (part.c) std::copy_n(kept.state(segment, slot, 1) + part.unit0, count, part.c + at);
  }
}

template <class R>
void keep(const Part<R>& part, int64_t segment) {
  Segments<R>& kept = part.run.keep[part.direction];
  const int32_t step = kept.first[static_cast<std::size_t>(segment)];
  for (int32_t slot = part.slice.slot0; slot < part.active_at(step); ++slot) {
    const int64_t at = slot * kept.field + part.unit0, count = part.unit1 - part.unit0;
    std::copy_n(part.h[step & 1] + at, count, kept.state(segment, slot, 0) + part.unit0);
    if (part.c) std::copy_n(part.c + at, count, kept.state(segment, slot, 1) + part.unit0);
  }
}

// Brings in the state of the first step.
template <class R>
void begin(const Part<R>& part) {
  const ForwardRun<R>& run = part.run;
  if (run.resume) {
    resume(part, run.resume->find(run.begin));
  } else {
    const StateRows rows{run.g, run.schedule, run.layer, part.direction, part.unit0, part.unit1};
    for (int32_t slot = part.slice.slot0; slot < part.slice.slot1; ++slot) {
      rows.read(run.first_state.h, part.h[0], slot);
      if (part.c) rows.read(run.first_state.c, part.c, slot);
    }
  }
  if (part.drop) {
    const R* h = part.h[run.begin & 1];
    R* to = part.dropped[run.begin & 1];
    for (int32_t slot = part.slice.slot0; slot < part.slice.slot1; ++slot) {
      for (int64_t i = part.unit0; i < part.unit1; ++i) {
        const int64_t at = slot * run.g.field + i;
        to[at] = h[at] * part.drop[at];
      }
    }
  }
  if (part.share.meet) part.share.meet(part.share.team);
}

template <class R>
void end(const Part<R>& part) {
  const ForwardRun<R>& run = part.run;
  if (run.end < run.schedule.length()) return;
  const StateRows rows{run.g, run.schedule, run.layer, part.direction, part.unit0, part.unit1};
  for (int32_t slot = part.slice.slot0; slot < part.slice.slot1; ++slot) {
    rows.write(part.h[run.schedule.count[slot] & 1], run.last_state.h, slot);
    if (part.c) rows.write(part.c, run.last_state.c, slot);
  }
}

template <class R>
ForwardArgs<R> sweep_args(const Part<R>& part) {
  const ForwardRun<R>& run = part.run;
  const Geometry& g = run.g;
  const Panels<R>& panels = run.packed.panels[static_cast<std::size_t>(part.index())];
  ForwardArgs<R> args = {};
  args.steps = {run.schedule.active.data(), run.schedule.first.data(), 0, 0,
                part.slice.slot0,           part.slice.slot1};
  args.share = part.share;
  args.hidden = static_cast<int>(g.hidden);
  for (int phase = 0; phase < g.layout.phases; ++phase) args.u[phase] = panels.u[phase].data();
  args.bias_h = panels.bias_h.data();
  args.z_sign = static_cast<R>(g.z_sign);
  args.norm = panels.norm.data();
  if (g.layout.norm) {
    args.raw = run.running.raw.data() + 6 * part.direction * run.schedule.batch * g.field;
  }
  args.c = part.c;
  args.drop = part.drop;
  for (int i = 0; i < 2; ++i) {
    args.h[i] = part.h[i];
    args.dropped[i] = part.dropped[i];
  }
  if (g.layout.phases > 1) {
    const int64_t base = part.direction * run.schedule.batch * g.field;
    args.scratch = run.running.scratch.data() + 2 * base;
  }
  args.saved = run.saved[part.direction];
  args.saved_first = run.saved_first;
  args.update = run.update[part.direction];
  args.enter_mean = run.training ? R(1) : static_cast<R>(1 - run.spec.zoneout);
  args.y = {run.y ? run.y + part.direction * g.hidden : nullptr, run.y_stride,
            part.reverse() ? run.y_at_reverse : run.y_at};
  return args;
}

// A chunk of steps of a slice: its rows, and room for what is made of them beforehand.
template <class R>
struct Chunk {
  Scratch<int64_t> x_at, at;  // of each row, where they must be gathered
  Scratch<R> pre, enter;

  Chunk(const Part<R>& part, int64_t rows, int64_t width)
      : x_at(gathered(part) ? rows : 0),
        at(gathered(part) && part.zoned() ? rows : 0),
        pre(rows * width),
        enter(part.zoned() && (gathered(part) || !part.enter()) ? rows * part.run.g.zoned : 0) {}
  static bool gathered(const Part<R>& part) { return !part.slice.row.empty(); }
};

// Row i of the slice is `at[row i of the schedule]`; no `at`: the row itself.
void gather(const Slice& slice, int64_t first, int64_t rows, const int64_t* at, int64_t* to) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = slice.row[static_cast<std::size_t>(first + i)];
    to[i] = at ? at[row] : row;
  }
}

// The zoneout masks of a chunk's rows: those that the tape keeps, or drawn here.
template <class R>
const R* masks_of(const Part<R>& part, int64_t first, int64_t rows, Chunk<R>& chunk) {
  const ForwardRun<R>& run = part.run;
  const bool whole = part.slice.row.empty();
  if (part.enter() && whole) return part.enter() + (first - run.saved_first) * run.g.zoned;
  if (part.enter()) {
    gather(part.slice, first, rows, nullptr, chunk.at.data());
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row = chunk.at.data()[i] - run.saved_first;
      std::copy_n(part.enter() + row * run.g.zoned, run.g.zoned,
                  chunk.enter.data() + i * run.g.zoned);
    }
    return chunk.enter.data();
  }
  const auto& position = part.reverse() ? run.schedule.reverse_position : run.schedule.position;
  const int64_t* place = position.data() + first;
  if (!whole) {
    gather(part.slice, first, rows, position.data(), chunk.at.data());
    place = chunk.at.data();
  }
  draw_zones(run.spec, run.g, *run.packed.kernels, place, rows, run.schedule.steps, run.seed,
             run.layer, part.direction, 1, chunk.enter.data());
  return chunk.enter.data();
}

// The input product of a chunk's rows, and the zoneout masks.
template <class R>
void prepare(const Part<R>& part, int64_t first, int64_t rows, Chunk<R>& chunk,
             ForwardArgs<R>& args) {
  const ForwardRun<R>& run = part.run;
  const Geometry& g = run.g;
  const Panels<R>& panels = run.packed.panels[static_cast<std::size_t>(part.index())];
  const bool whole = part.slice.row.empty();
  const int64_t* at = part.reverse() ? run.x_at_reverse : run.x.at;
  ProductArgs<R> product = {};
  product.a = {run.x.data, run.x.stride, at ? at + first : nullptr};
  if (!whole) {
    gather(part.slice, first, rows, at, chunk.x_at.data());
    product.a.at = chunk.x_at.data();
  } else if (!at) {
    product.a.data += first * run.x.stride;
  }
  const int64_t columns0 = g.layout.gates * part.unit0;
  product.rows = rows;
  product.segments = 1;
  product.depth = static_cast<int>(g.features(run.layer));
  product.panels = panels.w.data() + columns0 * product.depth;
  product.columns = g.layout.gates * (part.share.end - part.share.begin) * g.lanes;
  product.init = panels.init.data() + columns0;
  product.out = {chunk.pre.data(), product.columns, nullptr};
  run.packed.kernels->product(product);
  args.pre = chunk.pre.data();
  if (part.zoned()) args.enter = masks_of(part, first, rows, chunk);
}

// Sweeps one direction over one slice of the batch, state in to state out.
template <class R>
void run_part(const Part<R>& part) {
  const ForwardRun<R>& run = part.run;
  const Geometry& g = run.g;
  begin(part);
  // Rows are numbered within the slice.
  const Slice& slice = part.slice;
  const int64_t* first_of = slice.first.empty() ? run.schedule.first.data() : slice.first.data();
  const int64_t width = g.layout.gates * (part.share.end - part.share.begin) * g.lanes;
  const int64_t chunk_rows =
      std::max<int64_t>(8, kChunkBytes / (width * static_cast<int64_t>(sizeof(R))));
  // A chunk is one step at least, and no step has more rows than the first.
  const int64_t rows = first_of[run.end] - first_of[run.begin];
  const int64_t most =
      run.begin == run.end
          ? 0
          : std::min(rows, std::max(chunk_rows, first_of[run.begin + 1] - first_of[run.begin]));
  Chunk<R> chunk(part, most, width);
  ForwardArgs<R> args = sweep_args(part);
  args.pre_first = first_of;
  const Segments<R>* kept = run.keep ? &run.keep[part.direction] : nullptr;
  for (int32_t from = run.begin, to = from; from < run.end; from = to) {
    if (kept && kept->find(from) >= 0) keep(part, kept->find(from));
    const int64_t first = first_of[from];
    do ++to;
    while (to < run.end && first_of[to + 1] - first <= chunk_rows &&
           !(kept && kept->find(to) >= 0));
    if (first_of[to] == first) break;
    prepare(part, first, first_of[to] - first, chunk, args);
    args.steps.begin = from;
    args.steps.end = to;
    run.packed.kernels->forward[g.cell](args);
  }
  end(part);
}

}  // namespace

template <class R>
Running<R>::Running(const Geometry& g, int64_t batch, bool drops)
    : h{Scratch<R>(g.directions * batch * g.field), Scratch<R>(g.directions * batch * g.field)},
      c(g.layout.cell_state ? h[0].size() : 0),
      scratch(g.layout.phases > 1 ? 2 * h[0].size() : 0),
      raw(g.layout.norm ? 6 * h[0].size() : 0),
      drop(drops ? h[0].size() : 0),
      dropped{Scratch<R>(drop.size()), Scratch<R>(drop.size())} {
  for (Scratch<R>& state : h) state.zero();
  for (Scratch<R>& state : dropped) state.zero();
  c.zero();
}

template <class R>
void run_forward(const ForwardRun<R>& run, const Plan& plan, const std::vector<Slice>& slices) {
  const Geometry& g = run.g;
  for (int64_t i = 0; run.running.drop.size() > 0 && i < g.directions; ++i) {
    draw_recurrent_masks(run.spec, g, *run.packed.kernels, run.schedule, run.seed, run.layer, i,
                         run.running.drop.data() + i * run.schedule.batch * g.field);
  }
  const int64_t parts = static_cast<int64_t>(slices.size());
  parallel_teams(
      g.directions * parts, plan.members, plan.threads, [&](int64_t task, Member& member) {
        run_part(
            Part<R>(run, task / parts, slices[static_cast<std::size_t>(task % parts)], member));
      });
}

#define GRU_INSTANTIATE(R)    \
  template struct Running<R>; \
  template void run_forward(const ForwardRun<R>&, const Plan&, const std::vector<Slice>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
