// Two products, two sigmoids, a tanh: Eigen's own code throughout, compiled for AVX2 and FMA where
// the machine has them, as the libraries for audio plug-ins do.
#include "plain.hpp"

#include <Eigen/Core>

namespace latency {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic>;
using Vector = Eigen::VectorXf;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct PlainGru::Impl {
  Matrix w, u;
  Vector b, c, h, side, hidden_side, r, z, n;
};

PlainGru::PlainGru(int inputs, int hidden, const float* weight_ih, const float* weight_hh,
                   const float* bias_ih, const float* bias_hh)
    : impl_(new Impl) {
  impl_->w = Eigen::Map<const Rows>(weight_ih, 3 * hidden, inputs);
  impl_->u = Eigen::Map<const Rows>(weight_hh, 3 * hidden, hidden);
  impl_->b = Eigen::Map<const Vector>(bias_ih, 3 * hidden);
  impl_->c = Eigen::Map<const Vector>(bias_hh, 3 * hidden);
  impl_->h = Vector::Zero(hidden);
  impl_->side = impl_->hidden_side = Vector(3 * hidden);
  impl_->r = impl_->z = impl_->n = Vector(hidden);
}
PlainGru::~PlainGru() = default;

// r = sigmoid(W_r x + b_r + U_r h + c_r), z alike, n = tanh(W_n x + b_n + r (U_n h + c_n)),
// h' = (1 - z) n + z h
void PlainGru::step(const float* x, float* y) {
  Impl& s = *impl_;
  const Eigen::Index units = s.h.size();
  s.side = s.b;
  s.side.noalias() += s.w * Eigen::Map<const Vector>(x, s.w.cols());
  s.hidden_side = s.c;
  s.hidden_side.noalias() += s.u * s.h;
  s.r = (s.side.head(units) + s.hidden_side.head(units)).array().logistic();
  s.z = (s.side.segment(units, units) + s.hidden_side.segment(units, units)).array().logistic();
  s.n = (s.side.tail(units).array() + s.r.array() * s.hidden_side.tail(units).array()).tanh();
  s.h = s.n.array() + s.z.array() * (s.h - s.n).array();
  Eigen::Map<Vector>(y, units) = s.h;
}

float read(const float* data, long count, bool backward) {
  // As many chains as loads and sums of a latency of three or four need.
  constexpr long kSome = 64;
  using Chains = Eigen::Array<float, kSome, 1>;
  Chains sums = Chains::Zero();
  for (long i = 0; i + kSome <= count; i += kSome) {
    sums += Eigen::Map<const Chains>(data + (backward ? count - kSome - i : i));
  }
  return sums.sum();
}

}  // namespace latency
