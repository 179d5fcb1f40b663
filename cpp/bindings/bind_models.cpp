// Model32, Model64, streams and model files.
#include <pybind11/stl.h>

#include "fast_method.hpp"
#include "tape.hpp"

namespace gru::python {
namespace {

// What a call may add to plain inference.
template <class R>
struct Options {
  std::shared_ptr<ModelTape<R>> tape;  // training
  uint64_t seed = 0;
  int64_t memory_limit = 0;
  const py::object* state = nullptr;  // a sequence, one entry a recurrent layer; None: zero
  py::object last_state;              // out: the list of them, where a state is given
  Shape shape;                        // out: of the result
  py::object x;                       // out: what the tape may point to
};

// States in and out, one entry a recurrent layer.
template <class R>
struct States {
  std::vector<State<R>> first;

  States(const Model<R>& model, Options<R>& options, int64_t batch, ModelCall<R>& call) {
    if (!options.state) return;
    py::list lasts;
    options.last_state = lasts;
    std::vector<const LayerSpec*> specs;
    for (const auto& layer : model.layers()) {
      if (layer->spec().recurrent()) specs.push_back(&layer->spec());
    }
    if (!options.state->is_none()) read(*options.state, specs, batch, call);
    for (const LayerSpec* spec : specs) {
      NewState<R> last(*spec, batch);
      call.last_state.push_back(last.view);
      lasts.append(last.object);
    }
  }

 private:
  void read(const py::sequence& given_states, const std::vector<const LayerSpec*>& specs,
            int64_t batch, ModelCall<R>& call) {
    const std::size_t given = py::len(given_states);
    if (given != specs.size()) {
      throw std::invalid_argument("state must hold " + std::to_string(specs.size()) +
                                  " entries, one a recurrent layer, got " + std::to_string(given));
    }
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const py::object entry = given_states[i];
      const std::string name = "state[" + std::to_string(i) + "]";
      if (entry.is_none()) throw py::type_error(name + " must be an array or a pair, got None");
      first.push_back(checked_state<R>(entry, name.c_str(), *specs[i], batch));
      call.state.push_back(first.back().view);
    }
  }
};

template <class R>
py::object forward(const Model<R>& model, const py::object& x, const py::object& lengths,
                   const py::object& mask, Options<R>& options) {
  const Input<R> input = checked_input<R>(x, model.takes_tokens());
  const Shape out = options.shape = model.output_shape(input.shape);
  ModelCall<R> call;
  call.in = input.shape;
  call.x = input.values;
  call.tokens = input.tokens;
  const Validity validity = checked_validity(input.shape, lengths, mask);
  call.tape = options.tape.get();
  call.seed = options.seed;
  call.memory_limit = options.memory_limit;
  call.x_stays = true;
  options.x = input.owner;
  const States<R> states(model, options, input.shape.batch, call);
  Array<R> y = new_array<R>(dims_of(out));
  call.y = y.mutable_data();
  {
    py::gil_scoped_release release;
    call.schedule = validity.schedule(input.shape);
    model.forward(call);
  }
  return std::move(y);
}

template <class R>
py::object infer(const Model<R>& model, const py::object& x, const py::object& lengths,
                 const py::object& mask) {
  Options<R> options;
  return forward<R>(model, x, lengths, mask, options);
}

template <class R>
py::tuple carry(const Model<R>& model, const py::object& x, const py::object& state,
                const py::object& lengths, const py::object& mask) {
  Options<R> options;
  options.state = &state;
  const py::object y = forward<R>(model, x, lengths, mask, options);
  return py::make_tuple(y, options.last_state);
}

template <class R>
Options<R> training(uint64_t seed, int64_t memory_limit) {
  Options<R> options;
  options.tape = std::make_shared<ModelTape<R>>();
  options.seed = seed;
  options.memory_limit = memory_limit;
  return options;
}

template <class R>
py::tuple forward_train(const std::shared_ptr<Model<R>>& model, const py::object& x,
                        const py::object& lengths, const py::object& mask, uint64_t seed,
                        int64_t memory_limit) {
  Options<R> options = training<R>(seed, memory_limit);
  const py::object y = forward<R>(*model, x, lengths, mask, options);
  return py::make_tuple(y, Tape(model, std::move(options.tape), options.shape, options.x));
}

template <class R>
py::tuple forward_carry(const std::shared_ptr<Model<R>>& model, const py::object& x,
                        const py::object& state, const py::object& lengths, const py::object& mask,
                        uint64_t seed, int64_t memory_limit) {
  Options<R> options = training<R>(seed, memory_limit);
  options.state = &state;
  const py::object y = forward<R>(*model, x, lengths, mask, options);
  return py::make_tuple(y, options.last_state,
                        Tape(model, std::move(options.tape), options.shape, options.x));
}

template <class R>
int64_t least_memory(const Model<R>& model, int64_t batch, int64_t steps,
                     const py::object& lengths) {
  const Shape in = {batch, steps, std::max<int64_t>(model.input_features(), 1), true};
  const auto schedule = checked_validity(in, lengths, py::none()).schedule(in);
  return model.least_memory(in, schedule.get());
}

template <class R>
py::list backward(const Model<R>& model, const Tape& from, const py::object& dy) {
  const auto& tape = from.model<R>(model);
  const Array<R> dy_array = checked<R>(dy, "dy", dims_of(from.output()));
  py::list result;
  std::vector<R*> grads;
  for (const auto& layer : model.layers()) {
    Array<R> block = new_array<R>({layer->size()});
    grads.push_back(block.mutable_data());
    result.append(block);
  }
  {
    py::gil_scoped_release release;
    model.backward(*tape, dy_array.data(), grads);
  }
  return result;
}

template <class R, class T>
void run_step(Stream<R>& stream, const T* x, R* y) {
  if (worth_releasing(stream.multiply_adds())) {
    py::gil_scoped_release release;
    stream.step(x, y);
  } else {
    stream.step(x, y);
  }
}

template <class R>
py::object step(Stream<R>& stream, py::handle x, py::handle out) {
  const int64_t batch = stream.batch(), features = stream.output_features();
  Array<R> y = out.is_none() ? new_array<R>({batch, features})
                             : checked<R>(out, "out", {batch, features}, "(B, K)");
  if (!out.is_none()) {
    if (y.ptr() != out.ptr()) throw std::invalid_argument("out must be C-contiguous");
    if (!y.writeable()) throw std::invalid_argument("out must be writeable, got a read-only array");
  }
  if (stream.takes_tokens()) {
    const Array<int64_t> tokens = checked_integers(x, "x");
    if (tokens.ndim() != 1 || tokens.shape(0) != batch) {
      throw std::invalid_argument("x must hold tokens of shape (B,) = (" + std::to_string(batch) +
                                  ",), got " + describe_shape(tokens));
    }
    run_step(stream, tokens.data(), y.mutable_data());
  } else {
    const Array<R> values = checked<R>(x, "x", {batch, stream.input_features()}, "(B, I)");
    run_step(stream, values.data(), y.mutable_data());
  }
  return std::move(y);
}

template <class R>
struct Step {
  static constexpr const char* kName = "step";
  static constexpr const char* kDefinition =
      "step($self, x, out=None)\n--\n\nAdvances every sequence by one step.";
  static constexpr const char* kNames[] = {"x", "out"};
  static constexpr std::size_t kRequired = 1;
  static py::object call(Stream<R>& stream, const py::handle* arguments) {
    return step(stream, arguments[0], arguments[1]);
  }
};

template <class R>
py::list get_state(const Stream<R>& stream) {
  py::list states;
  for (int64_t i = 0; i < stream.recurrent_layers(); ++i) {
    NewState<R> state(stream.recurrent_spec(i), stream.batch());
    stream.get_state(i, state.view);
    states.append(state.object);
  }
  return states;
}

template <class R>
void set_state(Stream<R>& stream, const py::sequence& states) {
  if (static_cast<int64_t>(py::len(states)) != stream.recurrent_layers()) {
    throw std::invalid_argument("state must hold " + std::to_string(stream.recurrent_layers()) +
                                " entries, one a recurrent layer, got " +
                                std::to_string(py::len(states)));
  }
  std::vector<State<R>> checked;
  for (int64_t i = 0; i < stream.recurrent_layers(); ++i) {
    const py::object entry = states[static_cast<std::size_t>(i)];
    if (entry.is_none()) throw py::type_error("state must be an array or a pair, got None");
    checked.push_back(checked_state<R>(entry, "state", stream.recurrent_spec(i), stream.batch()));
  }
  for (int64_t i = 0; i < stream.recurrent_layers(); ++i) {
    stream.set_state(i, checked[static_cast<std::size_t>(i)].view);
  }
}

template <class R>
void reset(Stream<R>& stream, const py::object& rows) {
  std::vector<int64_t> list;
  if (rows.is_none()) {
    for (int64_t i = 0; i < stream.batch(); ++i) list.push_back(i);
  } else {
    const Array<int64_t> array = checked_integers(rows, "rows");
    list.assign(array.data(), array.data() + array.size());
  }
  for (const int64_t row : list) {
    if (row >= 0 && row < stream.batch()) continue;
    throw std::invalid_argument("rows must be from 0 to " + std::to_string(stream.batch() - 1) +
                                ", got " + std::to_string(row));
  }
  for (const int64_t row : list) stream.reset(row);
}

template <class R>
void bind_model(py::module_& m, const char* model_name, const char* stream_name) {
  using namespace py::literals;
  using M = Model<R>;
  using S = Stream<R>;
  const py::object none = py::none();
  py::class_<S> stream(m, stream_name);
  define_fast<Step<R>>(stream);
  stream.def_property_readonly("batch", &S::batch)
      .def_property("state", &get_state<R>, &set_state<R>)
      .def("reset", &reset<R>, "rows"_a = none);
  py::class_<M, std::shared_ptr<M>>(m, model_name)
      .def(py::init([](const std::vector<std::shared_ptr<Layer<R>>>& layers) {
             for (const auto& layer : layers) {
               if (!layer) throw py::type_error("layers must hold layers, got None");
             }
             return std::make_shared<M>(layers);
           }),
           "layers"_a)
      .def_property_readonly("layers", &M::layers)
      .def("forward", &infer<R>, "x"_a, "lengths"_a = none, "mask"_a = none)
      .def("carry", &carry<R>, "x"_a, "state"_a, "lengths"_a = none, "mask"_a = none)
      .def("forward_train", &forward_train<R>, "x"_a, "lengths"_a = none, "mask"_a = none,
           "seed"_a = 0, "memory_limit"_a = 0)
      .def("forward_carry", &forward_carry<R>, "x"_a, "state"_a, "lengths"_a = none,
           "mask"_a = none, "seed"_a = 0, "memory_limit"_a = 0)
      .def("backward", &backward<R>, "tape"_a, "dy"_a)
      .def("least_memory", &least_memory<R>, "batch"_a, "steps"_a, "lengths"_a = none)
      .def_property_readonly("takes_tokens", &M::takes_tokens)
      .def(
          "stream", [](const M& model, int64_t batch) { return S(model, batch); }, "batch"_a = 1)
      .def(
          "save",
          [](const M& model, const std::string& path, const Metadata& metadata) {
            py::gil_scoped_release release;
            save_model(model, path, metadata);
          },
          "path"_a, "metadata"_a);
}

}  // namespace

void bind_models(py::module_& m) {
  bind_model<float>(m, "Model32", "Stream32");
  bind_model<double>(m, "Model64", "Stream64");
  m.def(
      "load",
      [](const std::string& path) {
        LoadedModel loaded = [&] {
          py::gil_scoped_release release;
          return load_model(path);
        }();
        py::object model = std::visit(
            [](auto&& kind) -> py::object {
              using M = std::decay_t<decltype(kind)>;
              return py::cast(std::make_shared<M>(std::move(kind)));
            },
            std::move(loaded.model));
        return py::make_tuple(model, loaded.metadata);
      },
      py::arg("path"));
}

}  // namespace gru::python
