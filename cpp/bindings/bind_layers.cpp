// Layer32, Layer64 and the tape.
#include <pybind11/stl.h>

#include "call.hpp"
#include "fast_method.hpp"
#include "spec.hpp"
#include "tape.hpp"

namespace gru::python {
namespace {

template <class R>
py::dict named_views(const Layer<R>& layer, const std::shared_ptr<R>& block, bool writeable) {
  py::dict views;
  for (const Parameter& p : layer.parameters()) {
    views[p.name.c_str()] = view(block, p.offset, p.shape, writeable);
  }
  return views;
}

// Views of a vector that is shaped like the parameter block, such as a gradient.
template <class R>
py::dict views_of(const Layer<R>& layer, const py::array& block) {
  const Array<R> flat = checked<R>(block, "block", {layer.size()});
  py::dict views;
  for (const Parameter& p : layer.parameters()) {
    const py::slice range(p.offset, p.offset + p.size, 1);
    views[p.name.c_str()] = flat[range].attr("reshape")(py::cast(std::vector<int64_t>(p.shape)));
  }
  return views;
}

template <class R>
py::tuple forward(const Layer<R>& layer, py::handle x, py::handle state, py::handle lengths,
                  py::handle mask, uint64_t seed, LayerTape<R>* tape) {
  const LayerSpec& spec = layer.spec();
  const Input<R> input = checked_input<R>(x, spec.kind == Kind::embedding);
  const Shape out = layer.output_shape(input.shape);
  const State<R> first = checked_state<R>(state, "state", spec, input.shape.batch);
  ForwardCall<R> call;
  const Validity validity = checked_validity(input.shape, lengths, mask);
  call.in = input.shape;
  call.x = input.values;
  call.tokens = input.tokens;
  call.state = first.view;
  call.tape = tape;
  call.seed = seed;
  Array<R> y = new_array<R>(dims_of(out));
  call.y = y.mutable_data();
  py::object last_state = py::none();
  if (spec.recurrent()) {
    NewState<R> last(spec, input.shape.batch);
    call.last_state = last.view;
    last_state = last.object;
  }
  const auto run = [&] {
    call.schedule = validity.schedule(input.shape);
    layer.forward(call);
  };
  if (worth_releasing(input.shape.rows() * std::max(layer.size(), 8 * input.shape.features))) {
    py::gil_scoped_release release;
    run();
  } else {
    run();
  }
  PyObject* pair = PyTuple_Pack(2, y.ptr(), last_state.ptr());
  if (!pair) throw py::error_already_set();
  return py::reinterpret_steal<py::tuple>(pair);
}

template <class R>
struct Forward {
  static constexpr const char* kName = "forward";
  static constexpr const char* kDefinition =
      "forward($self, x, state=None, lengths=None, mask=None)\n--\n\nRuns for inference.";
  static constexpr const char* kNames[] = {"x", "state", "lengths", "mask"};
  static constexpr std::size_t kRequired = 1;
  static py::object call(const Layer<R>& layer, const py::handle* a) {
    return forward<R>(layer, a[0], a[1], a[2], a[3], 0, nullptr);
  }
};

template <class R>
py::dict plan(const Layer<R>& layer, int64_t batch, int64_t steps, const py::object& lengths,
              const py::object& mask, bool training, int threads) {
  using namespace py::literals;
  const LayerSpec& spec = layer.spec();
  const Shape in = {batch, steps, spec.sized() ? spec.input_size : 1, true};
  const auto schedule = checked_validity(in, lengths, mask).schedule(in);
  const Plan p = layer.plan(in, training, threads, schedule ? schedule->rows : -1);
  return py::dict("available"_a = p.available, "threads"_a = p.threads, "slices"_a = p.slices,
                  "members"_a = p.members, "reason"_a = explain(p));
}

template <class R>
py::tuple backward(const Layer<R>& layer, const Tape& from, const py::object& dy,
                   const py::object& dstate) {
  const LayerSpec& spec = layer.spec();
  const auto& tape = from.layer<R>(layer);
  const Shape in = layer_input(*tape), out = layer.output_shape(in);
  BackwardCall<R> call;
  call.tape = tape.get();
  py::object dy_owner;
  if (!dy.is_none()) {
    const Array<R> array = checked<R>(dy, "dy", dims_of(out));
    call.dy = array.data();
    dy_owner = array;
  } else if (!spec.recurrent()) {
    throw py::type_error("dy must be an array: a " + std::string(name_of(spec.kind)) +
                         " layer has no other output");
  }
  const State<R> last = checked_state<R>(dstate, "dstate", spec, in.batch);
  call.dstate = last.view;
  py::object dx = py::none(), dfirst = py::none();
  if (spec.kind != Kind::embedding) {
    Array<R> array = new_array<R>(dims_of(in));
    call.dx = array.mutable_data();
    dx = array;
  }
  if (spec.recurrent()) {
    NewState<R> first(spec, in.batch);
    call.dfirst_state = first.view;
    dfirst = first.object;
  }
  Array<R> grads = new_array<R>({layer.size()});
  call.grads = grads.mutable_data();
  {
    py::gil_scoped_release release;
    layer.backward(call);
  }
  return py::make_tuple(dx, dfirst, grads);
}

template <class R>
void bind_layer(py::module_& m, const char* name) {
  using namespace py::literals;
  using L = Layer<R>;
  const py::object none = py::none();
  py::class_<L, std::shared_ptr<L>> layer(m, name);
  define_fast<Forward<R>>(layer);
  layer
      .def(py::init([](const py::dict& spec) { return std::make_shared<L>(spec_from(spec)); }),
           "spec"_a)
      .def_property_readonly("spec", [](const L& l) { return spec_to(l.spec()); })
      .def_property_readonly("dtype", [](const L&) { return kDtypeName<R>; })
      .def_property_readonly("frozen", &L::frozen)
      .def("parameters", [](const L& l) { return named_views(l, l.block(), !l.frozen()); })
      .def("flat", [](const L& l) { return view(l.block(), 0, {l.size()}, !l.frozen()); })
      .def("views", &views_of<R>, "block"_a)
      .def("freeze", &L::freeze, py::call_guard<py::gil_scoped_release>())
      .def("unfreeze", &L::unfreeze, py::call_guard<py::gil_scoped_release>())
      .def("plan", &plan<R>, "batch"_a, "steps"_a, "lengths"_a, "mask"_a, "training"_a, "threads"_a)
      .def(
          "forward_train",
          [](const std::shared_ptr<L>& l, const py::object& x, const py::object& state,
             const py::object& lengths, const py::object& mask, uint64_t seed) {
            auto tape = make_tape<R>();
            const py::tuple result = forward<R>(*l, x, state, lengths, mask, seed, tape.get());
            return py::make_tuple(result[0], result[1], Tape(l, std::move(tape)));
          },
          "x"_a, "state"_a = none, "lengths"_a = none, "mask"_a = none, "seed"_a = 0)
      .def("backward", &backward<R>, "tape"_a, "dy"_a.none(true), "dstate"_a = none);
}

}  // namespace

void bind_layers(py::module_& m) {
  py::class_<Tape>(m, "Tape").def_property_readonly("nbytes", &Tape::bytes);
  bind_layer<float>(m, "Layer32");
  bind_layer<double>(m, "Layer64");
}

}  // namespace gru::python
