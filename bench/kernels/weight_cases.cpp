// The kernels that know no cell, with the matrices of a reset-after GRU as wide as its input.
#include <string>
#include <vector>

#include "cases.hpp"
#include "layer.hpp"

namespace gru::bench {
namespace {

std::string times(int64_t a, int64_t b) { return std::to_string(a) + "x" + std::to_string(b); }

// The three gates' recurrent weights: as forward reads them, and transposed as backward does.
template <class R>
void pack_cases(Bench<R>& bench, const Layer<R>& layer) {
  if (!bench.wants("pack")) return;
  const int64_t gates = layer.layout.gates, size = gates * layer.hidden * layer.hidden;
  Buffer<R> panels = unwritten<R>(size);
  const double bytes = static_cast<double>(size + panels.size()) * sizeof(R);
  for (const bool transposed : {false, true}) {
    PackArgs<R> args = {};
    args.w = layer.u[0].data();
    args.gate_stride = layer.hidden * layer.hidden;
    args.unit_stride = transposed ? 1 : layer.hidden;
    args.k_stride = transposed ? layer.hidden : 1;
    args.gates = static_cast<int>(gates);
    args.units = args.depth = static_cast<int>(layer.hidden);
    args.panels = panels.data();
    args.panel_stride = gates * layer.hidden * bench.kernels.lanes;
    bench.measure({"pack",
                   "-",
                   "3x" + times(layer.hidden, layer.hidden) + (transposed ? " transposed" : ""),
                   {0, 0, bytes, bytes}},
                  [&] { bench.kernels.pack(args); }, {{panels.data(), panels.size()}});
  }
}

// Input side, forward: rows of x to rows of the three gates.
template <class R>
void product_cases(Bench<R>& bench, const Layer<R>& layer) {
  if (!bench.wants("product")) return;
  std::vector<int64_t> row_counts = batch_sizes(bench.quick());
  if (!bench.quick()) row_counts.push_back(256);
  for (const int64_t rows : row_counts) {
    const int64_t columns = layer.layout.gates * layer.hidden;
    const Buffer<R> x = random_values<R>(rows * layer.hidden, 1, 3);
    Buffer<R> out = unwritten<R>(rows * columns);
    ProductArgs<R> args = {};
    args.a = {x.data(), layer.hidden, nullptr};
    args.rows = rows;
    args.segments = 1;
    args.depth = static_cast<int>(layer.hidden);
    args.panels = layer.w.data();
    args.columns = columns;
    args.init = layer.init.data();
    args.out = {out.data(), columns, nullptr};
    const double bytes = static_cast<double>(layer.w.size() + x.size() + out.size()) * sizeof(R);
    const double flops = 2.0 * static_cast<double>(rows * columns * layer.hidden);
    bench.measure({"product",
                   "-",
                   std::to_string(rows) + " rows " + times(layer.hidden, columns),
                   {flops, 0, bytes, bytes}},
                  [&] { bench.kernels.product(args); }, {{out.data(), out.size()}});
  }
}

// Input side, backward: the gradients of three gates (of four fields a row) added to rows of dx.
template <class R>
void product_dx_cases(Bench<R>& bench, const Layer<R>& layer) {
  if (!bench.wants("product_dx")) return;
  for (const int64_t rows :
       bench.quick() ? std::vector<int64_t>{64} : std::vector<int64_t>{16, 256}) {
    const int64_t stride = grads_row(layer.layout, layer.hidden, bench.kernels.lanes);
    const Window window = layer.layout.w_grads;
    const Buffer<R> grads = random_values<R>(rows * stride, 0.1, 4);
    Buffer<R> dx = Buffer<R>::zeros(rows * layer.hidden);
    ProductArgs<R> args = {};
    args.a = {grads.data() + window.first * layer.hidden, stride, nullptr};
    args.rows = rows;
    args.segments = window.count;
    args.depth = static_cast<int>(layer.hidden);
    args.segment_stride = layer.hidden;
    args.panels = layer.w_t.data();
    args.columns = layer.hidden;
    args.add = true;
    args.out = {dx.data(), layer.hidden, nullptr};
    const double read = layer.fields(static_cast<double>(window.count * rows)) +
                        static_cast<double>(layer.w_t.size()) * sizeof(R);
    const double out = static_cast<double>(dx.size()) * sizeof(R);
    const double flops =
        2.0 * static_cast<double>(rows * window.count * layer.hidden * layer.hidden);
    bench.measure({"product_dx",
                   "-",
                   std::to_string(rows) + " rows 3x" + times(layer.hidden, layer.hidden),
                   {flops, 0, read + 2 * out, read + out}},
                  [&] { bench.kernels.product(args); }, {{dx.data(), dx.size()}});
  }
}

// Rows of a chunk of a training pass.
std::vector<int64_t> chunk_rows(int64_t hidden, bool quick) {
  if (quick || hidden > 256) return {256};
  return {256, 1024};
}

// Recurrent weight gradient: gate gradients times the saved states, both as the sweeps leave them.
template <class R>
void outer_cases(Bench<R>& bench, const Layer<R>& layer) {
  if (!bench.wants("outer")) return;
  for (const int64_t rows : chunk_rows(layer.hidden, bench.quick())) {
    const int64_t grads_stride = grads_row(layer.layout, layer.hidden, bench.kernels.lanes),
                  saved_stride = layer.layout.saved * layer.hidden;
    const Window window = layer.layout.u_grads[0];
    const int64_t width = window.count * layer.hidden;
    const Buffer<R> grads = random_values<R>(rows * grads_stride, 0.1, 5);
    const Buffer<R> saved = random_values<R>(rows * saved_stride, 1, 6);
    Buffer<R> sum = Buffer<R>::zeros(width * layer.hidden);
    Buffer<R> strip(kOuterStrip);
    OuterArgs<R> args = {};
    args.scratch = strip.data();
    args.a = {grads.data() + window.first * layer.hidden, grads_stride, nullptr};
    args.b = {saved.data() + layer.layout.saved_h * layer.hidden, saved_stride, nullptr};
    args.rows = rows;
    args.i1 = width;
    args.j1 = layer.hidden;
    args.c = sum.data();
    args.c_stride = layer.hidden;
    const double read = layer.fields(static_cast<double>(rows * (window.count + 1)));
    const double out = static_cast<double>(sum.size()) * sizeof(R);
    bench.measure(
        {"outer",
         "-",
         std::to_string(rows) + " rows " + times(width, layer.hidden),
         {2.0 * static_cast<double>(rows * width * layer.hidden), 0, read + 2 * out, read + out}},
        [&] { bench.kernels.outer(args); }, {{sum.data(), sum.size()}});
  }
}

// Bias gradients: sums over all four fields.
template <class R>
void column_sum_cases(Bench<R>& bench, const Layer<R>& layer) {
  if (!bench.wants("column_sum")) return;
  for (const int64_t rows : chunk_rows(layer.hidden, bench.quick())) {
    const int64_t columns = layer.layout.grads * layer.hidden;
    const Buffer<R> grads = random_values<R>(rows * columns, 0.1, 7);
    Buffer<R> sum = Buffer<R>::zeros(columns);
    const ColumnSumArgs<R> args = {{grads.data(), columns, nullptr}, rows, columns, sum.data()};
    const double bytes = static_cast<double>(grads.size() + 2 * sum.size()) * sizeof(R);
    bench.measure({"column_sum",
                   "-",
                   std::to_string(rows) + " rows x " + std::to_string(columns),
                   {static_cast<double>(rows * columns), 0, bytes, bytes}},
                  [&] { bench.kernels.column_sum(args); }, {{sum.data(), columns}});
  }
}

}  // namespace

template <class R>
void weight_cases(Bench<R>& bench) {
  bool any = false;
  for (const char* kernel : {"pack", "product", "product_dx", "outer", "column_sum"}) {
    any = any || bench.wants(kernel);
  }
  if (!any) return;
  for (const int64_t hidden : hidden_sizes(bench.quick())) {
    const Layer<R> layer(kGruAfter, hidden);
    pack_cases(bench, layer);
    product_cases(bench, layer);
    product_dx_cases(bench, layer);
    outer_cases(bench, layer);
    column_sum_cases(bench, layer);
  }
}

template void weight_cases(Bench<float>&);
template void weight_cases(Bench<double>&);

}  // namespace gru::bench
