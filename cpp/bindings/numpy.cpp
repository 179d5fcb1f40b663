// The checks, one message each.
#include "numpy.hpp"

#include <limits>

namespace gru::python {

namespace {

template <class Sizes>
std::string join(const Sizes* sizes, int64_t rank) {
  std::string text = "(";
  for (int64_t i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + (rank == 1 ? ",)" : ")");
}

std::string join(const Dims& shape) { return join(shape.size, shape.rank); }

}  // namespace

std::string describe_shape(const py::array& array) { return join(array.shape(), array.ndim()); }

std::string describe_type(py::handle object) {
  if (object.is_none()) return "None";
  if (py::isinstance<py::array>(object)) {
    const auto array = py::reinterpret_borrow<py::array>(object);
    return "an array of dtype " + py::str(array.dtype()).cast<std::string>();
  }
  return "a " + py::type::of(object).attr("__name__").cast<std::string>();
}

bool has_shape(const py::array& array, const Dims& shape) {
  return array.ndim() == shape.rank &&
         std::equal(shape.size, shape.size + shape.rank, array.shape());
}

namespace {

// Same layout in memory as the kernels read: C-contiguous and aligned.
py::array plain(const py::array& array) {
  constexpr int kFlags = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  py::array result = py::array::ensure(array, kFlags);
  if (!result) throw py::error_already_set();
  return result;
}

// Whether the kernels can read an array as it is: values of type R in native order, aligned, dense.
template <class R>
bool readable(py::handle object) {
  constexpr int kFlags = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::isinstance<py::array>(object)) return false;
  const auto* array = py::detail::array_proxy(object.ptr());
  const auto* type = py::detail::array_descriptor_proxy(array->descr);
  return type->type_num == py::detail::npy_format_descriptor<R>::value && type->byteorder == '=' &&
         (array->flags & kFlags) == kFlags;
}

void require_axis(int64_t size, const char* axis) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  if (size <= kLargest) return;
  throw std::invalid_argument(std::string("x must have at most ") + std::to_string(kLargest) + " " +
                              axis + ", got " + std::to_string(size));
}

}  // namespace

template <class R>
Array<R> checked(py::handle object, const char* name) {
  if (readable<R>(object)) return py::reinterpret_borrow<Array<R>>(object);
  const std::string wanted = kDtypeName<R>;
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(std::string(name) + " must be a NumPy array of dtype " + wanted +
                         ", got " + describe_type(object) + "; convert it with np.asarray(" + name +
                         ", dtype=\"" + wanted + "\")");
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(py::dtype::of<R>())) {
    throw py::type_error(std::string(name) + " must have dtype " + wanted + ", got " +
                         py::str(array.dtype()).cast<std::string>() + "; cast it with " + name +
                         ".astype(\"" + wanted + "\")");
  }
  return Array<R>(plain(array));
}

template <class R>
Array<R> checked(py::handle object, const char* name, const Dims& shape, const char* letters) {
  Array<R> array = checked<R>(object, name);
  if (has_shape(array, shape)) return array;
  const std::string expected = (*letters ? std::string(letters) + " = " : "") + join(shape);
  throw std::invalid_argument(std::string(name) + " must have shape " + expected + ", got " +
                              describe_shape(array));
}

template <class R>
Array<R> new_array(const Dims& shape) {
  const py::ssize_t sizes[3] = {shape.size[0], shape.size[1], shape.size[2]};
  auto& api = py::detail::npy_api::get();
  PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, py::dtype::of<R>().release().ptr(),
                                              shape.rank, sizes, nullptr, nullptr, 0, nullptr);
  if (!array) throw py::error_already_set();
  return py::reinterpret_steal<Array<R>>(array);
}

Array<int64_t> checked_integers(py::handle object, const char* name) {
  const py::array array = py::array::ensure(object);
  if (!array) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + " must hold integers, got " + describe_type(object));
  }
  const char kind = array.dtype().kind();
  const bool empty_list = array.size() == 0 && !py::isinstance<py::array>(object);
  if (kind != 'i' && kind != 'u' && !empty_list) {
    throw py::type_error(std::string(name) + " must hold integers, got dtype " +
                         py::str(array.dtype()).cast<std::string>());
  }
  if (kind == 'u' && array.itemsize() == 8 && array.size() > 0) {
    const auto largest = array.attr("max")().cast<uint64_t>();
    if (largest > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw std::invalid_argument(std::string(name) + " holds " + std::to_string(largest) +
                                  ", which does not fit int64");
    }
  }
  return Array<int64_t>(plain(array.attr("astype")("int64")));
}

template <class R>
py::array view(const std::shared_ptr<R>& owner, int64_t offset, const std::vector<int64_t>& shape,
               bool writeable) {
  py::capsule base(new std::shared_ptr<R>(owner),
                   [](void* p) { delete static_cast<std::shared_ptr<R>*>(p); });
  py::array array(py::dtype::of<R>(), std::vector<py::ssize_t>(shape.begin(), shape.end()),
                  owner.get() + offset, base);
  if (!writeable) array.attr("flags").attr("writeable") = false;
  return array;
}

Validity checked_validity(const Shape& in, py::handle lengths, py::handle mask) {
  Validity validity;
  if (lengths.is_none() && mask.is_none()) return validity;
  if (!lengths.is_none() && !mask.is_none()) {
    throw std::invalid_argument("give lengths or mask, not both");
  }
  if (!in.sequence) {
    throw std::invalid_argument(
        "lengths and mask need an x with a time axis, of shape (B, T, ...), got shape (" +
        std::to_string(in.batch) + ", " + std::to_string(in.features) + ")");
  }
  if (!lengths.is_none()) {
    validity.lengths = checked_integers(lengths, "lengths");
    if (!has_shape(*validity.lengths, {in.batch})) {
      throw std::invalid_argument("lengths must have shape (B,) = " + join({in.batch}) + ", got " +
                                  describe_shape(*validity.lengths));
    }
    return validity;
  }
  const py::array array = py::array::ensure(mask);
  if (!array || array.dtype().kind() != 'b') {
    PyErr_Clear();
    throw py::type_error("mask must hold booleans, True where a step is valid, got " +
                         describe_type(mask));
  }
  if (!has_shape(array, {in.batch, in.steps})) {
    throw std::invalid_argument("mask must have shape (B, T) = " + join({in.batch, in.steps}) +
                                ", got " + describe_shape(array));
  }
  validity.mask = Array<bool>(array.attr("copy")("C"));
  return validity;
}

std::shared_ptr<const Schedule> Validity::schedule(const Shape& in) const {
  if (lengths) return schedule_of(in.batch, in.steps, lengths->data(), nullptr);
  if (!mask) return nullptr;
  return schedule_of(in.batch, in.steps, nullptr, reinterpret_cast<const uint8_t*>(mask->data()));
}

template <class R>
Input<R> checked_input(py::handle x, bool tokens) {
  Input<R> input;
  if (tokens) {
    const Array<int64_t> array = checked_integers(x, "x");
    if (array.ndim() != 2) {
      throw std::invalid_argument("x must hold tokens of shape (B, T), got " +
                                  describe_shape(array));
    }
    input.shape = {array.shape(0), array.shape(1), 1, true};
    input.tokens = array.data();
    input.owner = array;
  } else {
    const Array<R> array = checked<R>(x, "x");
    if (array.ndim() == 2) {
      input.shape = {array.shape(0), 1, array.shape(1), false};
    } else if (array.ndim() == 3) {
      input.shape = {array.shape(0), array.shape(1), array.shape(2), true};
    } else {
      throw std::invalid_argument("x must have shape (B, T, I), got " + describe_shape(array));
    }
    input.values = array.data();
    input.owner = array;
  }
  require_axis(input.shape.batch, "sequences");
  require_axis(input.shape.steps, "steps");
  return input;
}

namespace {

Dims state_shape(const LayerSpec& spec, int64_t batch) {
  return {batch, spec.num_layers * spec.directions(), spec.hidden_size};
}

// -> where the values are, kept alive by `owner`.
template <class R>
const R* checked_state_array(py::handle object, const char* name, const LayerSpec& spec,
                             int64_t batch, py::object& owner) {
  const Dims shape = state_shape(spec, batch);
  const Array<R> array = checked<R>(object, name);
  owner = array;
  if (has_shape(array, shape)) return array.data();
  const auto& [b, rows, hidden] = shape.size;
  std::string expected = "(B, N*D, H) = " + join(shape);
  if (b != rows && has_shape(array, {rows, b, hidden})) {
    expected += " (batch first; yours is in PyTorch's axis order: use np.swapaxes(" +
                std::string(name) + ", 0, 1))";
  }
  throw std::invalid_argument(std::string(name) + " must have shape " + expected + ", got " +
                              describe_shape(array));
}

}  // namespace

template <class R>
State<R> checked_state(py::handle object, const char* name, const LayerSpec& spec, int64_t batch) {
  State<R> state;
  if (object.is_none()) return state;
  if (!spec.recurrent()) {
    throw std::invalid_argument(std::string(name) + " must be None: a " + name_of(spec.kind) +
                                " layer has no state");
  }
  const bool is_pair = py::isinstance<py::tuple>(object) || py::isinstance<py::list>(object);
  if (spec.kind != Kind::lstm) {
    if (is_pair) {
      throw py::type_error(std::string(name) + " must be one array (B, N*D, H) for a " +
                           name_of(spec.kind) + " layer, got " + describe_type(object) +
                           "; a pair (h, c) is an LSTM's state");
    }
    state.view.h = checked_state_array<R>(object, name, spec, batch, state.h);
    return state;
  }
  if (!is_pair || py::len(object) != 2) {
    throw py::type_error(
        std::string(name) + " must be the pair (h, c) for an lstm layer, got " +
        (is_pair ? std::to_string(py::len(object)) + " values" : describe_type(object)));
  }
  const auto pair = py::reinterpret_borrow<py::sequence>(object);
  const py::object h = pair[0], c = pair[1];
  state.view.h =
      checked_state_array<R>(h, (std::string(name) + "[0]").c_str(), spec, batch, state.h);
  state.view.c =
      checked_state_array<R>(c, (std::string(name) + "[1]").c_str(), spec, batch, state.c);
  return state;
}

template <class R>
NewState<R>::NewState(const LayerSpec& spec, int64_t batch) {
  const Dims shape = state_shape(spec, batch);
  Array<R> h = new_array<R>(shape);
  view.h = h.mutable_data();
  object = h;
  if (spec.kind != Kind::lstm) return;
  Array<R> c = new_array<R>(shape);
  view.c = c.mutable_data();
  object = py::make_tuple(h, c);
}

#define GRU_INSTANTIATE(R)                                                                        \
  template Array<R> checked(py::handle, const char*);                                             \
  template Array<R> checked(py::handle, const char*, const Dims&, const char*);                   \
  template Array<R> new_array(const Dims&);                                                       \
  template py::array view(const std::shared_ptr<R>&, int64_t, const std::vector<int64_t>&, bool); \
  template Input<R> checked_input(py::handle, bool);                                              \
  template State<R> checked_state(py::handle, const char*, const LayerSpec&, int64_t);            \
  template struct NewState<R>;
GRU_INSTANTIATE(float)
GRU_INSTANTIATE(double)

}  // namespace gru::python
