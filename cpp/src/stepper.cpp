// Steppers: stages with what a caller may ask of them.
#include "gru/stepper.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "stages.hpp"

namespace gru {

template <class R>
struct Stepper<R>::Impl {
  Stages<R> stages;

  template <class T>
  void run(const T* x, int64_t x_features, int64_t steps, R* y) {
    const int64_t batch = stages.batch(), features = stages.output_features();
    for (int64_t step = 0; step < steps;) {
      const int64_t count = std::min(stages.most_steps(), steps - step);
      // One sequence: rows are steps. Several: rows are sequences, one step at a time.
      const int64_t apart = batch == 1 ? 1 : steps;
      stages.run(batch, count, x + step * x_features, apart * x_features, y + step * features,
                 apart * features);
      step += count;
    }
  }

  Stage<R>& recurrent(int64_t i) const { return *checked(stages.recurrent(), i, "recurrent"); }
  Stage<R>& running(int64_t i) const { return *checked(stages.running(), i, "pooling"); }

  static Stage<R>* checked(const std::vector<Stage<R>*>& all, int64_t i, const char* what) {
    if (i >= 0 && i < static_cast<int64_t>(all.size())) return all[static_cast<std::size_t>(i)];
    throw std::invalid_argument("there are " + std::to_string(all.size()) + " " + what +
                                " layers, got number " + std::to_string(i));
  }
  int64_t checked_row(int64_t row) const {
    if (row >= 0 && row < stages.batch()) return row;
    throw std::invalid_argument("row must be from 0 to " + std::to_string(stages.batch() - 1) +
                                ", got " + std::to_string(row));
  }
};

namespace {

int64_t checked_batch(int64_t batch) {
  if (batch >= 1 && batch <= (int64_t(1) << 24)) return batch;
  throw std::invalid_argument("batch must be from 1 to 16777216, got " + std::to_string(batch));
}

// Visits (row of the public state, row of the level's buffers) of every level and sequence.
template <class R, class Body>
void each_state_row(Stage<R>& stage, int64_t batch, Body body) {
  const int64_t hidden = stage.spec.hidden_size, levels = stage.spec.num_layers;
  for (int64_t level = 0; level < levels; ++level) {
    for (int64_t row = 0; row < batch; ++row) {
      body(stage.levels[static_cast<std::size_t>(level)], (row * levels + level) * hidden,
           row * stage.stride);
    }
  }
}

}  // namespace

template <class R>
Stepper<R>::Stepper(const Sequential<R>& model, int64_t batch)
    : impl_(new Impl{Stages<R>(model, checked_batch(batch))}) {}
template <class R>
Stepper<R>::Stepper(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <class R>
Stepper<R>::~Stepper() = default;
template <class R>
Stepper<R>::Stepper(Stepper&&) noexcept = default;
template <class R>
Stepper<R>& Stepper<R>::operator=(Stepper&&) noexcept = default;

template <class R>
Stepper<R> Stepper<R>::fork() const {
  return Stepper(std::unique_ptr<Impl>(new Impl{Stages<R>(impl_->stages)}));
}

template <class R>
int64_t Stepper<R>::batch() const {
  return impl_->stages.batch();
}

template <class R>
int64_t Stepper<R>::input_features() const {
  return impl_->stages.features();
}

template <class R>
int64_t Stepper<R>::output_features() const {
  return impl_->stages.output_features();
}

template <class R>
bool Stepper<R>::takes_tokens() const {
  return impl_->stages.takes_tokens();
}

template <class R>
int64_t Stepper<R>::multiply_adds() const {
  return batch() * impl_->stages.multiply_adds();
}

template <class R>
void Stepper<R>::step(const R* x, R* y) {
  run(x, 1, y);
}

template <class R>
void Stepper<R>::step(const int64_t* tokens, R* y) {
  run(tokens, 1, y);
}

template <class R>
void Stepper<R>::run(const R* x, int64_t steps, R* y) {
  impl_->run(x, input_features(), steps, y);
}

template <class R>
void Stepper<R>::run(const int64_t* tokens, int64_t steps, R* y) {
  impl_->stages.check_tokens(tokens, batch(), steps);
  impl_->run(tokens, 1, steps, y);
}

template <class R>
int64_t Stepper<R>::recurrent_layers() const {
  return static_cast<int64_t>(impl_->stages.recurrent().size());
}

template <class R>
const LayerSpec& Stepper<R>::recurrent_spec(int64_t i) const {
  return impl_->recurrent(i).spec;
}

template <class R>
void Stepper<R>::get_state(int64_t i, StateView<R> to) const {
  Stage<R>& stage = impl_->recurrent(i);
  const int64_t hidden = stage.spec.hidden_size;
  each_state_row(stage, batch(), [&](Level<R>& level, int64_t outside, int64_t inside) {
    if (to.h) std::copy_n(level.h[stage.current].data() + inside, hidden, to.h + outside);
    if (to.c) std::copy_n(level.c.data() + inside, hidden, to.c + outside);
  });
}

template <class R>
void Stepper<R>::set_state(int64_t i, StateView<const R> from) {
  Stage<R>& stage = impl_->recurrent(i);
  const int64_t hidden = stage.spec.hidden_size;
  each_state_row(stage, batch(), [&](Level<R>& level, int64_t outside, int64_t inside) {
    if (from.h) std::copy_n(from.h + outside, hidden, level.h[stage.current].data() + inside);
    if (from.c) std::copy_n(from.c + outside, hidden, level.c.data() + inside);
  });
}

template <class R>
int64_t Stepper<R>::running_layers() const {
  return static_cast<int64_t>(impl_->stages.running().size());
}

template <class R>
int64_t Stepper<R>::running_features(int64_t i) const {
  return impl_->running(i).features;
}

template <class R>
void Stepper<R>::get_running(int64_t i, RunningView<R> to) const {
  const Stage<R>& stage = impl_->running(i);
  std::copy_n(stage.kept.data(), stage.kept.size(), to.values);
  std::copy(stage.seen.begin(), stage.seen.end(), to.steps);
}

template <class R>
void Stepper<R>::set_running(int64_t i, RunningView<const R> from) {
  Stage<R>& stage = impl_->running(i);
  std::copy_n(from.values, stage.kept.size(), stage.kept.data());
  std::copy_n(from.steps, stage.seen.size(), stage.seen.begin());
}

template <class R>
void Stepper<R>::reset(int64_t row) {
  impl_->stages.reset(impl_->checked_row(row));
}

template <class R>
int64_t Stepper<R>::record_values() const {
  return impl_->stages.record_values();
}

template <class R>
int64_t Stepper<R>::record_counts() const {
  return impl_->stages.record_counts();
}

template <class R>
void Stepper<R>::save_row(int64_t row, R* values, int64_t* counts) const {
  impl_->stages.save(impl_->checked_row(row), values, counts);
}

template <class R>
void Stepper<R>::load_row(int64_t row, const R* values, const int64_t* counts) {
  impl_->stages.load(impl_->checked_row(row), values, counts);
}

template class Stepper<float>;
template class Stepper<double>;

}  // namespace gru
