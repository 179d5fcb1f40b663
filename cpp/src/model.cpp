// gru::Model: either dtype behind one handle.
#include "gru/model.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace gru {

const char* name_of(Dtype dtype) { return dtype == Dtype::float32 ? "float32" : "float64"; }

namespace {

template <class R>
using Shared = std::shared_ptr<const Sequential<R>>;
template <class R>
constexpr Dtype kDtype = sizeof(R) == 4 ? Dtype::float32 : Dtype::float64;

constexpr int64_t kMostRows = int64_t(1) << 30;  // of a batch, and of steps

// A copy that nobody else can change.
template <class R>
Shared<R> frozen_copy(const Sequential<R>& from) {
  std::vector<std::shared_ptr<Layer<R>>> layers;
  for (const auto& layer : from.layers()) {
    layers.push_back(std::make_shared<Layer<R>>(layer->spec()));
    const std::shared_ptr<R> block = layer->block();
    std::copy_n(block.get(), layer->size(), layers.back()->block().get());
    layers.back()->freeze();
  }
  return std::make_shared<const Sequential<R>>(std::move(layers));
}

template <class R>
void forward_any(const Model& model, bool takes_tokens, const R* x, const int64_t* tokens, R* y,
                 const Shape& in, const int64_t* lengths, int threads) {
  const Sequential<R>& layers = model.layers<R>();
  for (const int64_t count : {in.batch, in.steps}) {
    if (count >= 0 && count <= kMostRows) continue;
    throw std::invalid_argument("batch and steps must be from 0 to 1073741824, got " +
                                std::to_string(count));
  }
  if (layers.takes_tokens() != takes_tokens) {
    throw std::invalid_argument(layers.takes_tokens() ? "the model takes tokens, got numbers"
                                                      : "the model takes numbers, got tokens");
  }
  ModelCall<R> call;
  call.in = in;
  call.x = x;
  call.tokens = tokens;
  call.y = y;
  call.threads = threads;
  if (lengths) {
    if (!in.sequence) throw std::invalid_argument("lengths need an input with a time axis");
    call.schedule = schedule_of(in.batch, in.steps, lengths);
  }
  layers.forward(call);
}

// "gru(input_size=12, hidden_size=64, ...)": a spec as its fields say it.
struct WriteFields {
  std::string& to;
  template <class T>
  void operator()(const char* name, const T& value) {
    to += (to.back() == '(' ? "" : ", ") + std::string(name) + "=" + text(value);
  }
  template <class T>
  void optional(const char* name, const T& value) {
    if (value != T()) (*this)(name, value);
  }

 private:
  static std::string text(const std::string& value) { return value; }
  static std::string text(bool value) { return value ? "true" : "false"; }
  static std::string text(int64_t value) { return std::to_string(value); }
  static std::string text(double value) {  // the shortest that means it, in any locale
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    return std::string(digits, end);
  }
};

}  // namespace

Model::Model(LoadedModel loaded) : metadata_(std::move(loaded.metadata)) {
  std::visit(
      [this](auto&& layers) {
        using Layers = std::decay_t<decltype(layers)>;
        layers_ = std::make_shared<const Layers>(std::move(layers));
      },
      std::move(loaded.model));
}

Model::Model(const Sequential<float>& layers, Metadata metadata)
    : layers_(frozen_copy(layers)), metadata_(std::move(metadata)) {}
Model::Model(const Sequential<double>& layers, Metadata metadata)
    : layers_(frozen_copy(layers)), metadata_(std::move(metadata)) {}

Model Model::load(const std::string& path) { return Model(load_model(path)); }
Model Model::load(const void* bytes, std::size_t size) { return Model(load_model(bytes, size)); }

void Model::save(const std::string& path) const {
  std::visit([&](const auto& layers) { save_model(*layers, path, metadata_); }, layers_);
}

Dtype Model::dtype() const { return layers_.index() == 0 ? Dtype::float32 : Dtype::float64; }

bool Model::takes_tokens() const {
  return std::visit([](const auto& layers) { return layers->takes_tokens(); }, layers_);
}

int64_t Model::input_features() const {
  return std::visit([](const auto& layers) { return layers->input_features(); }, layers_);
}

int64_t Model::output_features() const {
  return output_shape({1, 1, std::max<int64_t>(input_features(), 1), true}).features;
}

Shape Model::output_shape(const Shape& in) const {
  return std::visit([&](const auto& layers) { return layers->output_shape(in); }, layers_);
}

std::string Model::describe() const {
  std::string text;
  const auto add = [&text](const auto& layers) {
    for (const auto& layer : layers->layers()) {
      LayerSpec spec = layer->spec();
      text += std::string(name_of(spec.kind)) + "(";
      visit_fields(spec, WriteFields{text});
      text += ")\n";
    }
  };
  std::visit(add, layers_);
  return text;
}

template <class R>
const Sequential<R>& Model::layers() const {
  if (const Shared<R>* layers = std::get_if<Shared<R>>(&layers_)) return **layers;
  throw std::invalid_argument("the model is " + std::string(name_of(dtype())) + ", got " +
                              name_of(kDtype<R>));
}

void Model::forward(const float* x, float* y, const Shape& in, const int64_t* lengths,
                    int threads) const {
  forward_any<float>(*this, false, x, nullptr, y, in, lengths, threads);
}
void Model::forward(const double* x, double* y, const Shape& in, const int64_t* lengths,
                    int threads) const {
  forward_any<double>(*this, false, x, nullptr, y, in, lengths, threads);
}
void Model::forward(const int64_t* tokens, float* y, const Shape& in, const int64_t* lengths,
                    int threads) const {
  forward_any<float>(*this, true, nullptr, tokens, y, in, lengths, threads);
}
void Model::forward(const int64_t* tokens, double* y, const Shape& in, const int64_t* lengths,
                    int threads) const {
  forward_any<double>(*this, true, nullptr, tokens, y, in, lengths, threads);
}

template GRU_API const Sequential<float>& Model::layers() const;
template GRU_API const Sequential<double>& Model::layers() const;

}  // namespace gru
