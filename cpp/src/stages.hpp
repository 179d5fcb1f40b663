// A list of layers as streams run it: each layer's weights, buffers and what it carries from step
// to step. Knows no file, session or dtype check.
#pragma once

#include <memory>
#include <vector>

#include "call.hpp"
#include "dispatch.hpp"
#include "gru/sequential.hpp"

namespace gru {

// Rows on their way from one layer to the next, step by step and in a step sequence by sequence.
template <class R>
struct Flow {
  const R* data;
  int64_t stride, features;
};

// One stacked layer of a recurrent layer: the state is h[current], (batch, field).
template <class R>
struct Level {
  Buffer<R> h[2], c, scratch, raw;
};

// One layer of the model; one that changes nothing has no stage.
template <class R>
struct Stage {
  LayerSpec spec;
  const Kernels<R>* kernels = nullptr;
  std::shared_ptr<const Packed<R>> packed;  // recurrent, linear
  std::shared_ptr<const R> table;           // embedding, affine
  int64_t features = 0;                     // of the output
  int64_t stride = 0;                       // from row to row of `out`
  int64_t weight_bytes = 0;                 // of all stages together
  Buffer<R> out;                            // rows of a block of steps
  Buffer<R> pre;                            // recurrent: their input sides
  std::vector<Level<R>> levels;
  int current = 0;
  Buffer<R> kept;             // mean: (batch, features), the sum so far; max: the largest so far
  std::vector<int64_t> seen;  // and of how many steps, (batch)
};

// All buffers are made at once: running allocates nothing, takes no lock, makes no system call.
template <class R>
class Stages {
 public:
  // Throws std::invalid_argument where a layer cannot run forward in time, or none says how many
  // features a step has.
  Stages(const Sequential<R>& model, int64_t batch);
  Stages(const Stages& other);  // the same weights and state
  Stages(Stages&&) noexcept = default;
  Stages& operator=(Stages&&) noexcept = default;

  int64_t batch() const { return batch_; }
  int64_t features() const { return features_; }
  int64_t output_features() const { return stages_.back().features; }
  bool takes_tokens() const { return tokens_; }
  int64_t multiply_adds() const { return multiply_adds_; }  // of a step of one sequence, about
  // Steps that one call may run: several for one sequence, whose weights are then read once.
  int64_t most_steps() const { return most_steps_; }

  // Throws std::invalid_argument where one of (sequences, steps) tokens is out of range.
  void check_tokens(const int64_t* tokens, int64_t sequences, int64_t steps) const;
  // `steps` steps of the first `sequences` sequences; what the others carry is lost. Rows of x (or
  // tokens, which are checked) and of y are `stride` apart.
  void run(int64_t sequences, int64_t steps, const R* x, int64_t x_stride, R* y, int64_t y_stride);
  void run(int64_t sequences, int64_t steps, const int64_t* tokens, int64_t stride, R* y,
           int64_t y_stride);

  // The stages that are recurrent, or that carry a running mean or maximum.
  const std::vector<Stage<R>*>& recurrent() const { return recurrent_; }
  const std::vector<Stage<R>*>& running() const { return running_; }

  int64_t record_values() const { return record_values_; }
  int64_t record_counts() const { return static_cast<int64_t>(running_.size()); }
  void save(int64_t row, R* values, int64_t* counts) const;
  void load(int64_t row, const R* values, const int64_t* counts);
  void reset(int64_t row);

 private:
  void index();
  void run_from(std::size_t first, int64_t sequences, int64_t steps, Flow<R> x, R* y,
                int64_t y_stride);

  int64_t batch_, features_, multiply_adds_ = 0, most_steps_, record_values_ = 0;
  bool tokens_;
  std::vector<Stage<R>> stages_;
  std::vector<Stage<R>*> recurrent_, running_;
};

// Calls body(values, count) for each run of numbers that a sequence carries through a stage.
template <class R, class Body>
void each_carried(Stage<R>& stage, int64_t row, Body body) {
  for (Level<R>& level : stage.levels) {
    body(level.h[stage.current].data() + row * stage.stride, stage.spec.hidden_size);
    if (level.c.size()) body(level.c.data() + row * stage.stride, stage.spec.hidden_size);
  }
  if (stage.kept.size()) body(stage.kept.data() + row * stage.features, stage.features);
}

}  // namespace gru
