#include "bind.hpp"
#include "float_mode.hpp"
#include "numpy.hpp"
#include "optim.hpp"

namespace gru::python {
namespace {

// The vectors of one update: all of the parameter block's dtype and size, written in place but g.
template <class R>
class Vectors {
 public:
  explicit Vectors(const py::object& p) : size_(checked<R>(p, "p").size()), p_(writeable(p, "p")) {}

  int64_t size() const { return size_; }
  R* p() const { return p_; }
  const R* read(const py::object& object, const char* name) const {
    return vector(object, name).data();
  }
  R* writeable(const py::object& object, const char* name) const {
    Array<R> array = vector(object, name);
    if (array.ptr() != object.ptr() || !array.writeable()) {
      throw std::invalid_argument(std::string(name) +
                                  " must be contiguous and writeable (a frozen layer's is not)");
    }
    return array.mutable_data();
  }
  R* optional(const py::object& object, const char* name) const {
    return object.is_none() ? nullptr : writeable(object, name);
  }

 private:
  Array<R> vector(const py::object& object, const char* name) const {
    return checked<R>(object, name, {size_}, "(" + std::to_string(size_) + ",) like p");
  }
  int64_t size_;
  R* p_;
};

// Calls work(R()) with the R of the first array's dtype.
template <class Work>
auto by_dtype(const py::object& array, Work work) {
  if (py::isinstance<py::array_t<double>>(array)) return work(double());
  return work(float());
}

}  // namespace

void bind_optim(py::module_& m) {
  using namespace py::literals;
  using O = const py::object&;
  m.def(
      "sgd_update",
      [](O p, O g, O velocity, double lr, double momentum, bool nesterov, double weight_decay) {
        by_dtype(p, [&](auto zero) {
          const Vectors<decltype(zero)> v(p);
          FloatMode mode;
          sgd_update(v.p(), v.read(g, "g"), v.optional(velocity, "velocity"), v.size(),
                     {lr, momentum, weight_decay, nesterov});
        });
      },
      "p"_a, "g"_a, "velocity"_a.none(true), py::kw_only(), "lr"_a, "momentum"_a, "nesterov"_a,
      "weight_decay"_a);
  m.def(
      "adam_update",
      [](O p, O g, O m1, O m2, int64_t step, double lr, double beta1, double beta2, double eps,
         double weight_decay, bool decoupled) {
        by_dtype(p, [&](auto zero) {
          const Vectors<decltype(zero)> v(p);
          FloatMode mode;
          adam_update(v.p(), v.read(g, "g"), v.writeable(m1, "m"), v.writeable(m2, "v"), v.size(),
                      {step, lr, beta1, beta2, eps, weight_decay, decoupled});
        });
      },
      "p"_a, "g"_a, "m"_a, "v"_a, py::kw_only(), "step"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
      "weight_decay"_a, "decoupled"_a);
  m.def(
      "rmsprop_update",
      [](O p, O g, O square, O velocity, double lr, double alpha, double eps, double momentum,
         double weight_decay) {
        by_dtype(p, [&](auto zero) {
          const Vectors<decltype(zero)> v(p);
          FloatMode mode;
          rmsprop_update(v.p(), v.read(g, "g"), v.writeable(square, "square"),
                         v.optional(velocity, "velocity"), v.size(),
                         {lr, alpha, eps, momentum, weight_decay});
        });
      },
      "p"_a, "g"_a, "square"_a, "velocity"_a.none(true), py::kw_only(), "lr"_a, "alpha"_a, "eps"_a,
      "momentum"_a, "weight_decay"_a);
  m.def(
      "sum_squares",
      [](O g) {
        return by_dtype(g, [&](auto zero) {
          const auto array = checked<decltype(zero)>(g, "g");
          return sum_squares(array.data(), array.size());
        });
      },
      "g"_a);
  m.def(
      "scale",
      [](O g, double factor) {
        by_dtype(g, [&](auto zero) {
          using R = decltype(zero);
          const Vectors<R> v(g);
          for (int64_t i = 0; i < v.size(); ++i) v.p()[i] *= static_cast<R>(factor);
        });
      },
      "g"_a, "factor"_a);
}

}  // namespace gru::python
