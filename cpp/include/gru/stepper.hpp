// A list of layers run step by step, for several sequences side by side; gru::Stream is the short
// way to one.
#pragma once

#include <memory>
#include <type_traits>

#include "gru/sequential.hpp"

namespace gru {

// What is carried from step to step besides the states of recurrent layers: a mean's sum so far or
// the largest so far, and of how many steps.
template <class R>
struct RunningView {
  R* values = nullptr;  // (batch, features)
  std::conditional_t<std::is_const_v<R>, const int64_t, int64_t>* steps = nullptr;  // (batch)
};

// Belongs to one thread; the layers may be shared. A step allocates nothing, takes no lock and
// makes no system call, and gives the bits that the whole sequence would have given. It uses the
// weights in force when it was made.
template <class R>
class GRU_API Stepper {
 public:
  // Throws std::invalid_argument where a layer cannot run forward in time.
  explicit Stepper(const Sequential<R>& model, int64_t batch = 1);
  ~Stepper();
  Stepper(Stepper&&) noexcept;
  Stepper& operator=(Stepper&&) noexcept;
  // Another with the same state, which then goes its own way; they share the weights.
  Stepper fork() const;

  int64_t batch() const;
  int64_t input_features() const;
  int64_t output_features() const;
  bool takes_tokens() const;
  int64_t multiply_adds() const;  // of a step, about

  // x (batch, input_features), y (batch, output_features).
  void step(const R* x, R* y);
  // Throws std::invalid_argument where a token is out of range; the state is then as before.
  void step(const int64_t* tokens, R* y);
  // A block of steps: x (batch, steps, input_features), y (batch, steps, output_features), with the
  // bits of single steps. A few steps at a time read the weights once.
  void run(const R* x, int64_t steps, R* y);
  void run(const int64_t* tokens, int64_t steps, R* y);

  // State of the i-th recurrent layer, (batch, num_layers, hidden); c for an LSTM.
  int64_t recurrent_layers() const;
  const LayerSpec& recurrent_spec(int64_t i) const;
  void get_state(int64_t i, StateView<R> to) const;
  void set_state(int64_t i, StateView<const R> from);
  // The i-th layer that pools a mean or a maximum.
  int64_t running_layers() const;
  int64_t running_features(int64_t i) const;
  void get_running(int64_t i, RunningView<R> to) const;
  void set_running(int64_t i, RunningView<const R> from);
  void reset(int64_t row);  // all of a sequence's to zero

  // All that one sequence carries, as record_values() numbers and record_counts() counts; counts
  // may be null where there are none.
  int64_t record_values() const;
  int64_t record_counts() const;
  void save_row(int64_t row, R* values, int64_t* counts) const;
  void load_row(int64_t row, const R* values, const int64_t* counts);

 private:
  struct Impl;
  explicit Stepper(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gru
