// Linear: y = x W^T + b, over the same products as the recurrent layers.
#include <algorithm>

#include "parallel.hpp"
#include "scratch.hpp"
#include "stateless.hpp"

namespace gru {

template <class R>
std::shared_ptr<const Packed<R>> pack_linear(const LayerSpec& spec, const R* parameters,
                                             const Kernels<R>& kernels, bool backward) {
  const int64_t in = spec.input_size, out = spec.hidden_size, lanes = kernels.lanes;
  auto packed = std::make_shared<Packed<R>>();
  packed->kernels = &kernels;
  packed->backward = backward;
  Panels<R> panels;
  panels.w = Buffer<R>(in * round_up(out, lanes));
  kernels.pack({parameters, 0, in, 1, 1, static_cast<int>(out), static_cast<int>(in),
                panels.w.data(), in * lanes});
  panels.init = Buffer<R>::zeros(round_up(out, lanes));
  if (spec.bias) std::copy_n(parameters + out * in, out, panels.init.data());
  if (backward) {
    panels.w_t = Buffer<R>(out * round_up(in, lanes));
    kernels.pack({parameters, 0, 1, in, 1, static_cast<int>(in), static_cast<int>(out),
                  panels.w_t.data(), out * lanes});
  }
  packed->panels.push_back(std::move(panels));
  return packed;
}

template <class R>
void multiply_rows(const Kernels<R>& kernels, const ValidRows& rows, Rows<const R> a, int64_t depth,
                   const Buffer<R>& panels, const R* init, R* out, int64_t columns, int threads) {
  parallel_ranges(rows.count, 8, threads, [&](int64_t begin, int64_t end) {
    ProductArgs<R> args = {};
    args.a = {rows.at ? a.data : a.data + begin * a.stride, a.stride,
              rows.at ? rows.at + begin : nullptr};
    args.rows = end - begin;
    args.segments = 1;
    args.depth = static_cast<int>(depth);
    args.panels = panels.data();
    args.columns = columns;
    args.init = init;
    args.out = {rows.at ? out : out + begin * columns, columns, args.a.at};
    kernels.product(args);
  });
}

template <class R>
void linear_forward(const LayerSpec& spec, const std::shared_ptr<const Packed<R>>& packed,
                    const ForwardCall<R>& call) {
  const Kernels<R>& kernels = *packed->kernels;
  const int64_t in = spec.input_size, out = spec.hidden_size;
  const ValidRows rows = valid_rows(call.in, call.schedule.get());
  if (rows.at) std::fill_n(call.y, call.in.rows() * out, R(0));
  const Panels<R>& panels = packed->panels[0];
  multiply_rows(kernels, rows, {call.x, in, nullptr}, in, panels.w, panels.init.data(), call.y, out,
                call.threads);
  if (!call.tape) return;
  // Rows of x, padded to whole lanes: the side of dW's product that is read a vector at a time.
  const int64_t stride = round_up(in, kernels.lanes);
  Recycled<R> kept(call.tape->memory, rows.count * stride);
  for (int64_t row = 0; row < rows.count; ++row) {
    R* to = kept.data() + row * stride;
    std::copy_n(call.x + (rows.at ? rows.at[row] : row) * in, in, to);
    std::fill(to + in, to + stride, R(0));
  }
  call.tape->inputs.push_back(std::move(kept));
  call.tape->packed = packed;
}

template <class R>
void linear_backward(const LayerSpec& spec, const BackwardCall<R>& call) {
  const LayerTape<R>& tape = *call.tape;
  const Kernels<R>& kernels = *tape.packed->kernels;
  const int64_t in = spec.input_size, out = spec.hidden_size;
  const int64_t stride = round_up(in, kernels.lanes);
  const ValidRows rows = valid_rows(tape.in, tape.schedule.get());
  if (call.dx) {
    if (rows.at) std::fill_n(call.dx, tape.in.size(), R(0));
    multiply_rows(kernels, rows, {call.dy, out, nullptr}, out, tape.packed->panels[0].w_t,
                  static_cast<const R*>(nullptr), call.dx, in, call.threads);
  }
  Buffer<R> sum = Buffer<R>::zeros(out * stride);
  OuterArgs<R> outer = {};
  outer.a = {call.dy, out, rows.at};
  outer.b = {tape.inputs[0].data(), stride, nullptr};
  outer.rows = rows.count;
  outer.i1 = out;
  outer.j1 = stride;
  outer.c = sum.data();
  outer.c_stride = stride;
  parallel_ranges(out, 8, call.threads, [&](int64_t begin, int64_t end) {
    Scratch<R> strip(kOuterStrip);
    OuterArgs<R> part = outer;
    part.scratch = strip.data();
    part.i0 = begin;
    part.i1 = end;
    kernels.outer(part);
  });
  for (int64_t row = 0; row < out; ++row) {
    std::copy_n(sum.data() + row * stride, in, call.grads + row * in);
  }
  if (!spec.bias) return;
  R* bias = call.grads + out * in;
  std::fill_n(bias, out, R(0));
  kernels.column_sum({outer.a, rows.count, out, bias});
}

#define GRU_INSTANTIATE(R)                                                                 \
  template std::shared_ptr<const Packed<R>> pack_linear(const LayerSpec&, const R*,        \
                                                        const Kernels<R>&, bool);          \
  template void multiply_rows(const Kernels<R>&, const ValidRows&, Rows<const R>, int64_t, \
                              const Buffer<R>&, const R*, R*, int64_t, int);               \
  template void linear_forward(const LayerSpec&, const std::shared_ptr<const Packed<R>>&,  \
                               const ForwardCall<R>&);                                     \
  template void linear_backward(const LayerSpec&, const BackwardCall<R>&);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
