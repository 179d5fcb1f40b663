// Instruction sets, threads, facts about the build, and the two elementwise functions.
#include <pybind11/stl.h>

#include "bind.hpp"
#include "dispatch.hpp"
#include "float_mode.hpp"
#include "numpy.hpp"

namespace gru::python {
namespace {

template <class R>
Array<R> elementwise(const py::array& x, void (*Kernels<R>::*function)(const R*, R*, int64_t)) {
  const Array<R> in = checked<R>(x, "x");
  Array<R> out(std::vector<py::ssize_t>(in.shape(), in.shape() + in.ndim()));
  R* to = out.mutable_data();
  const py::gil_scoped_release release;
  FloatMode mode;
  (active_kernels<R>().*function)(in.data(), to, in.size());
  return out;
}

// Of float64 arrays in double, of anything else in float, which refuses what is not float32.
template <class F, class D>
auto by_dtype(F f32, D f64) {
  return [=](const py::array& x) -> py::object {
    if (x.dtype().equal(py::dtype::of<double>())) return elementwise<double>(x, f64);
    return elementwise<float>(x, f32);
  };
}

}  // namespace

void bind_runtime(py::module_& m) {
  m.def("isa_levels", &isa_levels);
  m.def("active_isa", &active_isa);
  m.def("set_isa", &set_isa, py::arg("name"));
  m.def("max_threads", &max_threads);
  m.def("get_num_threads", []() -> std::optional<int> {
    const int count = get_num_threads();
    return count > 0 ? std::optional<int>(count) : std::nullopt;
  });
  m.def(
      "set_num_threads",
      [](std::optional<int> n) {
        if (n && *n < 1)
          throw std::invalid_argument("n must be at least 1, got " + std::to_string(*n));
        set_num_threads(n.value_or(0));
      },
      py::arg("n").none(true));
  m.def("build_info", [] {
    py::dict info;
    for (const auto& [key, value] : build_info()) info[key.c_str()] = value;
    return info;
  });
  m.def("sigmoid", by_dtype(&Kernels<float>::sigmoid, &Kernels<double>::sigmoid), py::arg("x"));
  m.def("tanh", by_dtype(&Kernels<float>::tanh, &Kernels<double>::tanh), py::arg("x"));
}

}  // namespace gru::python
