// A layer of any kind: owns the parameters, decides threads, sends each call to its kind's code.
#include "gru/layer.hpp"

#include <algorithm>
#include <stdexcept>

#include "call.hpp"
#include "dispatch.hpp"
#include "float_mode.hpp"
#include "fork_safe.hpp"
#include "gru/runtime.hpp"
#include "plan.hpp"
#include "recurrent.hpp"
#include "stateless.hpp"

namespace gru {
namespace {

// What std::atomic_load and std::atomic_store of shared pointers do, but with a lock that a child
// of fork() finds open.
template <class T>
std::shared_ptr<T> read(const std::shared_ptr<T>& from) {
  const std::lock_guard<std::mutex> lock(fork_safe_mutex());
  return from;
}

template <class T>
void replace(std::shared_ptr<T>& to, std::shared_ptr<T> by) {
  {
    const std::lock_guard<std::mutex> lock(fork_safe_mutex());
    to.swap(by);
  }  // what was there may end here, without the lock
}

}  // namespace

namespace {

constexpr int64_t kMostKept = 1 << 16;  // positions of a schedule that is kept for the next call

}  // namespace

std::shared_ptr<const Schedule> schedule_of(int64_t batch, int64_t steps, const int64_t* lengths,
                                            const uint8_t* mask) {
  for (int64_t b = 0; lengths && b < batch; ++b) {
    if (lengths[b] >= 0 && lengths[b] <= steps) continue;
    throw std::invalid_argument("lengths[" + std::to_string(b) + "] must be from 0 to " +
                                std::to_string(steps) + " (the steps of x), got " +
                                std::to_string(lengths[b]));
  }
  if (lengths || mask || batch * steps > kMostKept) {
    return std::make_shared<const Schedule>(make_schedule(batch, steps, lengths, mask));
  }
  // A service calls with the same shape again and again.
  thread_local std::shared_ptr<const Schedule> last;
  if (!last || last->batch != batch || last->steps != steps) {
    last = std::make_shared<const Schedule>(make_schedule(batch, steps, nullptr, nullptr));
  }
  return last;
}

template <class R>
std::shared_ptr<LayerTape<R>> make_tape() {
  return std::make_shared<LayerTape<R>>();
}

template <class R>
int64_t tape_bytes(const LayerTape<R>& tape) {
  return tape.bytes();
}

template <class R>
const Shape& layer_input(const LayerTape<R>& tape) {
  return tape.in;
}

template <class R>
const std::shared_ptr<const Schedule>& layer_schedule(const LayerTape<R>& tape) {
  return tape.schedule;
}

namespace {

template <class R>
std::shared_ptr<R> zero_block(int64_t size) {
  auto buffer = std::make_shared<Buffer<R>>(Buffer<R>::zeros(std::max<int64_t>(size, 1)));
  return std::shared_ptr<R>(buffer, buffer->data());
}

int threads_allowed(int wanted, bool training) {
  if (wanted <= 0) wanted = get_num_threads();
  if (wanted <= 0) wanted = training ? max_threads() : 1;
  return wanted;
}

std::string describe(const Shape& shape) {
  std::string text = "(" + std::to_string(shape.batch);
  if (shape.sequence) text += ", " + std::to_string(shape.steps);
  return text + ", " + std::to_string(shape.features) + ")";
}

}  // namespace

template <class R>
std::shared_ptr<const Packed<R>> packed_weights(const Layer<R>& layer, const Weights<R>& weights,
                                                bool backward) {
  const LayerSpec& spec = layer.spec();
  if (!spec.recurrent() && spec.kind != Kind::linear) return nullptr;
  const Kernels<R>& kernels = active_kernels<R>();
  if (weights.frozen) {
    auto kept = read(weights.packed);
    if (kept && kept->kernels == &kernels && (kept->backward || !backward)) return kept;
  }
  auto fresh = spec.recurrent() ? pack_recurrent<R>(layer, weights.block.get(), kernels, backward)
                                : pack_linear<R>(spec, weights.block.get(), kernels, backward);
  if (weights.frozen) replace(weights.packed, fresh);
  return fresh;
}

namespace {

template <class R>
std::shared_ptr<const Weights<R>> copy_weights(const Weights<R>& from, int64_t size, bool frozen) {
  auto weights = std::make_shared<Weights<R>>();
  weights->block = zero_block<R>(size);
  weights->frozen = frozen;
  std::copy_n(from.block.get(), size, weights->block.get());
  return weights;
}

}  // namespace

template <class R>
Layer<R>::Layer(LayerSpec spec)
    : spec_(std::move(spec)), tape_memory_(std::make_shared<Recycler>()) {
  check(spec_);
  parameters_ = parameters_of(spec_);
  for (const Parameter& p : parameters_) size_ += p.size;
  auto weights = std::make_shared<Weights<R>>();
  weights->block = zero_block<R>(size_);
  publish(std::move(weights));
}

template <class R>
std::shared_ptr<const Weights<R>> Layer<R>::weights() const {
  return read(weights_);
}

template <class R>
void Layer<R>::publish(std::shared_ptr<const Weights<R>> weights) {
  replace(weights_, std::move(weights));
}

template <class R>
std::shared_ptr<R> Layer<R>::block() const {
  return weights()->block;
}

template <class R>
bool Layer<R>::frozen() const {
  return weights()->frozen;
}

template <class R>
void Layer<R>::freeze() {
  const auto open = weights();
  if (open->frozen) return;
  const auto frozen = copy_weights(*open, size_, true);
  packed_weights(*this, *frozen, false);
  publish(frozen);
  tape_memory_->clear();  // a frozen layer serves
}

template <class R>
void Layer<R>::unfreeze() {
  const auto frozen = weights();
  if (frozen->frozen) publish(copy_weights(*frozen, size_, false));
}

template <class R>
Shape Layer<R>::output_shape(const Shape& in) const {
  Shape out = in;
  if ((spec_.timed() || spec_.kind == Kind::embedding) && !in.sequence) {
    throw std::invalid_argument(std::string("x must have a time axis for a ") +
                                name_of(spec_.kind) + " layer: shape (B, T, ...), got " +
                                describe(in));
  }
  if (spec_.sized() && in.features != spec_.input_size) {
    throw std::invalid_argument("x must have shape (B, " + std::string(in.sequence ? "T, " : "") +
                                std::to_string(spec_.input_size) + "), got " + describe(in));
  }
  if (in.features == 0) {
    throw std::invalid_argument("x must have at least one feature, got shape " + describe(in));
  }
  if (spec_.recurrent()) out.features = spec_.directions() * spec_.hidden_size;
  if (spec_.kind == Kind::linear || spec_.kind == Kind::embedding) out.features = spec_.hidden_size;
  if (spec_.kind == Kind::pool) {
    out.steps = 1;
    out.sequence = false;
  }
  return out;
}

template <class R>
Plan Layer<R>::plan(const Shape& in, bool training, int threads, int64_t rows) const {
  output_shape(in);
  threads = threads_allowed(threads, training);
  if (rows < 0) rows = in.rows();
  if (!spec_.recurrent()) return plan_rows(rows, spec_.kind == Kind::linear ? size_ : 0, threads);
  const Geometry geometry(spec_, active_kernels<R>().lanes);
  return plan_recurrent(geometry, sizeof(R), in.batch, rows, size_, threads);
}

template <class R>
void Layer<R>::forward(const ForwardCall<R>& given) const {
  FloatMode mode;
  ForwardCall<R> call = given;
  output_shape(call.in);
  if (spec_.timed() && !call.schedule) call.schedule = schedule_of(call.in.batch, call.in.steps);
  const bool training = call.tape != nullptr;
  call.threads = threads_allowed(call.threads, training);
  if (training) {
    *call.tape = {};
    call.tape->in = call.in;
    call.tape->memory = tape_memory_;
    call.tape->schedule = call.schedule;
  }
  const auto used = weights();
  const auto packed = packed_weights(*this, *used, training);
  const Kind kind = spec_.kind;
  if (spec_.recurrent()) {
    const Plan plan = plan_recurrent(*packed->geometry, sizeof(R), call.in.batch,
                                     call.schedule->rows, size_, call.threads);
    if (training && call.memory_limit > 0 && !call.trace) {
      limit_tape(spec_, *packed, size_, call);
    }
    recurrent_forward(spec_, packed, plan, call);
  } else if (kind == Kind::linear) {
    call.threads = plan_rows(call.in.rows(), size_, call.threads).threads;
    linear_forward(spec_, packed, call);
  } else if (kind == Kind::embedding) {
    embedding_forward<R>(spec_, used->block.get(), call);
  } else if (kind == Kind::activation) {
    activation_forward(spec_, call);
  } else if (kind == Kind::dropout) {
    dropout_forward(spec_, call);
  } else if (kind == Kind::affine) {
    affine_forward<R>(used->block.get(), call);
  } else if (kind == Kind::reverse) {
    reverse_forward(call);
  } else if (kind == Kind::masking) {
    masking_forward(spec_, call);
  } else {
    pool_forward(spec_, call);
  }
}

template <class R>
void Layer<R>::backward(const BackwardCall<R>& given) const {
  FloatMode mode;
  BackwardCall<R> call = given;
  const bool packs = spec_.recurrent() || spec_.kind == Kind::linear;
  if (!call.tape || call.tape->in.features == 0 || packs != (call.tape->packed != nullptr)) {
    throw std::invalid_argument("tape must come from a training forward pass of this layer");
  }
  const LayerTape<R>& tape = *call.tape;
  call.threads = threads_allowed(call.threads, true);
  const Kind kind = spec_.kind;
  // Backward does twice forward's work in several regions: it pays for threads where forward does.
  if (spec_.recurrent()) {
    const Plan plan = plan_recurrent(*tape.packed->geometry, sizeof(R), tape.in.batch,
                                     tape.schedule->rows, size_, call.threads);
    call.threads = plan.affordable;
    recurrent_backward(*this, plan, call);
  } else if (kind == Kind::linear) {
    call.threads = plan_rows(tape.in.rows(), size_, call.threads).threads;
    linear_backward(spec_, call);
  } else if (kind == Kind::embedding) {
    embedding_backward(spec_, call);
  } else if (kind == Kind::activation) {
    activation_backward(spec_, call);
  } else if (kind == Kind::dropout) {
    dropout_backward(spec_, call);
  } else if (kind == Kind::affine) {
    affine_backward(call);
  } else if (kind == Kind::reverse) {
    reverse_backward(call);
  } else if (kind == Kind::masking) {
    masking_backward(call);
  } else {
    pool_backward(spec_, call);
  }
}

#define GRU_INSTANTIATE(R)                                \
  template class Layer<R>;                                \
  template std::shared_ptr<LayerTape<R>> make_tape<R>();  \
  template int64_t tape_bytes(const LayerTape<R>&);       \
  template const Shape& layer_input(const LayerTape<R>&); \
  template const std::shared_ptr<const Schedule>& layer_schedule(const LayerTape<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
