// gru::Stream: either dtype behind one handle.
#include "gru/stream.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace gru {
namespace {

std::variant<Stepper<float>, Stepper<double>> stepper_of(const Model& model, int64_t batch) {
  if (model.dtype() == Dtype::float32) return Stepper<float>(model.layers<float>(), batch);
  return Stepper<double>(model.layers<double>(), batch);
}

// The stepper of dtype R, of a stream that may be const.
template <class R, class Any>
auto& held(Any& any, Dtype dtype) {
  if (auto* stepper = std::get_if<Stepper<R>>(&any)) return *stepper;
  throw std::invalid_argument("the stream is " + std::string(name_of(dtype)) + ", got " +
                              name_of(sizeof(R) == 4 ? Dtype::float32 : Dtype::float64));
}

template <class R>
Stepper<R>& checked(Stream& stream, bool tokens) {
  Stepper<R>& stepper = stream.stepper<R>();
  if (stepper.takes_tokens() == tokens) return stepper;
  throw std::invalid_argument(tokens ? "the model takes numbers, got tokens"
                                     : "the model takes tokens, got numbers");
}

// A row's record: its numbers, then its counts as numbers.
template <class R>
int64_t row_size(const Stepper<R>& stepper) {
  return stepper.record_values() + stepper.record_counts();
}

template <class R>
void get_rows(const Stepper<R>& stepper, std::vector<int64_t>& counts, R* to) {
  for (int64_t row = 0; row < stepper.batch(); ++row, to += row_size(stepper)) {
    stepper.save_row(row, to, counts.data());
    std::transform(counts.begin(), counts.end(), to + stepper.record_values(),
                   [](int64_t count) { return static_cast<R>(count); });
  }
}

template <class R>
void set_rows(Stepper<R>& stepper, std::vector<int64_t>& counts, const R* from) {
  for (int64_t row = 0; row < stepper.batch(); ++row, from += row_size(stepper)) {
    const R* given = from + stepper.record_values();
    std::transform(given, given + counts.size(), counts.begin(), [](R count) {
      return count > 0 && count < R(1e15) ? static_cast<int64_t>(count) : int64_t(0);
    });
    stepper.load_row(row, from, counts.data());
  }
}

}  // namespace

Stream::Stream(const Model& model, int64_t batch) : Stream(stepper_of(model, batch)) {}

Stream::Stream(Any stepper) : stepper_(std::move(stepper)) {
  const auto count = [](const auto& any) { return any.record_counts(); };
  counts_.resize(static_cast<std::size_t>(std::visit(count, stepper_)));
}

Stream Stream::fork() const {
  return Stream(std::visit([](const auto& stepper) { return Any(stepper.fork()); }, stepper_));
}

Dtype Stream::dtype() const { return stepper_.index() == 0 ? Dtype::float32 : Dtype::float64; }

int64_t Stream::batch() const {
  return std::visit([](const auto& stepper) { return stepper.batch(); }, stepper_);
}
int64_t Stream::input_features() const {
  return std::visit([](const auto& stepper) { return stepper.input_features(); }, stepper_);
}
int64_t Stream::output_features() const {
  return std::visit([](const auto& stepper) { return stepper.output_features(); }, stepper_);
}
bool Stream::takes_tokens() const {
  return std::visit([](const auto& stepper) { return stepper.takes_tokens(); }, stepper_);
}
int64_t Stream::state_size() const {
  return std::visit([](const auto& stepper) { return stepper.batch() * row_size(stepper); },
                    stepper_);
}

template <class R>
Stepper<R>& Stream::stepper() {
  return held<R>(stepper_, dtype());
}

void Stream::step(const float* x, float* y) { checked<float>(*this, false).step(x, y); }
void Stream::step(const double* x, double* y) { checked<double>(*this, false).step(x, y); }
void Stream::step(const int64_t* tokens, float* y) { checked<float>(*this, true).step(tokens, y); }
void Stream::step(const int64_t* tokens, double* y) {
  checked<double>(*this, true).step(tokens, y);
}

void Stream::run(const float* x, int64_t steps, float* y) {
  checked<float>(*this, false).run(x, steps, y);
}
void Stream::run(const double* x, int64_t steps, double* y) {
  checked<double>(*this, false).run(x, steps, y);
}
void Stream::run(const int64_t* tokens, int64_t steps, float* y) {
  checked<float>(*this, true).run(tokens, steps, y);
}
void Stream::run(const int64_t* tokens, int64_t steps, double* y) {
  checked<double>(*this, true).run(tokens, steps, y);
}

void Stream::reset() {
  for (int64_t row = 0; row < batch(); ++row) reset(row);
}
void Stream::reset(int64_t row) {
  std::visit([row](auto& stepper) { stepper.reset(row); }, stepper_);
}

void Stream::get_state(float* to) const { get_rows(held<float>(stepper_, dtype()), counts_, to); }
void Stream::get_state(double* to) const { get_rows(held<double>(stepper_, dtype()), counts_, to); }
void Stream::set_state(const float* from) { set_rows(stepper<float>(), counts_, from); }
void Stream::set_state(const double* from) { set_rows(stepper<double>(), counts_, from); }

template GRU_API Stepper<float>& Stream::stepper();
template GRU_API Stepper<double>& Stream::stepper();

}  // namespace gru
