// Embedding, activations, affine layers and dropout: layers that treat every row by itself.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "dispatch.hpp"
#include "masks.hpp"
#include "stateless.hpp"

namespace gru {

ValidRows valid_rows(const Shape& in, const Schedule* schedule) {
  if (!in.sequence || !schedule || !schedule->ragged()) return {in.rows(), nullptr};
  return {schedule->rows, schedule->position.data()};
}

namespace {

// Visits the valid rows, all at once where they are dense: body(offset in rows, rows).
template <class Body>
void each_run(const ValidRows& rows, Body body) {
  if (!rows.at) {
    body(int64_t(0), rows.count);
    return;
  }
  for (int64_t i = 0; i < rows.count; ++i) body(rows.at[i], int64_t(1));
}

template <class R>
void softmax(const R* x, R* y, int64_t width) {
  const R largest = *std::max_element(x, x + width);
  R sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += y[i] = std::exp(x[i] - largest);
  for (int64_t i = 0; i < width; ++i) y[i] /= sum;
}

// dx from dy and the activation's own output.
template <class R>
void activate_backward(const std::string& name, const R* y, const R* dy, R* dx, int64_t width) {
  if (name == "softmax") {
    R dot = 0;
    for (int64_t i = 0; i < width; ++i) dot += dy[i] * y[i];
    for (int64_t i = 0; i < width; ++i) dx[i] = y[i] * (dy[i] - dot);
  } else if (name == "relu") {
    for (int64_t i = 0; i < width; ++i) dx[i] = y[i] > 0 ? dy[i] : R(0);
  } else if (name == "tanh") {
    for (int64_t i = 0; i < width; ++i) dx[i] = dy[i] * (1 - y[i] * y[i]);
  } else {
    for (int64_t i = 0; i < width; ++i) dx[i] = dy[i] * (y[i] - y[i] * y[i]);
  }
}

}  // namespace

namespace {

void check_token(const LayerSpec& spec, int64_t token, int64_t sequence, int64_t step) {
  if (token >= 0 && token < spec.input_size) return;
  throw std::invalid_argument("x must hold tokens from 0 to " +
                              std::to_string(spec.input_size - 1) + ", got " +
                              std::to_string(token) + " in sequence " + std::to_string(sequence) +
                              " at step " + std::to_string(step));
}

}  // namespace

void check_tokens(const LayerSpec& spec, const int64_t* tokens, int64_t sequences, int64_t steps) {
  for (int64_t row = 0; row < sequences * steps; ++row) {
    check_token(spec, tokens[row], row / steps, row % steps);
  }
}

template <class R>
void embedding_forward(const LayerSpec& spec, const R* parameters, const ForwardCall<R>& call) {
  const int64_t width = spec.hidden_size;
  const ValidRows rows = valid_rows(call.in, call.schedule.get());
  each_run(rows, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      check_token(spec, call.tokens[row], row / call.in.steps, row % call.in.steps);
    }
  });
  std::fill_n(call.y, call.in.rows() * width, R(0));
  each_run(rows, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      std::copy_n(parameters + call.tokens[row] * width, width, call.y + row * width);
    }
  });
  if (call.tape) call.tape->indices.assign(call.tokens, call.tokens + call.in.rows());
}

template <class R>
void embedding_backward(const LayerSpec& spec, const BackwardCall<R>& call) {
  const int64_t width = spec.hidden_size;
  std::fill_n(call.grads, spec.input_size * width, R(0));
  each_run(valid_rows(call.tape->in, call.tape->schedule.get()), [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      R* to = call.grads + call.tape->indices[static_cast<std::size_t>(row)] * width;
      for (int64_t i = 0; i < width; ++i) to[i] += call.dy[row * width + i];
    }
  });
}

template <class R>
void activate(const Kernels<R>& kernels, const std::string& name, const R* x, R* y, int64_t count,
              int64_t width) {
  if (name == "sigmoid") {
    kernels.sigmoid(x, y, count * width);
  } else if (name == "tanh") {
    kernels.tanh(x, y, count * width);
  } else if (name == "relu") {
    for (int64_t i = 0; i < count * width; ++i) y[i] = x[i] < 0 ? R(0) : x[i];
  } else if (width > 0) {
    for (int64_t row = 0; row < count; ++row) softmax(x + row * width, y + row * width, width);
  }
}

template <class R>
void activation_forward(const LayerSpec& spec, const ForwardCall<R>& call) {
  const int64_t width = call.in.features;
  const ValidRows rows = valid_rows(call.in, call.schedule.get());
  if (rows.at) std::fill_n(call.y, call.in.size(), R(0));
  each_run(rows, [&](int64_t first, int64_t count) {
    activate(active_kernels<R>(), spec.nonlinearity, call.x + first * width, call.y + first * width,
             count, width);
  });
  if (!call.tape) return;
  Recycled<R> output(call.tape->memory, call.in.size());
  std::copy_n(call.y, call.in.size(), output.data());
  call.tape->inputs.push_back(std::move(output));
}

template <class R>
void activation_backward(const LayerSpec& spec, const BackwardCall<R>& call) {
  const Shape& in = call.tape->in;
  if (!call.dx) return;
  const ValidRows rows = valid_rows(in, call.tape->schedule.get());
  if (rows.at) std::fill_n(call.dx, in.size(), R(0));
  const R* y = call.tape->inputs[0].data();
  each_run(rows, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * in.features;
      activate_backward(spec.nonlinearity, y + at, call.dy + at, call.dx + at, in.features);
    }
  });
}

template <class R>
void affine(const R* parameters, const R* x, R* y, int64_t width) {
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] * parameters[i] + parameters[width + i];
}

template <class R>
void affine_forward(const R* parameters, const ForwardCall<R>& call) {
  const int64_t width = call.in.features;
  const ValidRows rows = valid_rows(call.in, call.schedule.get());
  if (rows.at) std::fill_n(call.y, call.in.size(), R(0));
  each_run(rows, [&](int64_t first, int64_t count) {
    for (int64_t at = first * width; at < (first + count) * width; at += width) {
      affine(parameters, call.x + at, call.y + at, width);
    }
  });
  if (!call.tape) return;
  Recycled<R> input(call.tape->memory, call.in.size());
  std::copy_n(call.x, call.in.size(), input.data());
  call.tape->inputs.push_back(std::move(input));
  Recycled<R> weight(call.tape->memory, width);
  std::copy_n(parameters, width, weight.data());
  call.tape->inputs.push_back(std::move(weight));
}

template <class R>
void affine_backward(const BackwardCall<R>& call) {
  const Shape& in = call.tape->in;
  const int64_t width = in.features;
  const ValidRows rows = valid_rows(in, call.tape->schedule.get());
  const R *x = call.tape->inputs[0].data(), *weight = call.tape->inputs[1].data();
  std::fill_n(call.grads, 2 * width, R(0));
  if (call.dx && rows.at) std::fill_n(call.dx, in.size(), R(0));
  each_run(rows, [&](int64_t first, int64_t count) {
    for (int64_t at = first * width; at < (first + count) * width; at += width) {
      for (int64_t i = 0; i < width; ++i) {
        call.grads[i] += call.dy[at + i] * x[at + i];
        call.grads[width + i] += call.dy[at + i];
        if (call.dx) call.dx[at + i] = call.dy[at + i] * weight[i];
      }
    }
  });
}

namespace {

// Copies the valid rows, zeros the others and, for a rate above 0, drops.
template <class R>
void drop(double rate, const Shape& in, const Schedule* schedule, uint64_t seed, const R* from,
          R* to, int threads) {
  const ValidRows rows = valid_rows(in, schedule);
  if (rows.at) std::fill_n(to, in.size(), R(0));
  DropArgs<R> args = drop_args<R>(rate, kept_scale(rate), seed, stream_of(Mask::between_layers));
  args.stride = args.columns = in.features;
  args.steps = in.steps;
  each_run(rows, [&](int64_t first, int64_t count) {
    std::copy_n(from + first * in.features, count * in.features, to + first * in.features);
    if (rate == 0) return;
    args.x = to + first * in.features;
    args.first = first;
    args.rows = count;
    drop_rows(active_kernels<R>(), args, threads);
  });
}

}  // namespace

template <class R>
void dropout_forward(const LayerSpec& spec, const ForwardCall<R>& call) {
  if (call.tape) call.tape->seed = call.seed;
  drop(call.tape ? spec.dropout : 0, call.in, call.schedule.get(), call.seed, call.x, call.y,
       call.threads);
}

template <class R>
void dropout_backward(const LayerSpec& spec, const BackwardCall<R>& call) {
  const LayerTape<R>& tape = *call.tape;
  if (!call.dx) return;
  drop(spec.dropout, tape.in, tape.schedule.get(), tape.seed, call.dy, call.dx, call.threads);
}

#define GRU_INSTANTIATE(R)                                                                       \
  template void embedding_forward(const LayerSpec&, const R*, const ForwardCall<R>&);            \
  template void embedding_backward(const LayerSpec&, const BackwardCall<R>&);                    \
  template void activate(const Kernels<R>&, const std::string&, const R*, R*, int64_t, int64_t); \
  template void activation_forward(const LayerSpec&, const ForwardCall<R>&);                     \
  template void activation_backward(const LayerSpec&, const BackwardCall<R>&);                   \
  template void affine(const R*, const R*, R*, int64_t);                                         \
  template void affine_forward(const R*, const ForwardCall<R>&);                                 \
  template void affine_backward(const BackwardCall<R>&);                                         \
  template void dropout_forward(const LayerSpec&, const ForwardCall<R>&);                        \
  template void dropout_backward(const LayerSpec&, const BackwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
