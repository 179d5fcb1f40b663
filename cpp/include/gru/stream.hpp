// A model run step by step, for several sequences side by side.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "gru/model.hpp"
#include "gru/stepper.hpp"

namespace gru {

// Belongs to one thread; the model may be shared, and need not outlive it. After construction it
// allocates nothing, takes no lock and makes no system call; a step's bits are those of the
// whole-sequence call. It stays with the instruction set it was made at (see set_isa). x and y must
// not overlap.
class GRU_API Stream {
 public:
  // Throws std::invalid_argument where a layer cannot run forward in time (bidirectional ones).
  explicit Stream(const Model& model, int64_t batch = 1);
  // The same state, which then goes its own way.
  Stream fork() const;

  Dtype dtype() const;
  int64_t batch() const;
  int64_t input_features() const;
  int64_t output_features() const;
  bool takes_tokens() const;

  // x (batch, input_features) or tokens (batch); y (batch, output_features). Throw
  // std::invalid_argument, with the state as it was, where the model has the other dtype, takes
  // tokens and is given numbers or the other way round, or a token is out of range.
  void step(const float* x, float* y);
  void step(const double* x, double* y);
  void step(const int64_t* tokens, float* y);
  void step(const int64_t* tokens, double* y);
  // A block of steps: x (batch, steps, input_features), y (batch, steps, output_features).
  void run(const float* x, int64_t steps, float* y);
  void run(const double* x, int64_t steps, double* y);
  void run(const int64_t* tokens, int64_t steps, float* y);
  void run(const int64_t* tokens, int64_t steps, double* y);

  void reset();             // every sequence starts anew
  void reset(int64_t row);  // one does; std::invalid_argument where there is none

  // All that a stream carries, to keep and put back: state_size() numbers, row after row. Counts of
  // steps (of a running mean) are among them, exact to 2^24 in float.
  int64_t state_size() const;
  void get_state(float* to) const;
  void get_state(double* to) const;
  void set_state(const float* from);
  void set_state(const double* from);

  // Single states by layer; R as dtype() says, else std::invalid_argument.
  template <class R>
  Stepper<R>& stepper();

 private:
  using Any = std::variant<Stepper<float>, Stepper<double>>;
  explicit Stream(Any stepper);

  Any stepper_;
  mutable std::vector<int64_t> counts_;  // of the row whose state is read or set
};

}  // namespace gru
