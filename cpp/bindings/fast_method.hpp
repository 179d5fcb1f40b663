// Methods that are called a million times a second, straight from CPython's vectorcall: pybind11's
// own dispatch costs about half a microsecond, as much as a small step itself.
#pragma once

#include "bind.hpp"

namespace gru::python {

// Puts the arguments of a call in the order of `names`; what was not given stays null.
void sort_arguments(const char* method, const char* const* names, std::size_t count,
                    PyObject* const* given, Py_ssize_t positional, PyObject* keywords,
                    py::handle* sorted);

// Method is a type with
// - kDefinition: "name($self, x, out=None)\n--\n\nWhat it does.", as Python reads it;
// - kName and kNames: the method and its parameters, of which those after kRequired may miss;
// - call(Self&, const handle*): takes the arguments in the order of kNames, returns an object.
template <class Self, class Method>
PyObject* call_fast(PyObject* self, PyObject* const* given, Py_ssize_t positional,
                    PyObject* keywords) noexcept {
  constexpr std::size_t kCount = std::size(Method::kNames);
  try {
    auto* instance = reinterpret_cast<py::detail::instance*>(self);
    auto* object = static_cast<Self*>(instance->get_value_and_holder().value_ptr());
    if (!object) throw py::type_error("__init__ was not called");
    py::handle sorted[kCount];
    sort_arguments(Method::kName, Method::kNames, kCount, given, positional, keywords, sorted);
    for (std::size_t i = 0; i < kCount; ++i) {
      if (sorted[i]) continue;
      if (i < Method::kRequired) {
        throw py::type_error(std::string(Method::kName) + "() misses its argument '" +
                             Method::kNames[i] + "'");
      }
      sorted[i] = Py_None;
    }
    return Method::call(*object, sorted).release().ptr();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

template <class Method, class Self, class... Options>
void define_fast(py::class_<Self, Options...>& type) {
  using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
  const Function function = call_fast<Self, Method>;
  static PyMethodDef definition = {
      Method::kName, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
      METH_FASTCALL | METH_KEYWORDS, Method::kDefinition};
  auto* owner = reinterpret_cast<PyTypeObject*>(type.ptr());
  type.attr(Method::kName) =
      py::reinterpret_steal<py::object>(PyDescr_NewMethod(owner, &definition));
}

}  // namespace gru::python
