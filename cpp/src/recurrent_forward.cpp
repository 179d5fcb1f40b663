// Forward pass of a recurrent layer: layers one after the other, directions and slices of the batch
// side by side, steps in chunks whose input product stays in cache.
#include <algorithm>

#include "masks.hpp"
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
  Scratch<int64_t> x_at, place;  // of each row, where they must be gathered
  Scratch<R> pre, enter;

  Chunk(const ForwardRun<R>& run, int64_t rows, int64_t width, bool gathered, bool zoned)
      : x_at(gathered ? rows : 0),
        place(gathered && zoned ? rows : 0),
        pre(rows * width),
        enter(zoned ? rows * run.g.layout.zones * run.g.field : 0) {}
};

// Row i of the slice is `at[row i of the schedule]`; no `at`: the row itself.
void gather(const Slice& slice, int64_t first, int64_t rows, const int64_t* at, int64_t* to) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = slice.row[static_cast<std::size_t>(first + i)];
    to[i] = at ? at[row] : row;
  }
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
  if (chunk.enter.size() == 0) return;
  const auto& position = part.reverse() ? run.schedule.reverse_position : run.schedule.position;
  const int64_t* place = position.data() + first;
  if (!whole) {
    gather(part.slice, first, rows, position.data(), chunk.place.data());
    place = chunk.place.data();
  }
  draw_zones(run.spec, g, *run.packed.kernels, place, rows, run.schedule.steps, run.seed, run.layer,
             part.direction, 1, chunk.enter.data());
  args.enter = chunk.enter.data();
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
  Chunk<R> chunk(run, most, width, !slice.row.empty(), run.training && run.spec.zoneout > 0);
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

// Rows to be written, with zeros in what pads them to whole lanes.
template <class R>
Recycled<R> padded_rows(const LayerTape<R>& tape, int64_t rows, int64_t width, int64_t stride) {
  Recycled<R> buffer(tape.memory, rows * stride);
  for (int64_t row = 0; row < rows && width < stride; ++row) {
    std::fill_n(buffer.data() + row * stride + width, stride - width, R(0));
  }
  return buffer;
}

// The caller's x as dense rows in schedule order, padded to whole lanes, for the tape.
template <class R>
Recycled<R> gather_input(const Geometry& g, const ForwardCall<R>& call, const Schedule& schedule) {
  const int64_t stride = g.stride(0);
  Recycled<R> rows = padded_rows<R>(*call.tape, schedule.rows, g.input, stride);
  for (int64_t row = 0; row < schedule.rows; ++row) {
    std::copy_n(call.x + schedule.position[row] * g.input, g.input, rows.data() + row * stride);
  }
  return rows;
}

// What training does to a layer's input rows before they are used: dropout between layers, and of
// the input.
template <class R>
void drop_rows_of(const LayerSpec& spec, const Packed<R>& packed, const ForwardCall<R>& call,
                  int64_t layer, R* x) {
  const Geometry& g = *packed.geometry;
  const Schedule& schedule = *call.schedule;
  const int64_t stride = g.stride(layer), width = g.features(layer);
  if (layer > 0 && spec.dropout > 0) {
    DropArgs<R> args = drop_args<R>(spec.dropout, kept_scale(spec.dropout), call.seed,
                                    stream_of(Mask::between_layers, layer - 1));
    args.x = x;
    args.stride = stride;
    args.rows = schedule.rows;
    args.columns = width;
    args.place = schedule.position.data();
    args.steps = schedule.steps;
    drop_rows(*packed.kernels, args, call.threads);
  }
  drop_input(spec, *packed.kernels, schedule.batch, schedule.steps, call.seed, layer,
             schedule.position.data(), schedule.rows, {x, stride, nullptr}, width);
}

// Where a tape that keeps states only will keep them.
template <class R>
void add_segments(LayerTape<R>& tape, const Geometry& g, const std::vector<int32_t>& first) {
  const int64_t batch = tape.schedule->batch, parts = 1 + g.layout.cell_state;
  const int64_t count = static_cast<int64_t>(first.size()) - 1;
  for (int64_t i = 0; i < g.layers * g.directions; ++i) {
    tape.segments.push_back(
        {first, Recycled<R>(tape.memory, count * batch * parts * g.field), batch, parts, g.field});
  }
}

// Memory for what the tape keeps of one layer; `run` is told where.
template <class R>
void add_saved(LayerTape<R>& tape, const Geometry& g, bool trace, ForwardRun<R>& run) {
  const bool is_gru = run.spec.kind == Kind::gru;
  const int64_t rows = tape.schedule->rows;
  for (int64_t direction = 0; direction < g.directions; ++direction) {
    if (!tape.segments.empty()) continue;
    tape.saved.emplace_back(tape.memory, rows * g.layout.saved * g.field);
    run.saved[direction] = tape.saved.back().data();
    if (!trace || !is_gru) continue;
    tape.update.emplace_back(tape.memory, rows * g.field);
    run.update[direction] = tape.update.back().data();
  }
  if (!tape.segments.empty()) {
    run.keep = &tape.segments[static_cast<std::size_t>(run.layer * g.directions)];
  }
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

template <class R>
Rows<const R> tape_input(const LayerTape<R>& tape, int64_t layer) {
  const Geometry& g = *tape.packed->geometry;
  if (tape.x && layer == 0) return {tape.x, g.input, tape.schedule->position.data()};
  const int64_t at = layer - (tape.x ? 1 : 0);
  return {tape.inputs[static_cast<std::size_t>(at)].data(), g.stride(layer), nullptr};
}

template <class R>
const int64_t* tape_input_reverse(const LayerTape<R>& tape, int64_t layer) {
  const Schedule& schedule = *tape.schedule;
  return (tape.x && layer == 0 ? schedule.reverse_position : schedule.reverse_row).data();
}

template <class R>
void recurrent_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                       const Plan& plan, const ForwardCall<R>& call) {
  const Geometry& g = *packed->geometry;
  const Schedule& schedule = *call.schedule;
  LayerTape<R>* tape = call.tape;
  const std::vector<Slice> slices = cut(schedule, plan.slices);
  if (call.y && schedule.ragged()) {
    std::fill_n(call.y, schedule.batch * schedule.steps * g.output(), R(0));
  }
  // Outputs of the layer below and of this one, where no tape keeps them.
  const int64_t inner_size = tape ? 0 : schedule.rows * g.stride(1);
  Scratch<R> inner[2] = {Scratch<R>(g.layers > 1 ? inner_size : 0),
                         Scratch<R>(g.layers > 2 ? inner_size : 0)};
  Rows<const R> x = {call.x, g.input, schedule.position.data()};
  const int64_t* x_at_reverse = schedule.reverse_position.data();
  const bool training = tape && !call.trace;
  if (tape) {
    tape->packed = packed;
    tape->seed = call.seed;
    if (call.x_stays && !tape->segments.empty() && spec.input_dropout == 0) {
      tape->x = call.x;
    } else {
      tape->inputs.push_back(gather_input(g, call, schedule));
      if (training) drop_rows_of(spec, *packed, call, 0, tape->inputs[0].data());
    }
    x = tape_input(*tape, 0);
    x_at_reverse = tape_input_reverse(*tape, 0);
  }
  for (int64_t layer = 0; layer < g.layers; ++layer) {
    Running<R> running(g, schedule.batch, training && spec.recurrent_dropout > 0);
    const bool top = layer == g.layers - 1;
    ForwardRun<R> run = {spec, g, schedule, *packed, running, layer, 0, schedule.length()};
    run.training = training;
    run.seed = call.seed;
    run.x = x;
    run.x_at_reverse = x_at_reverse;
    run.y = call.y;
    run.y_stride = g.output();
    run.y_at = schedule.position.data();
    run.y_at_reverse = schedule.reverse_position.data();
    run.first_state = call.state;
    run.last_state = call.last_state;
    if (!top) {
      if (tape) {
        tape->inputs.push_back(
            padded_rows<R>(*tape, schedule.rows, g.output(), g.stride(layer + 1)));
      }
      run.y = tape ? tape->inputs.back().data() : inner[layer & 1].data();
      run.y_stride = g.stride(layer + 1);
      run.y_at = nullptr;
      run.y_at_reverse = schedule.reverse_row.data();
    }
    if (tape) add_saved(*tape, g, call.trace, run);
    run_forward(run, plan, slices);
    if (top) continue;
    if (training) drop_rows_of(spec, *packed, call, layer + 1, run.y);
    x = {run.y, g.stride(layer + 1), nullptr};
    x_at_reverse = schedule.reverse_row.data();
  }
}

template <class R>
void limit_tape(const LayerSpec& spec, const Packed<R>& packed, int64_t parameters,
                const ForwardCall<R>& call) {
  const Geometry& g = *packed.geometry;
  const bool x_stays = call.x_stays && spec.input_dropout == 0;
  const Need need = need_of(g, *call.schedule, parameters, sizeof(R), x_stays);
  check_limit(need.least, call.memory_limit);
  if (need.whole > call.memory_limit) add_segments(*call.tape, g, need.first);
}

#define GRU_INSTANTIATE(R)                                                                      \
  template struct Running<R>;                                                                   \
  template void run_forward(const ForwardRun<R>&, const Plan&, const std::vector<Slice>&);      \
  template Rows<const R> tape_input(const LayerTape<R>&, int64_t);                              \
  template const int64_t* tape_input_reverse(const LayerTape<R>&, int64_t);                     \
  template void limit_tape(const LayerSpec&, const Packed<R>&, int64_t, const ForwardCall<R>&); \
  template void recurrent_forward(const LayerSpec&, const std::shared_ptr<const Packed<R>>&,    \
                                  const Plan&, const ForwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
