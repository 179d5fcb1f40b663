// What a layer is apart from its numbers, and the shapes that flow between layers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gru/api.hpp"

namespace gru {

// The engine computes in float and double; R stands for either everywhere.

enum class Kind : uint8_t {
  gru,
  lstm,
  rnn,
  embedding,
  linear,
  activation,
  dropout,
  pool,
  affine,
  reverse,
  masking
};

// "gru", "lstm", ...; kind_of throws std::invalid_argument for any other text.
GRU_API const char* name_of(Kind kind);
GRU_API Kind kind_of(const std::string& name);

// One layer. `kind` decides which of the other fields mean something:
//   gru, lstm, rnn   input_size, hidden_size, num_layers, direction, bias, dropout (between
//                    layers), input_dropout, recurrent_dropout, zoneout;
//                    gru: reset_after, update_gate, layer_norm;  rnn: nonlinearity ("tanh", "relu")
//   embedding        input_size (vocabulary), hidden_size
//   linear           input_size, hidden_size, bias
//   activation       nonlinearity ("relu", "tanh", "sigmoid", "softmax")
//   dropout          dropout (rate)
//   pool             pool ("last", "mean", "max"), bidirectional
//   affine           input_size; y = x * weight + bias, feature by feature
//   reverse          nothing: flips the valid steps of each sequence
//   masking          mask_value: steps whose features all have it are not valid; a model's first
struct LayerSpec {
  Kind kind = Kind::gru;
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 1;
  std::string direction = "forward";  // "forward", "reverse" or "both"
  bool bias = true;
  bool reset_after = true;           // the candidate's reset acts after the recurrent product
  bool layer_norm = false;           // of each gate's input side and hidden side, inside the cell
  std::string update_gate = "keep";  // z near 1 keeps the old state; "new": takes the new one
  std::string nonlinearity = "tanh";
  double dropout = 0.0;
  double input_dropout = 0.0;      // of each layer's input, one mask a sequence
  double recurrent_dropout = 0.0;  // of h where U multiplies it, one mask a sequence
  double zoneout = 0.0;            // of h (LSTM: and c): the rate of units that keep their state
  std::string pool = "last";
  bool bidirectional = false;  // "last": the second half of the features is taken at the first step
  double mask_value = 0.0;

  bool recurrent() const { return kind == Kind::gru || kind == Kind::lstm || kind == Kind::rnn; }
  // Expects a number of input features of its own.
  bool sized() const { return recurrent() || kind == Kind::linear || kind == Kind::affine; }
  // Needs a time axis.
  bool timed() const {
    return recurrent() || kind == Kind::pool || kind == Kind::reverse || kind == Kind::masking;
  }
  int64_t directions() const { return direction == "both" ? 2 : 1; }
};

// Calls visit("name", field) for every field that means something for the layer's kind: the one
// list that files and bindings read and write a spec by. visit.optional("name", field) is for those
// that came later: files leave them out where they have their default, zero.
template <class Spec, class Visitor>
void visit_fields(Spec& spec, Visitor&& visit) {
  const Kind kind = spec.kind;
  const bool recurrent = spec.recurrent();
  if (recurrent || kind == Kind::embedding || kind == Kind::linear) {
    visit("input_size", spec.input_size);
    visit("hidden_size", spec.hidden_size);
  }
  if (kind == Kind::affine) visit("input_size", spec.input_size);
  if (recurrent) {
    visit("num_layers", spec.num_layers);
    visit("direction", spec.direction);
  }
  if (recurrent || kind == Kind::linear) visit("bias", spec.bias);
  if (kind == Kind::gru) {
    visit("reset_after", spec.reset_after);
    visit("update_gate", spec.update_gate);
    visit.optional("layer_norm", spec.layer_norm);
  }
  if (kind == Kind::rnn || kind == Kind::activation) visit("nonlinearity", spec.nonlinearity);
  if (recurrent || kind == Kind::dropout) visit("dropout", spec.dropout);
  if (recurrent) {
    visit.optional("input_dropout", spec.input_dropout);
    visit.optional("recurrent_dropout", spec.recurrent_dropout);
    visit.optional("zoneout", spec.zoneout);
  }
  if (kind == Kind::pool) {
    visit("pool", spec.pool);
    visit("bidirectional", spec.bidirectional);
  }
  if (kind == Kind::masking) visit("mask_value", spec.mask_value);
}

// Throws std::invalid_argument naming the field, what it may be and what it is.
GRU_API void check(const LayerSpec& spec);

// (batch, steps, features), or (batch, features) where `sequence` is false and steps is 1.
struct Shape {
  int64_t batch = 0;
  int64_t steps = 1;
  int64_t features = 0;
  bool sequence = true;

  int64_t rows() const { return batch * steps; }
  int64_t size() const { return rows() * features; }
};

// A named array inside a layer's parameter block, row-major.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // elements from the start of the block
  int64_t size = 0;
};

// PyTorch's names, shapes and row order, in PyTorch's order.
GRU_API std::vector<Parameter> parameters_of(const LayerSpec& spec);

}  // namespace gru
