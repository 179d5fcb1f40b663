// NumPy arrays in and out: every check of dtype, rank and shape, with one message each. No math.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gru/gru.hpp"

namespace gru::python {

namespace py = pybind11;

template <class R>
using Array = py::array_t<R, py::array::c_style>;

template <class R>
constexpr const char* kDtypeName = sizeof(R) == 4 ? "float32" : "float64";

// Whether the engine should let go of the GIL for this work, about 10 us and more: taking it back
// costs a fifth of one at best, and a wait at worst.
inline bool worth_releasing(int64_t multiply_adds) { return multiply_adds > 200000; }

// "(3, 5, 2)"
std::string describe_shape(const py::array& array);
std::string describe_type(py::handle object);

// The shape of an array of at most three axes.
struct Dims {
  int rank;
  int64_t size[3];

  Dims(std::initializer_list<int64_t> sizes) : rank(static_cast<int>(sizes.size())), size{} {
    std::copy(sizes.begin(), sizes.end(), size);
  }
};

bool has_shape(const py::array& array, const Dims& shape);

// A C-contiguous array of exactly the dtype R (converted in layout, never in dtype).
// TypeError otherwise, showing the cast.
template <class R>
Array<R> checked(py::handle object, const char* name);
// The same, and of this shape, which the message describes after its letters, as "(B, N*D, H)".
template <class R>
Array<R> checked(py::handle object, const char* name, const Dims& shape, const char* letters = "");

// Integers of any width as int64; TypeError for anything else.
Array<int64_t> checked_integers(py::handle object, const char* name);

template <class R>
Array<R> new_array(const Dims& shape);

// (B, T, F) or (B, F).
inline Dims dims_of(const Shape& shape) {
  if (!shape.sequence) return {shape.batch, shape.features};
  return {shape.batch, shape.steps, shape.features};
}

// A view of memory that `owner` keeps alive.
template <class R>
py::array view(const std::shared_ptr<R>& owner, int64_t offset, const std::vector<int64_t>& shape,
               bool writeable);

// Which steps are valid: copies of at most one of lengths (B,) and mask (B, T), so that nobody can
// change them while the schedule is made without the GIL.
struct Validity {
  std::optional<Array<int64_t>> lengths;
  std::optional<Array<bool>> mask;

  // Null when nothing was given.
  std::shared_ptr<const Schedule> schedule(const Shape& in) const;
};
Validity checked_validity(const Shape& in, py::handle lengths, py::handle mask);

// x of shape (B, T, F), or (B, F) where the layer takes it, or tokens (B, T).
// (An array_t made without arguments is an array of its own: whatever may be absent is an object.)
template <class R>
struct Input {
  py::object owner;
  const R* values = nullptr;
  const int64_t* tokens = nullptr;
  Shape shape;
};
template <class R>
Input<R> checked_input(py::handle x, bool tokens);

// A state as the public API has it: (B, N * D, H), or the pair (h, c) of an LSTM. None: null.
template <class R>
struct State {
  py::object h, c;  // owners
  StateView<const R> view;
};
template <class R>
State<R> checked_state(py::handle object, const char* name, const LayerSpec& spec, int64_t batch);

// Fresh arrays for a state of `batch` sequences, and how Python sees it.
template <class R>
struct NewState {
  StateView<R> view;
  py::object object;
  NewState(const LayerSpec& spec, int64_t batch);
};

}  // namespace gru::python
