// gru._core: a list of its pieces.
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "bind.hpp"
#include "gru/runtime.hpp"
#include "parallel.hpp"

namespace py = pybind11;

namespace {

// A message may quote a path or a file, which need not be UTF-8.
py::object readable(const char* message) {
  PyObject* text = PyUnicode_DecodeUTF8(message, static_cast<Py_ssize_t>(std::strlen(message)),
                                        "backslashreplace");
  return py::reinterpret_steal<py::object>(text);
}

}  // namespace

namespace gru::python {

void set_python_error() noexcept {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::system_error& error) {
    // OSError picks its own subclass (FileNotFoundError, PermissionError, ...) from the number.
    const py::object os_error = py::reinterpret_borrow<py::object>(PyExc_OSError);
    const py::object value = os_error(error.code().value(), readable(error.what()));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())), value.ptr());
  } catch (const std::invalid_argument& error) {
    PyErr_SetObject(PyExc_ValueError, readable(error.what()).ptr());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetObject(PyExc_RuntimeError, readable(error.what()).ptr());
  }
}

}  // namespace gru::python

// Without a GIL the module asks for none: a model is not changed while it is shared, and streams
// and pools tell a second thread so (bind_streams.cpp).
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "The compiled engine behind the gru package; private.";
  py::register_exception_translator([](std::exception_ptr pending) {
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (...) {
      gru::python::set_python_error();
    }
  });
  // Before another library's threads: a child forked after those must know it is one.
  gru::threads_usable();
  gru::active_isa();  // a wrong GRU_FORCE_ISA fails the import, not the first call
  gru::python::bind_runtime(m);
  gru::python::bind_layers(m);
  gru::python::bind_models(m);
  gru::python::bind_streams(m);
  gru::python::bind_optim(m);
}
