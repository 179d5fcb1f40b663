// A layer's spec to and from a dict.
#pragma once

#include "numpy.hpp"

namespace gru::python {

// TypeError for a field of the wrong type, ValueError for an unknown or missing one.
LayerSpec spec_from(const py::dict& fields);
py::dict spec_to(LayerSpec spec);

}  // namespace gru::python
