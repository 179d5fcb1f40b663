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

// What a call for training adds to one for inference.
template <class R>
struct Training {
  std::shared_ptr<LayerTape<R>> tape = make_tape<R>();
  uint64_t seed = 0;
  int64_t memory_limit = 0;
  bool trace = false;
  py::object x;  // out: what the tape may point to
};

template <class R>
py::tuple forward(const Layer<R>& layer, py::handle x, py::handle state, py::handle lengths,
                  py::handle mask, Training<R>* training) {
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
  if (training) {
    call.tape = training->tape.get();
    call.seed = training->seed;
    call.memory_limit = training->memory_limit;
    call.trace = training->trace;
    call.x_stays = true;
    training->x = input.owner;
  }
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
    return forward<R>(layer, a[0], a[1], a[2], a[3], nullptr);
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
py::tuple forward_train(const std::shared_ptr<Layer<R>>& layer, const py::object& x,
                        const py::object& state, const py::object& lengths, const py::object& mask,
                        uint64_t seed, int64_t memory_limit) {
  Training<R> training;
  training.seed = seed;
  training.memory_limit = memory_limit;
  const py::tuple result = forward<R>(*layer, x, state, lengths, mask, &training);
  return py::make_tuple(result[0], result[1],
                        Tape(layer, std::move(training.tape), std::move(training.x)));
}

// Arrays (B, T, N * D, H) for each of some names, and where they are.
template <class R>
struct NamedSteps {
  py::dict arrays;
  std::vector<R*> data;

  NamedSteps(const std::vector<std::string>& names, const LayerSpec& spec, const Shape& in) {
    for (const std::string& name : names) {
      py::array_t<R> array(
          {in.batch, in.steps, spec.num_layers * spec.directions(), spec.hidden_size});
      data.push_back(array.mutable_data());
      std::fill_n(data.back(), array.size(), R(0));
      arrays[name.c_str()] = array;
    }
  }
};

template <class R>
py::dict trace(const Layer<R>& layer, const py::object& x, const py::object& state,
               const py::object& lengths, const py::object& mask) {
  Training<R> training;
  training.trace = true;
  const py::tuple result = forward<R>(layer, x, state, lengths, mask, &training);
  const LayerSpec& spec = layer.spec();
  const Shape& in = layer_input(*training.tape);
  const State<R> last = checked_state<R>(result[1], "state", spec, in.batch);
  NamedSteps<R> steps(trace_names(spec), spec, in);
  read_trace(spec, *training.tape, last.view, steps.data);
  return steps.arrays;
}

template <class R>
py::tuple backward(const Layer<R>& layer, const Tape& from, const py::object& dy,
                   const py::object& dstate, bool traced) {
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
  std::vector<std::string> names;
  if (traced) names = {"dh", "carried", "through"};
  if (traced && spec.kind == Kind::lstm) names.insert(names.end(), {"dc", "carried_c"});
  NamedSteps<R> flow(names, spec, in);
  R** const of_flow[] = {&call.flow.dh, &call.flow.carried, &call.flow.through, &call.flow.dc,
                         &call.flow.carried_c};
  for (std::size_t i = 0; i < names.size(); ++i) *of_flow[i] = flow.data[i];
  {
    py::gil_scoped_release release;
    layer.backward(call);
  }
  if (traced) return py::make_tuple(dx, dfirst, grads, flow.arrays);
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
      .def("forward_train", &forward_train<R>, "x"_a, "state"_a = none, "lengths"_a = none,
           "mask"_a = none, "seed"_a = 0, "memory_limit"_a = 0)
      .def("trace", &trace<R>, "x"_a, "state"_a = none, "lengths"_a = none, "mask"_a = none)
      .def("backward", &backward<R>, "tape"_a, "dy"_a.none(true), "dstate"_a = none,
           "traced"_a = false);
}

}  // namespace

void bind_layers(py::module_& m) {
  py::class_<Tape>(m, "Tape").def_property_readonly("nbytes", &Tape::bytes);
  bind_layer<float>(m, "Layer32");
  bind_layer<double>(m, "Layer64");
}

}  // namespace gru::python
