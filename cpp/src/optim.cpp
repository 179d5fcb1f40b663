// The optimisers' equations.
#include "gru/optim.hpp"

#include <cmath>

namespace gru {

// v = momentum v + g;   p -= lr (g + momentum v) with Nesterov, else lr v.
template <class R>
void sgd_update(R* p, const R* g, R* velocity, int64_t count, const SgdOptions& o) {
  const R lr = static_cast<R>(o.lr), momentum = static_cast<R>(o.momentum);
  const R decay = static_cast<R>(o.weight_decay);
  for (int64_t i = 0; i < count; ++i) {
    R d = g[i] + decay * p[i];
    if (velocity) {
      velocity[i] = momentum * velocity[i] + d;
      d = o.nesterov ? d + momentum * velocity[i] : velocity[i];
    }
    p[i] -= lr * d;
  }
}

// Kingma & Ba 2015; decoupled decay: Loshchilov & Hutter 2019.
template <class R>
void adam_update(R* p, const R* g, R* m, R* v, int64_t count, const AdamOptions& o) {
  const R beta1 = static_cast<R>(o.beta1), beta2 = static_cast<R>(o.beta2);
  const R rest1 = static_cast<R>(1 - o.beta1), rest2 = static_cast<R>(1 - o.beta2);
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(o.step));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(o.step));
  const R rate = static_cast<R>(o.lr / correction1);
  const R root = static_cast<R>(std::sqrt(correction2)), eps = static_cast<R>(o.eps);
  const R decay = static_cast<R>(o.decoupled ? 0 : o.weight_decay);
  const R shrink = static_cast<R>(o.decoupled ? 1 - o.lr * o.weight_decay : 1);
  for (int64_t i = 0; i < count; ++i) {
    const R d = g[i] + decay * p[i];
    m[i] = beta1 * m[i] + rest1 * d;
    v[i] = beta2 * v[i] + rest2 * d * d;
    p[i] = shrink * p[i] - rate * m[i] / (std::sqrt(v[i]) / root + eps);
  }
}

// Hinton's lecture 6e (2012), with PyTorch's momentum.
template <class R>
void rmsprop_update(R* p, const R* g, R* square, R* velocity, int64_t count,
                    const RmspropOptions& o) {
  const R lr = static_cast<R>(o.lr), alpha = static_cast<R>(o.alpha), eps = static_cast<R>(o.eps);
  const R rest = static_cast<R>(1 - o.alpha), momentum = static_cast<R>(o.momentum);
  const R decay = static_cast<R>(o.weight_decay);
  for (int64_t i = 0; i < count; ++i) {
    const R d = g[i] + decay * p[i];
    square[i] = alpha * square[i] + rest * d * d;
    R change = d / (std::sqrt(square[i]) + eps);
    if (velocity) change = velocity[i] = momentum * velocity[i] + change;
    p[i] -= lr * change;
  }
}

template <class R>
double sum_squares(const R* g, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  return sum;
}

template <class R>
void scale(R* g, int64_t count, double factor) {
  const R by = static_cast<R>(factor);
  for (int64_t i = 0; i < count; ++i) g[i] *= by;
}

#define GRU_INSTANTIATE(R)                                                            \
  template void sgd_update(R*, const R*, R*, int64_t, const SgdOptions&);             \
  template void adam_update(R*, const R*, R*, R*, int64_t, const AdamOptions&);       \
  template void rmsprop_update(R*, const R*, R*, R*, int64_t, const RmspropOptions&); \
  template double sum_squares(const R*, int64_t);                                     \
  template void scale(R*, int64_t, double);
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru
