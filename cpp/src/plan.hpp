// How a call is spread over threads: a small cost model of one step.
#pragma once

#include "geometry.hpp"
#include "gru/layer.hpp"
#include "kernels.hpp"
#include "parallel.hpp"

namespace gru {

// A recurrent layer's call over `rows` valid steps of a batch; `threads` may be used at most.
Plan plan_recurrent(const Geometry& g, int64_t element_bytes, int64_t batch, int64_t rows,
                    int64_t parameters, int threads);

// The blocks of hidden units that one member of a team takes.
Share share_of(const Geometry& g, Member& member);

// Rows of features, each on its own: any thread may take any of them.
Plan plan_rows(int64_t rows, int64_t parameters, int threads);

}  // namespace gru
