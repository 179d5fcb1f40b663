// The pieces of the module, one function each.
#pragma once

#include <pybind11/pybind11.h>

namespace gru::python {

void bind_runtime(pybind11::module_& m);
void bind_layers(pybind11::module_& m);
void bind_models(pybind11::module_& m);
void bind_optim(pybind11::module_& m);

}  // namespace gru::python
