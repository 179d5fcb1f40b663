// Checks a layer's spec and lists its parameters.
#include <algorithm>
#include <initializer_list>
#include <stdexcept>

#include "gru/types.hpp"
#include "recurrent.hpp"

namespace gru {
namespace {

// Sizes above this are refused, so that products of two fit 64 bits; kMostParameters bounds their
// sum.
constexpr int64_t kLargest = int64_t(1) << 24;
constexpr double kMostParameters = 1e12;

std::string quoted(const std::string& text) { return "'" + text + "'"; }

void one_of(const char* name, const std::string& value,
            std::initializer_list<const char*> allowed) {
  std::string list;
  for (const char* option : allowed) {
    if (value == option) return;
    list += (list.empty() ? "" : ", ") + quoted(option);
  }
  throw std::invalid_argument(std::string(name) + " must be one of " + list + ", got " +
                              quoted(value));
}

void between(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  throw std::invalid_argument(std::string(name) + " must be from " + std::to_string(low) + " to " +
                              std::to_string(high) + ", got " + std::to_string(value));
}

void a_rate(const char* name, double value) {
  if (value >= 0.0 && value <= 1.0) return;
  throw std::invalid_argument(std::string(name) + " must be from 0 to 1, got " +
                              std::to_string(value));
}

class Lister {
 public:
  void add(std::string name, std::vector<int64_t> shape) {
    int64_t size = 1;
    for (const int64_t n : shape) size *= n;
    list_.push_back({std::move(name), std::move(shape), offset_, size});
    offset_ += size;
  }
  std::vector<Parameter> take() { return std::move(list_); }

 private:
  std::vector<Parameter> list_;
  int64_t offset_ = 0;
};

constexpr const char* kKindNames[] = {"gru",    "lstm",       "rnn",     "embedding",
                                      "linear", "activation", "dropout", "pool",
                                      "affine", "reverse",    "masking"};

}  // namespace

const char* name_of(Kind kind) { return kKindNames[static_cast<int>(kind)]; }

Kind kind_of(const std::string& name) {
  std::string list;
  int i = 0;
  for (const char* known : kKindNames) {
    if (name == known) return static_cast<Kind>(i);
    list += (i++ ? ", " : "") + quoted(known);
  }
  throw std::invalid_argument("kind must be one of " + list + ", got " + quoted(name));
}

void check(const LayerSpec& spec) {
  const bool maps = spec.recurrent() || spec.kind == Kind::embedding || spec.kind == Kind::linear;
  if (maps || spec.kind == Kind::affine) between("input_size", spec.input_size, 1, kLargest);
  if (maps) between("hidden_size", spec.hidden_size, 1, kLargest);
  if (spec.recurrent()) {
    between("num_layers", spec.num_layers, 1, 1024);
    one_of("direction", spec.direction, {"forward", "reverse", "both"});
    one_of("update_gate", spec.update_gate, {"keep", "new"});
  }
  const double layers = spec.recurrent() ? spec.num_layers * spec.directions() * 4.0 : 1.0;
  if (layers * spec.hidden_size * (spec.input_size + 2.0 * spec.hidden_size) > kMostParameters) {
    throw std::invalid_argument("the layer would have about 1e12 parameters or more: input_size " +
                                std::to_string(spec.input_size) + ", hidden_size " +
                                std::to_string(spec.hidden_size) + ", num_layers " +
                                std::to_string(spec.num_layers));
  }
  if (spec.kind == Kind::rnn) one_of("nonlinearity", spec.nonlinearity, {"tanh", "relu"});
  if (spec.kind == Kind::activation) {
    one_of("nonlinearity", spec.nonlinearity, {"relu", "tanh", "sigmoid", "softmax"});
  }
  if (spec.kind == Kind::pool) one_of("pool", spec.pool, {"last", "mean", "max"});
  a_rate("dropout", spec.dropout);
  a_rate("input_dropout", spec.input_dropout);
  a_rate("recurrent_dropout", spec.recurrent_dropout);
  a_rate("zoneout", spec.zoneout);
}

std::vector<Parameter> parameters_of(const LayerSpec& spec) {
  Lister list;
  const int64_t in = spec.input_size, out = spec.hidden_size;
  if (spec.kind == Kind::embedding) list.add("weight", {in, out});
  if (spec.kind == Kind::linear) {
    list.add("weight", {out, in});
    if (spec.bias) list.add("bias", {out});
  }
  if (spec.kind == Kind::affine) {
    list.add("weight", {in});
    list.add("bias", {in});
  }
  if (!spec.recurrent()) return list.take();
  const int64_t rows = kCellLayout[cell_of(spec)].gates * out;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    for (int64_t direction = 0; direction < spec.directions(); ++direction) {
      const std::string suffix = "_l" + std::to_string(layer) + (direction ? "_reverse" : "");
      list.add("weight_ih" + suffix, {rows, layer == 0 ? in : spec.directions() * out});
      list.add("weight_hh" + suffix, {rows, out});
      if (spec.bias) {
        list.add("bias_ih" + suffix, {rows});
        list.add("bias_hh" + suffix, {rows});
      }
      if (spec.kind == Kind::gru && spec.layer_norm) {
        list.add("norm_ih" + suffix, {rows});
        list.add("norm_hh" + suffix, {rows});
      }
    }
  }
  return list.take();
}

}  // namespace gru
