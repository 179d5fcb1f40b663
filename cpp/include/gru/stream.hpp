// A model run step by step, for several sequences side by side.
#pragma once

#include <memory>

#include "gru/model.hpp"

namespace gru {

// Belongs to one thread; the model may be shared. A step allocates nothing, takes no lock and makes
// no system call, and gives the bits that the whole sequence would have given. It uses the weights
// in force when it was made.
template <class R>
class Stream {
 public:
  // Throws std::invalid_argument where a layer cannot run forward in time.
  explicit Stream(const Model<R>& model, int64_t batch = 1);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  int64_t batch() const;
  int64_t input_features() const;
  int64_t output_features() const;
  bool takes_tokens() const;
  int64_t multiply_adds() const;  // of a step, about

  // x (batch, input_features), y (batch, output_features).
  void step(const R* x, R* y);
  // Throws std::invalid_argument where a token is out of range; the state is then as before.
  void step(const int64_t* tokens, R* y);

  // State of the i-th recurrent layer, (batch, num_layers, hidden); c for an LSTM.
  int64_t recurrent_layers() const;
  const LayerSpec& recurrent_spec(int64_t i) const;
  void get_state(int64_t i, StateView<R> to) const;
  void set_state(int64_t i, StateView<const R> from);
  void reset(int64_t row);  // to zero

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gru
