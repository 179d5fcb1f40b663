// The table of kernels in use.
#pragma once

#include "gru/api.hpp"
#include "kernels.hpp"

namespace gru {

template <class R>
GRU_API const Kernels<R>& active_kernels();  // shown for the Python module

}  // namespace gru
