// Reads and writes specs field by field.
#include "spec.hpp"

namespace gru::python {
namespace {

struct Read {
  const py::dict& from;
  std::size_t& used;

  template <class T>
  void operator()(const char* name, T& value) const {
    if (!from.contains(name)) return;
    ++used;
    const py::object field = from[name];
    const bool is_bool = py::isinstance<py::bool_>(field);
    try {
      if (is_bool != std::is_same_v<T, bool>) throw py::cast_error();
      value = field.cast<T>();
    } catch (const py::cast_error&) {
      constexpr const char* kExpected = std::is_same_v<T, bool>      ? "True or False"
                                        : std::is_same_v<T, int64_t> ? "an integer"
                                        : std::is_same_v<T, double>  ? "a number"
                                                                     : "a string";
      throw py::type_error(std::string(name) + " must be " + kExpected + ", got " +
                           py::repr(field).cast<std::string>());
    }
  }
  template <class T>
  void optional(const char* name, T& value) const {
    (*this)(name, value);
  }
};

struct Write {
  py::dict& to;
  template <class T>
  void operator()(const char* name, const T& value) const {
    to[name] = value;
  }
  template <class T>
  void optional(const char* name, const T& value) const {
    to[name] = value;
  }
};

}  // namespace

LayerSpec spec_from(const py::dict& fields) {
  LayerSpec spec;
  std::size_t used = 0;
  Read read{fields, used};
  std::string kind;
  read("kind", kind);
  spec.kind = kind_of(kind);
  visit_fields(spec, read);
  if (used != fields.size()) {
    throw std::invalid_argument("spec has a field that a layer of kind '" + kind +
                                "' does not have: " + py::str(fields).cast<std::string>());
  }
  return spec;
}

py::dict spec_to(LayerSpec spec) {
  py::dict fields;
  fields["kind"] = name_of(spec.kind);
  visit_fields(spec, Write{fields});
  return fields;
}

}  // namespace gru::python
