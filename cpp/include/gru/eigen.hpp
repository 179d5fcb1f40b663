// For users who hold Eigen matrices: sequences, steps and parameters as matrices. Header alone;
// needs Eigen 3.4 or newer of the user's own, and copies only where a matrix is not dense and
// row-major.
#pragma once

#include <Eigen/Core>
#include <stdexcept>
#include <string>
#include <vector>

#include "gru/model.hpp"
#include "gru/stream.hpp"

namespace gru {

template <class R>
using RowMatrix = Eigen::Matrix<R, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class R>
using Row = Eigen::Matrix<R, 1, Eigen::Dynamic>;

// One sequence (steps, features) -> (steps, output_features), or (1, output_features) where the
// model pools. Throws std::invalid_argument as Model::forward does.
template <class Derived>
RowMatrix<typename Derived::Scalar> forward(const Model& model,
                                            const Eigen::MatrixBase<Derived>& x) {
  using R = typename Derived::Scalar;
  const RowMatrix<R>& rows = x.derived().eval();
  const Shape in = {1, rows.rows(), rows.cols(), true}, out = model.output_shape(in);
  RowMatrix<R> y(out.rows(), out.features);
  model.forward(rows.data(), y.data(), in);
  return y;
}

// Sequences of any lengths, in one call of the engine.
template <class R>
std::vector<RowMatrix<R>> forward(const Model& model, const std::vector<RowMatrix<R>>& sequences) {
  Shape in = {static_cast<int64_t>(sequences.size()), 0, model.input_features(), true};
  std::vector<int64_t> lengths;
  for (const RowMatrix<R>& x : sequences) {
    if (x.cols() != in.features) {
      throw std::invalid_argument("sequence " + std::to_string(lengths.size()) + " must have " +
                                  std::to_string(in.features) + " columns, got " +
                                  std::to_string(x.cols()));
    }
    lengths.push_back(x.rows());
    if (x.rows() > in.steps) in.steps = x.rows();
  }
  RowMatrix<R> padded = RowMatrix<R>::Zero(in.rows(), in.features);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    padded.middleRows(static_cast<int64_t>(i) * in.steps, lengths[i]) = sequences[i];
  }
  const Shape out = model.output_shape(in);
  RowMatrix<R> y(out.rows(), out.features);
  model.forward(padded.data(), y.data(), in, lengths.data());
  std::vector<RowMatrix<R>> results;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const int64_t rows = out.sequence ? lengths[i] : 1;
    results.push_back(y.middleRows(static_cast<int64_t>(i) * out.steps, rows));
  }
  return results;
}

// One step of a stream of one sequence, x and y any dense vectors; allocates nothing. Throws
// std::invalid_argument where sizes do not fit or a vector has gaps, as a row of a column-major
// matrix does, with the state as it was.
template <class X, class Y>
void step(Stream& stream, const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Y>& y) {
  static_assert(X::IsVectorAtCompileTime && Y::IsVectorAtCompileTime, "a step takes vectors");
  if (stream.batch() != 1 || x.size() != stream.input_features() ||
      y.size() != stream.output_features()) {
    throw std::invalid_argument("a step takes " + std::to_string(stream.input_features()) +
                                " numbers and gives " + std::to_string(stream.output_features()) +
                                " in a stream of one sequence, got " + std::to_string(x.size()) +
                                " and " + std::to_string(y.size()) + " in one of " +
                                std::to_string(stream.batch()));
  }
  if (x.derived().innerStride() != 1 || y.derived().innerStride() != 1) {
    throw std::invalid_argument(
        "x and y must be without gaps: a row of a row-major matrix, or a "
        "column of a column-major one");
  }
  // Eigen's way to write to a block that is a temporary.
  stream.step(x.derived().data(), const_cast<Eigen::MatrixBase<Y>&>(y).derived().data());
}

// A named parameter of an open layer, live: (rows, columns), a bias as one row. Valid until the
// layer is frozen. Throws std::invalid_argument where it is frozen, or has none of this name.
template <class R>
Eigen::Map<RowMatrix<R>> parameter(Layer<R>& layer, const std::string& name) {
  if (layer.frozen()) throw std::invalid_argument("the layer is frozen: unfreeze() it first");
  for (const Parameter& p : layer.parameters()) {
    if (p.name != name) continue;
    const int64_t columns = p.shape.back();
    return {layer.block().get() + p.offset, columns ? p.size / columns : 0, columns};
  }
  throw std::invalid_argument("the layer has no parameter '" + name + "'");
}

}  // namespace gru
