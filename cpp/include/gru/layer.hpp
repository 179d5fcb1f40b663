// One layer of any kind: its parameters, its forward pass and its backward pass.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gru/types.hpp"

namespace gru {

// Which steps of a batch are valid, made once for all layers that see the same batch.
// lengths: [batch], each in [0, steps], or null; mask: [batch][steps], not 0 where valid, or null;
// not both. Throws std::invalid_argument naming the entry that is out of range.
struct Schedule;
GRU_API std::shared_ptr<const Schedule> schedule_of(int64_t batch, int64_t steps,
                                                    const int64_t* lengths = nullptr,
                                                    const uint8_t* mask = nullptr);

// What a training forward pass keeps for its backward pass: inputs, gate values and the weights in
// force then. May be used many times; independent of what happens to the layer afterwards.
template <class R>
struct LayerTape;
template <class R>
GRU_API std::shared_ptr<LayerTape<R>> make_tape();
template <class R>
GRU_API int64_t tape_bytes(const LayerTape<R>& tape);
template <class R>
GRU_API const Shape& layer_input(const LayerTape<R>& tape);
template <class R>
GRU_API const std::shared_ptr<const Schedule>& layer_schedule(const LayerTape<R>& tape);

template <class R>
struct StateView {
  R* h = nullptr;  // (batch, num_layers * directions, hidden); null: zero, or not wanted
  R* c = nullptr;  // LSTM, likewise
};

template <class R>
struct ForwardCall {
  Shape in;
  const R* x = nullptr;                      // in.size() values, row-major; or, for an embedding,
  const int64_t* tokens = nullptr;           // in.rows() token numbers
  std::shared_ptr<const Schedule> schedule;  // null: every step is valid
  R* y = nullptr;                            // output_shape(in).size() values
  StateView<const R> state;                  // recurrent layers
  StateView<R> last_state;
  LayerTape<R>* tape = nullptr;  // null: inference (no dropout)
  uint64_t seed = 0;             // dropout masks are a function of it
  int threads = 0;               // 0: automatic
  // Bytes that tape and working memory of a recurrent layer may take, forward and backward: above
  // it the tape keeps states only, and backward runs forward again between them. Same bits. 0: any.
  int64_t memory_limit = 0;
  bool x_stays = false;  // x outlives the tape: with a limit, it is not copied
  bool trace = false;    // the tape is for read_trace
};

// What happened inside a recurrent layer, from a tape made with `trace`: each (batch, steps,
// num_layers * directions, hidden), zero at steps that are not valid. GRU: r, z (in the layer's own
// meaning), n and h; LSTM: i f g o, c and h; RNN: n and h. h and c are the states after the step.
GRU_API std::vector<std::string> trace_names(const LayerSpec& spec);
template <class R>
GRU_API void read_trace(const LayerSpec& spec, const LayerTape<R>& tape,
                        const StateView<const R>& last, const std::vector<R*>& to);

// The way of the gradient through time; each (batch, steps, num_layers * directions, hidden), zero
// at steps that are not valid. Of the gradient of the state after a step, dh, the step hands back
// `carried` (unchanged, by the update gate) and `through` (gates and candidate) to the state before
// it. LSTM: dc and carried_c likewise, of c by the forget gate.
template <class R>
struct FlowView {
  R *dh = nullptr, *carried = nullptr, *through = nullptr, *dc = nullptr, *carried_c = nullptr;
};

template <class R>
struct BackwardCall {
  const LayerTape<R>* tape = nullptr;
  const R* dy = nullptr;  // null: zero
  StateView<const R> dstate;
  R* dx = nullptr;  // null: not wanted
  StateView<R> dfirst_state;
  R* grads = nullptr;  // gradient of the parameter block, overwritten
  FlowView<R> flow;    // null: not wanted; all or none of a cell's
  int threads = 0;
  // Rows (steps of sequences) whose gate gradients are kept at a time, one step's at least; 0: what
  // suits the caches. The results are the same bits for any.
  int64_t chunk_rows = 0;
};

// How a call is spread over threads. None of it shows in the results.
struct Plan {
  enum Reason { kOneAllowed, kLittleWork, kNoGain, kSplit, kShared };

  int available = 1;   // threads the call may use
  int affordable = 1;  // and those its amount of work is worth
  int threads = 1;     // and those that run the steps
  int slices = 1;      // the batch is cut into
  int members = 1;     // threads that share the hidden units of a slice and meet at every step
  Reason reason = kOneAllowed;
};
// Why, in a sentence.
GRU_API std::string explain(const Plan& plan);

// A block of parameters together with whether it may change and how it is packed; opaque.
template <class R>
struct Weights;
class Recycler;  // keeps the memory of tapes that have ended for those to come

// A layer owns one block of parameters. It is open (the block may be written between calls, and
// every call packs it afresh) or frozen (the block is fixed, packed once, and the layer may be
// shared by threads).
template <class R>
class GRU_API Layer {
 public:
  // Parameters start at zero. Throws std::invalid_argument.
  explicit Layer(LayerSpec spec);

  const LayerSpec& spec() const { return spec_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t size() const { return size_; }
  std::shared_ptr<R> block() const;
  bool frozen() const;

  // Both move the parameters to a fresh block, so that whoever still holds the old one cannot
  // change a frozen layer, nor see a frozen block change. A call that is running goes on with the
  // block it started with.
  void freeze();
  void unfreeze();

  // Throws std::invalid_argument where `in` does not fit the layer.
  Shape output_shape(const Shape& in) const;
  // How forward would run this input; threads as in a call, 0: automatic. `rows` valid steps in
  // all, -1: every step.
  Plan plan(const Shape& in, bool training, int threads = 0, int64_t rows = -1) const;
  void forward(const ForwardCall<R>& call) const;
  void backward(const BackwardCall<R>& call) const;

  // What a call uses from its start to its end, whatever happens to the layer meanwhile.
  std::shared_ptr<const Weights<R>> weights() const;

 private:
  void publish(std::shared_ptr<const Weights<R>> weights);

  LayerSpec spec_;
  std::vector<Parameter> parameters_;
  int64_t size_ = 0;
  std::shared_ptr<const Weights<R>> weights_;  // read and replaced atomically
  std::shared_ptr<Recycler> tape_memory_;
};

}  // namespace gru
