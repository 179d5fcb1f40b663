#include "arrays.hpp"

#include <algorithm>
#include <fstream>

namespace bench {
namespace {

// Where our gates stand in oneDNN's order: r z n is (u r o)[1 0 2], where u weights the old state
// as z does; i f g o and a plain RNN agree.
std::vector<int64_t> places(const Job& job) {
  if (job.cell == "gru") return {1, 0, 2};
  return job.cell == "lstm" ? std::vector<int64_t>{0, 1, 2, 3} : std::vector<int64_t>{0};
}

// The sizes of one weight matrix: (G*H, I) in files, (I, G, H) in oneDNN.
struct Matrix {
  int64_t gates, hidden, inputs;
  std::vector<int64_t> place;
  int64_t size() const { return gates * hidden * inputs; }
  int64_t file(int64_t g, int64_t h, int64_t i) const { return (g * hidden + h) * inputs + i; }
  int64_t dnnl(int64_t g, int64_t h, int64_t i) const {
    return (i * gates + place[g]) * hidden + h;
  }
};

template <class Visit>
void for_each(const Matrix& m, Visit visit) {
  for (int64_t g = 0; g < m.gates; ++g)
    for (int64_t h = 0; h < m.hidden; ++h)
      for (int64_t i = 0; i < m.inputs; ++i) visit(m.file(g, h, i), m.dnnl(g, h, i));
}

void append_matrix(const Matrix& m, const Floats& from, Floats& to) {
  const size_t base = to.size();
  to.resize(base + m.size());
  for_each(m, [&](int64_t file, int64_t dnnl) { to[base + dnnl] = from[file]; });
}

Floats take_matrix(const Matrix& m, const Floats& from, int64_t direction) {
  Floats to(m.size());
  const int64_t base = direction * m.size();
  for_each(m, [&](int64_t file, int64_t dnnl) { to[file] = from[base + dnnl]; });
  return to;
}

// Where the bias of gate g goes; a hidden bias that stands alone is the last one.
int64_t bias_place(const Job& job, int64_t g, bool on_hidden) {
  return job.lbr() && on_hidden && g == 2 ? 3 : places(job)[g];
}

void append_biases(const Job& job, const Floats& input, const Floats& hidden, Floats& to) {
  const size_t base = to.size();
  to.resize(base + job.biases() * job.hidden);
  for (int64_t g = 0; g < job.gates(); ++g)
    for (int64_t h = 0; h < job.hidden; ++h) {
      to[base + bias_place(job, g, false) * job.hidden + h] += input[g * job.hidden + h];
      to[base + bias_place(job, g, true) * job.hidden + h] += hidden[g * job.hidden + h];
    }
}

// Two biases that were added up have the same gradient.
Floats take_bias(const Job& job, const Floats& from, int64_t direction, bool on_hidden) {
  Floats to(job.gates() * job.hidden);
  const int64_t base = direction * job.biases() * job.hidden;
  for (int64_t g = 0; g < job.gates(); ++g)
    for (int64_t h = 0; h < job.hidden; ++h)
      to[g * job.hidden + h] = from[base + bias_place(job, g, on_hidden) * job.hidden + h];
  return to;
}

Matrix input_matrix(const Job& job, int64_t layer) {
  return {job.gates(), job.hidden, job.width(layer), places(job)};
}

Matrix hidden_matrix(const Job& job) { return {job.gates(), job.hidden, job.hidden, places(job)}; }

}  // namespace

Floats read_floats(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("cannot read " + path);
  Floats values(static_cast<size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
  return values;
}

void write_floats(const std::string& path, const Floats& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  if (!file) throw std::runtime_error("cannot write " + path);
}

bool exists(const std::string& path) { return std::ifstream(path).good(); }

Floats swap_axes(const Floats& values, int64_t batch, int64_t steps) {
  Floats swapped(values.size());
  const int64_t width = values.size() / (batch * steps);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < steps; ++t)
      std::copy_n(&values[(b * steps + t) * width], width, &swapped[(t * batch + b) * width]);
  return swapped;
}

Parameters read_parameters(const Job& job, int64_t layer) {
  Parameters p;
  for (int64_t d = 0; d < job.directions; ++d) {
    const auto read = [&](const char* name) {
      return read_floats(job.path + "/" + name + job.end(layer, d) + ".bin");
    };
    append_matrix(input_matrix(job, layer), read("weight_ih"), p.w);
    append_matrix(hidden_matrix(job), read("weight_hh"), p.u);
    append_biases(job, read("bias_ih"), read("bias_hh"), p.b);
  }
  return p;
}

Words write_gradients(const Job& job, int64_t layer, const Parameters& gradient,
                      const std::string& prefix) {
  Words names;
  for (int64_t d = 0; d < job.directions; ++d) {
    const auto write = [&](const char* name, const Floats& values) {
      names.push_back(std::string("d_") + name + job.end(layer, d));
      write_floats(prefix + "." + names.back() + ".bin", values);
    };
    write("weight_ih", take_matrix(input_matrix(job, layer), gradient.w, d));
    write("weight_hh", take_matrix(hidden_matrix(job), gradient.u, d));
    write("bias_ih", take_bias(job, gradient.b, d, false));
    write("bias_hh", take_bias(job, gradient.b, d, true));
  }
  return names;
}

}  // namespace bench
