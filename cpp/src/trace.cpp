// Reads what a tape saved as arrays that a person can look at; runs nothing.
#include <algorithm>

#include "call.hpp"

namespace gru {
namespace {

// Where one named array comes from: a saved field, the tape's update gates, or the state that the
// next step found (field: what it is saved as), which after the last step is the final one.
struct Source {
  const char* name;
  enum Kind { field, update, state } kind;
  int at;
};

std::vector<Source> sources_of(const LayerSpec& spec) {
  using After = GruAfterFields;
  using Before = GruBeforeFields;
  if (spec.kind == Kind::lstm) {
    return {{"i", Source::field, LstmFields::kI}, {"f", Source::field, LstmFields::kF},
            {"g", Source::field, LstmFields::kG}, {"o", Source::field, LstmFields::kO},
            {"c", Source::state, LstmFields::kC}, {"h", Source::state, LstmFields::kH}};
  }
  if (spec.kind == Kind::rnn) {
    return {{"n", Source::field, RnnFields::kN}, {"h", Source::state, RnnFields::kH}};
  }
  return {{"r", Source::field, spec.reset_after ? int(After::kR) : int(Before::kR)},
          {"z", Source::update, 0},
          {"n", Source::field, spec.reset_after ? int(After::kN) : int(Before::kN)},
          {"h", Source::state, spec.reset_after ? int(After::kH) : int(Before::kH)}};
}

// One direction of one layer.
template <class R>
struct Reader {
  const Geometry& g;
  const Schedule& schedule;
  const R *saved, *update;
  int64_t index;  // layer * directions + direction

  const R* field(int64_t row, int at) const {
    return saved + (row * g.layout.saved + at) * g.field;
  }
  const R* find(const Source& source, int32_t step, int64_t slot, const R* last) const {
    const int64_t row = schedule.first[static_cast<std::size_t>(step)] + slot;
    if (source.kind == Source::update) return update + row * g.field;
    if (source.kind == Source::field) return field(row, source.at);
    if (step + 1 < schedule.count[static_cast<std::size_t>(slot)]) {
      return field(schedule.first[static_cast<std::size_t>(step + 1)] + slot, source.at);
    }
    const int64_t sequence = schedule.sequence[static_cast<std::size_t>(slot)];
    return last + (sequence * g.layers * g.directions + index) * g.hidden;
  }
};

}  // namespace

std::vector<std::string> trace_names(const LayerSpec& spec) {
  std::vector<std::string> names;
  for (const Source& source : sources_of(spec)) names.push_back(source.name);
  return names;
}

template <class R>
void read_trace(const LayerSpec& spec, const LayerTape<R>& tape, const StateView<const R>& last,
                const std::vector<R*>& to) {
  const Geometry& g = *tape.packed->geometry;
  const Schedule& s = *tape.schedule;
  const int64_t each = g.layers * g.directions;
  const std::vector<Source> sources = sources_of(spec);
  for (R* out : to) std::fill_n(out, s.batch * s.steps * each * g.hidden, R(0));
  for (int64_t index = 0; index < each; ++index) {
    const auto at = static_cast<std::size_t>(index);
    const Reader<R> reader = {g, s, tape.saved[at].data(),
                              tape.update.empty() ? nullptr : tape.update[at].data(), index};
    const auto& position =
        g.backward_in_time(index % g.directions) ? s.reverse_position : s.position;
    for (int32_t step = 0; step < s.length(); ++step) {
      const int64_t first = s.first[static_cast<std::size_t>(step)];
      for (int64_t slot = 0; slot < s.active[static_cast<std::size_t>(step)]; ++slot) {
        const int64_t place = position[static_cast<std::size_t>(first + slot)];
        for (std::size_t i = 0; i < sources.size(); ++i) {
          const R* final = sources[i].at == g.layout.saved_h ? last.h : last.c;
          std::copy_n(reader.find(sources[i], step, slot, final), g.hidden,
                      to[i] + (place * each + index) * g.hidden);
        }
      }
    }
  }
}

template void read_trace(const LayerSpec&, const LayerTape<float>&, const StateView<const float>&,
                         const std::vector<float*>&);
template void read_trace(const LayerSpec&, const LayerTape<double>&, const StateView<const double>&,
                         const std::vector<double*>&);

}  // namespace gru
