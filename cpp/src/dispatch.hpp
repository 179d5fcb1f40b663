// The table of kernels in use.
#pragma once

#include "kernels.hpp"

namespace gru {

template <class R>
const Kernels<R>& active_kernels();

}  // namespace gru
