#include "fast_method.hpp"

namespace gru::python {

void sort_arguments(const char* method, const char* const* names, std::size_t count,
                    PyObject* const* given, Py_ssize_t positional, PyObject* keywords,
                    py::handle* sorted) {
  if (static_cast<std::size_t>(positional) > count) {
    throw py::type_error(std::string(method) + "() takes at most " + std::to_string(count) +
                         " arguments, got " + std::to_string(positional));
  }
  std::copy(given, given + positional, sorted);
  const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t k = 0; k < named; ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, k);
    std::size_t i = 0;
    while (i < count && PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) ++i;
    if (i < count && !sorted[i]) {
      sorted[i] = given[positional + k];
      continue;
    }
    throw py::type_error(std::string(method) + "() got " +
                         (i < count ? "two values for its argument '" : "an unknown argument '") +
                         py::handle(keyword).cast<std::string>() + "'");
  }
}

}  // namespace gru::python
