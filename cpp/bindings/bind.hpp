// The pieces of the module, one function each.
#pragma once

#include <pybind11/pybind11.h>

namespace gru::python {

namespace py = pybind11;

void bind_runtime(py::module_& m);
void bind_layers(py::module_& m);
void bind_models(py::module_& m);
void bind_streams(py::module_& m);
void bind_optim(py::module_& m);

// Makes the C++ exception being handled Python's.
void set_python_error() noexcept;

}  // namespace gru::python
