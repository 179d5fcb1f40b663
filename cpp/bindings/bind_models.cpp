// Model32, Model64 and model files.
#include <pybind11/stl.h>

#include "bind.hpp"
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

  States(const Sequential<R>& model, Options<R>& options, int64_t batch, ModelCall<R>& call) {
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
py::object forward(const Sequential<R>& model, const py::object& x, const py::object& lengths,
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
py::object infer(const Sequential<R>& model, const py::object& x, const py::object& lengths,
                 const py::object& mask) {
  Options<R> options;
  return forward<R>(model, x, lengths, mask, options);
}

template <class R>
py::tuple carry(const Sequential<R>& model, const py::object& x, const py::object& state,
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
py::tuple forward_train(const std::shared_ptr<Sequential<R>>& model, const py::object& x,
                        const py::object& lengths, const py::object& mask, uint64_t seed,
                        int64_t memory_limit) {
  Options<R> options = training<R>(seed, memory_limit);
  const py::object y = forward<R>(*model, x, lengths, mask, options);
  return py::make_tuple(y, Tape(model, std::move(options.tape), options.shape, options.x));
}

template <class R>
py::tuple forward_carry(const std::shared_ptr<Sequential<R>>& model, const py::object& x,
                        const py::object& state, const py::object& lengths, const py::object& mask,
                        uint64_t seed, int64_t memory_limit) {
  Options<R> options = training<R>(seed, memory_limit);
  options.state = &state;
  const py::object y = forward<R>(*model, x, lengths, mask, options);
  return py::make_tuple(y, options.last_state,
                        Tape(model, std::move(options.tape), options.shape, options.x));
}

template <class R>
int64_t least_memory(const Sequential<R>& model, int64_t batch, int64_t steps,
                     const py::object& lengths) {
  const Shape in = {batch, steps, std::max<int64_t>(model.input_features(), 1), true};
  const auto schedule = checked_validity(in, lengths, py::none()).schedule(in);
  return model.least_memory(in, schedule.get());
}

template <class R>
py::list backward(const Sequential<R>& model, const Tape& from, const py::object& dy) {
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

template <class R>
void bind_model(py::module_& m, const char* model_name) {
  using namespace py::literals;
  using M = Sequential<R>;
  const py::object none = py::none();
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
          "save",
          [](const M& model, const std::string& path, const Metadata& metadata) {
            py::gil_scoped_release release;
            save_model(model, path, metadata);
          },
          "path"_a, "metadata"_a);
}

}  // namespace

void bind_models(py::module_& m) {
  bind_model<float>(m, "Model32");
  bind_model<double>(m, "Model64");
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
