// The optimisers' updates over parameter blocks.
#include "gru/optim.hpp"

#include "bind.hpp"
#include "float_mode.hpp"
#include "numpy.hpp"

namespace gru::python {
namespace {

// The vectors of one update, all of the parameter block's dtype and size, kept alive while it runs.
template <class R>
class Vectors {
 public:
  explicit Vectors(const py::object& p) : size_(checked<R>(p, "p").size()), p_(write(p, "p")) {}

  int64_t size() const { return size_; }
  R* p() const { return p_; }
  const R* read(const py::object& object, const char* name) { return keep(object, name).data(); }
  R* write(const py::object& object, const char* name) {
    Array<R> array = keep(object, name);
    if (array.ptr() != object.ptr() || !array.writeable()) {
      throw std::invalid_argument(std::string(name) +
                                  " must be contiguous and writeable (a frozen layer's is not)");
    }
    return array.mutable_data();
  }
  R* write_optional(const py::object& object, const char* name) {
    return object.is_none() ? nullptr : write(object, name);
  }

 private:
  Array<R> keep(const py::object& object, const char* name) {
    kept_.push_back(checked<R>(object, name, {size_}, "that of p"));
    return kept_.back();
  }

  std::vector<Array<R>> kept_;
  int64_t size_;
  R* p_;
};

// Calls work(R()) with the R of the array's dtype.
template <class Work>
auto by_dtype(const py::object& array, Work work) {
  if (py::isinstance<py::array_t<double>>(array)) return work(double());
  return work(float());
}

// Runs `work` with the GIL released, in the engine's floating-point mode.
template <class Work>
auto released(Work work) {
  py::gil_scoped_release release;
  FloatMode mode;
  return work();
}

}  // namespace

void bind_optim(py::module_& m) {
  using namespace py::literals;
  using O = const py::object&;
  m.def(
      "sgd_update",
      [](O p, O g, O velocity, double lr, double momentum, bool nesterov, double weight_decay) {
        by_dtype(p, [&](auto zero) {
          Vectors<decltype(zero)> v(p);
          const auto* gradient = v.read(g, "g");
          auto* speed = v.write_optional(velocity, "velocity");
          released([&] {
            sgd_update(v.p(), gradient, speed, v.size(), {lr, momentum, weight_decay, nesterov});
          });
        });
      },
      "p"_a, "g"_a, "velocity"_a.none(true), py::kw_only(), "lr"_a, "momentum"_a, "nesterov"_a,
      "weight_decay"_a);
  m.def(
      "adam_update",
      [](O p, O g, O m1, O m2, int64_t step, double lr, double beta1, double beta2, double eps,
         double weight_decay, bool decoupled) {
        by_dtype(p, [&](auto zero) {
          Vectors<decltype(zero)> v(p);
          const auto* gradient = v.read(g, "g");
          auto* mean = v.write(m1, "m");
          auto* square = v.write(m2, "v");
          released([&] {
            adam_update(v.p(), gradient, mean, square, v.size(),
                        {step, lr, beta1, beta2, eps, weight_decay, decoupled});
          });
        });
      },
      "p"_a, "g"_a, "m"_a, "v"_a, py::kw_only(), "step"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
      "weight_decay"_a, "decoupled"_a);
  m.def(
      "rmsprop_update",
      [](O p, O g, O square, O velocity, double lr, double alpha, double eps, double momentum,
         double weight_decay) {
        by_dtype(p, [&](auto zero) {
          Vectors<decltype(zero)> v(p);
          const auto* gradient = v.read(g, "g");
          auto* mean_square = v.write(square, "square");
          auto* speed = v.write_optional(velocity, "velocity");
          released([&] {
            rmsprop_update(v.p(), gradient, mean_square, speed, v.size(),
                           {lr, alpha, eps, momentum, weight_decay});
          });
        });
      },
      "p"_a, "g"_a, "square"_a, "velocity"_a.none(true), py::kw_only(), "lr"_a, "alpha"_a, "eps"_a,
      "momentum"_a, "weight_decay"_a);
  m.def(
      "sum_squares",
      [](O g) {
        return by_dtype(g, [&](auto zero) {
          const auto array = checked<decltype(zero)>(g, "g");
          return released([&] { return sum_squares(array.data(), array.size()); });
        });
      },
      "g"_a);
  m.def(
      "scale",
      [](O g, double factor) {
        by_dtype(g, [&](auto zero) {
          const Vectors<decltype(zero)> v(g);
          released([&] { scale(v.p(), v.size(), factor); });
        });
      },
      "g"_a, "factor"_a);
}

}  // namespace gru::python
