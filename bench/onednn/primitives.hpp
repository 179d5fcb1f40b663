// Creates the oneDNN primitives of one layer; the only place that knows oneDNN's four cells.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "job.hpp"

namespace bench {

struct Primitives {
  dnnl::primitive_desc_base forward;
  dnnl::primitive_desc_base backward;  // empty for inference
};

Primitives make_primitives(const Job& job, int64_t layer, const dnnl::engine& engine);

}  // namespace bench
