// Optimiser updates: one fused pass over a parameter block each. Formulas as PyTorch's.
#pragma once

#include <cstdint>

#include "gru/api.hpp"

namespace gru {

struct SgdOptions {
  double lr, momentum, weight_decay;
  bool nesterov;
};
struct AdamOptions {
  int64_t step;  // from 1
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;  // AdamW
};
struct RmspropOptions {
  double lr, alpha, eps, momentum, weight_decay;
};

// velocity may be null where momentum is 0.
template <class R>
GRU_API void sgd_update(R* p, const R* g, R* velocity, int64_t count, const SgdOptions& o);
template <class R>
GRU_API void adam_update(R* p, const R* g, R* m, R* v, int64_t count, const AdamOptions& o);
template <class R>
GRU_API void rmsprop_update(R* p, const R* g, R* square, R* velocity, int64_t count,
                            const RmspropOptions& o);

// In double, ascending.
template <class R>
GRU_API double sum_squares(const R* g, int64_t count);
template <class R>
GRU_API void scale(R* g, int64_t count, double factor);

}  // namespace gru
