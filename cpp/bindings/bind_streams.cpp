// Stream32, Stream64, StreamPool32, StreamPool64.
#include <pybind11/stl.h>

#include <atomic>

#include "fast_method.hpp"
#include "numpy.hpp"
#include "turn.hpp"

namespace gru::python {
namespace {

// The GIL is released while a stream works: two threads could be inside one at once.
template <class T>
struct Owned {
  T value;
  std::atomic<bool> taken{false};
  explicit Owned(T value_) : value(std::move(value_)) {}
};
template <class R>
using PyStream = Owned<Stepper<R>>;
template <class R>
using PyPool = Owned<Sessions<R>>;

template <class Work>
void release_for(int64_t multiply_adds, const Work& work) {
  if (!worth_releasing(multiply_adds)) return work();
  py::gil_scoped_release release;
  work();
}

// A fresh array, or the caller's `out`, which must be able to take the result as it is.
template <class R>
Array<R> result_array(py::handle out, const Dims& shape, const char* letters) {
  if (out.is_none()) return new_array<R>(shape);
  Array<R> y = checked<R>(out, "out", shape, letters);
  if (y.ptr() != out.ptr()) throw std::invalid_argument("out must be C-contiguous");
  if (!y.writeable()) throw std::invalid_argument("out must be writeable, got a read-only array");
  return y;
}

Array<int64_t> checked_tokens(py::handle x, const Dims& shape, const char* letters) {
  Array<int64_t> tokens = checked_integers(x, "x");
  if (has_shape(tokens, shape)) return tokens;
  throw std::invalid_argument("x must hold tokens of shape " + std::string(letters) + ", got " +
                              describe_shape(tokens));
}

template <class R>
struct StreamStep {
  static constexpr const char* kName = "step";
  static constexpr const char* kDefinition =
      "step($self, x, out=None)\n--\n\nAdvances every sequence by one step.";
  static constexpr const char* kNames[] = {"x", "out"};
  static constexpr std::size_t kRequired = 1;
  static py::object call(PyStream<R>& stream, const py::handle* arguments) {
    const Turn turn(stream.taken);
    Stepper<R>& stepper = stream.value;
    const int64_t batch = stepper.batch();
    Array<R> y = result_array<R>(arguments[1], {batch, stepper.output_features()}, "(B, K)");
    const auto run = [&](const auto* x) {
      R* to = y.mutable_data();
      release_for(stepper.multiply_adds(), [&] { stepper.step(x, to); });
    };
    if (stepper.takes_tokens()) {
      const std::string letters = "(B,) = (" + std::to_string(batch) + ",)";
      run(checked_tokens(arguments[0], {batch}, letters.c_str()).data());
    } else {
      run(checked<R>(arguments[0], "x", {batch, stepper.input_features()}, "(B, I)").data());
    }
    return std::move(y);
  }
};

template <class R>
py::object run_steps(PyStream<R>& stream, const py::object& x, const py::object& out) {
  const Turn turn(stream.taken);
  Stepper<R>& stepper = stream.value;
  const Input<R> input = checked_input<R>(x, stepper.takes_tokens());
  const Shape& in = input.shape;
  if (!in.sequence || in.batch != stepper.batch() || in.features != stepper.input_features()) {
    const std::string features =
        stepper.takes_tokens() ? "" : ", " + std::to_string(stepper.input_features());
    throw std::invalid_argument("x must have shape (" + std::to_string(stepper.batch()) + ", T" +
                                features + "), got " + describe_shape(input.owner));
  }
  Array<R> y = result_array<R>(out, {in.batch, in.steps, stepper.output_features()}, "(B, T, K)");
  R* to = y.mutable_data();
  release_for(stepper.multiply_adds() * in.steps, [&] {
    if (input.tokens) {
      stepper.run(input.tokens, in.steps, to);
    } else {
      stepper.run(input.values, in.steps, to);
    }
  });
  return std::move(y);
}

// One entry a recurrent layer, then (values, steps) of each running mean or maximum.
template <class R>
py::list get_state(PyStream<R>& stream) {
  const Turn turn(stream.taken);
  const Stepper<R>& stepper = stream.value;
  py::list states;
  for (int64_t i = 0; i < stepper.recurrent_layers(); ++i) {
    NewState<R> state(stepper.recurrent_spec(i), stepper.batch());
    stepper.get_state(i, state.view);
    states.append(state.object);
  }
  for (int64_t i = 0; i < stepper.running_layers(); ++i) {
    Array<R> values = new_array<R>({stepper.batch(), stepper.running_features(i)});
    Array<int64_t> steps(stepper.batch());
    stepper.get_running(i, {values.mutable_data(), steps.mutable_data()});
    states.append(py::make_tuple(values, steps));
  }
  return states;
}

template <class R>
struct Running {
  Array<R> values;
  Array<int64_t> steps;
};

template <class R>
Running<R> checked_running(const py::object& entry, const std::string& name, int64_t batch,
                           int64_t features) {
  if (!py::isinstance<py::sequence>(entry) || py::len(entry) != 2) {
    throw py::type_error(name + " must be the pair (values, steps) of a running mean or maximum");
  }
  const py::sequence pair = entry;
  const std::string first = name + "[0]", second = name + "[1]";
  Running<R> running = {checked<R>(pair[0], first.c_str(), {batch, features}, "(B, F)"),
                        checked_integers(pair[1], second.c_str())};
  if (!has_shape(running.steps, {batch})) {
    throw std::invalid_argument(second + " must have shape (B,) = (" + std::to_string(batch) +
                                ",), got " + describe_shape(running.steps));
  }
  for (int64_t row = 0; row < batch; ++row) {
    if (running.steps.data()[row] >= 0) continue;
    throw std::invalid_argument(second + " must not be negative, got " +
                                std::to_string(running.steps.data()[row]));
  }
  return running;
}

template <class R>
void set_state(PyStream<R>& stream, const py::sequence& states) {
  const Turn turn(stream.taken);
  Stepper<R>& stepper = stream.value;
  const int64_t recurrent = stepper.recurrent_layers(), running = stepper.running_layers();
  if (static_cast<int64_t>(py::len(states)) != recurrent + running) {
    std::string what = std::to_string(recurrent) + " entries, one a recurrent layer";
    if (running > 0) {
      what = std::to_string(recurrent + running) + " entries, " + std::to_string(recurrent) +
             " of recurrent layers and " + std::to_string(running) + " of means or maxima";
    }
    throw std::invalid_argument("state must hold " + what + ", got " +
                                std::to_string(py::len(states)));
  }
  std::vector<State<R>> checked;
  std::vector<Running<R>> pairs;
  for (int64_t i = 0; i < recurrent + running; ++i) {
    const py::object entry = states[static_cast<std::size_t>(i)];
    if (entry.is_none()) throw py::type_error("state must be an array or a pair, got None");
    if (i < recurrent) {
      checked.push_back(
          checked_state<R>(entry, "state", stepper.recurrent_spec(i), stepper.batch()));
    } else {
      pairs.push_back(checked_running<R>(entry, "state[" + std::to_string(i) + "]", stepper.batch(),
                                         stepper.running_features(i - recurrent)));
    }
  }
  for (int64_t i = 0; i < recurrent; ++i) {
    stepper.set_state(i, checked[static_cast<std::size_t>(i)].view);
  }
  for (int64_t i = 0; i < running; ++i) {
    const Running<R>& pair = pairs[static_cast<std::size_t>(i)];
    stepper.set_running(i, {pair.values.data(), pair.steps.data()});
  }
}

template <class R>
void reset(PyStream<R>& stream, const py::object& rows) {
  const Turn turn(stream.taken);
  Stepper<R>& stepper = stream.value;
  std::vector<int64_t> list;
  if (rows.is_none()) {
    for (int64_t i = 0; i < stepper.batch(); ++i) list.push_back(i);
  } else {
    const Array<int64_t> array = checked_integers(rows, "rows");
    list.assign(array.data(), array.data() + array.size());
  }
  for (const int64_t row : list) {
    if (row >= 0 && row < stepper.batch()) continue;
    throw std::invalid_argument("rows must be from 0 to " + std::to_string(stepper.batch() - 1) +
                                ", got " + std::to_string(row));
  }
  for (const int64_t row : list) stepper.reset(row);
}

Array<int64_t> checked_ids(py::handle ids) {
  Array<int64_t> array = checked_integers(ids, "ids");
  if (array.ndim() == 1) return array;
  throw std::invalid_argument("ids must have shape (n,), got " + describe_shape(array));
}

template <class R>
struct PoolStep {
  static constexpr const char* kName = "step";
  static constexpr const char* kDefinition =
      "step($self, ids, x, out=None)\n--\n\nAdvances these sessions by one step.";
  static constexpr const char* kNames[] = {"ids", "x", "out"};
  static constexpr std::size_t kRequired = 2;
  static py::object call(PyPool<R>& pool, const py::handle* arguments) {
    const Turn turn(pool.taken);
    Sessions<R>& sessions = pool.value;
    const Array<int64_t> ids = checked_ids(arguments[0]);
    const int64_t count = ids.size();
    Array<R> y = result_array<R>(arguments[2], {count, sessions.output_features()}, "(n, K)");
    const auto run = [&](const auto* x) {
      R* to = y.mutable_data();
      release_for(count * sessions.multiply_adds(),
                  [&] { sessions.step(ids.data(), count, x, to); });
    };
    if (sessions.takes_tokens()) {
      const std::string letters = "(n,) = (" + std::to_string(count) + ",)";
      run(checked_tokens(arguments[1], {count}, letters.c_str()).data());
    } else {
      run(checked<R>(arguments[1], "x", {count, sessions.input_features()}, "(n, I)").data());
    }
    return std::move(y);
  }
};

template <class R>
void reset_sessions(PyPool<R>& pool, const py::object& ids) {
  const Turn turn(pool.taken);
  const Array<int64_t> array = checked_ids(ids);
  for (int64_t i = 0; i < array.size(); ++i) {
    if (!pool.value.is_open(array.data()[i])) pool.value.reset(array.data()[i]);  // says why
  }
  for (int64_t i = 0; i < array.size(); ++i) pool.value.reset(array.data()[i]);
}

template <class R>
void bind_streams_of(py::module_& m, const std::string& bits) {
  using namespace py::literals;
  using S = PyStream<R>;
  using P = PyPool<R>;
  const py::object none = py::none();
  py::class_<S> stream(m, ("Stream" + bits).c_str());
  define_fast<StreamStep<R>>(stream);
  stream
      .def(py::init([](const Sequential<R>& model, int64_t batch) {
             return std::make_unique<S>(Stepper<R>(model, batch));
           }),
           "model"_a, "batch"_a = 1)
      .def_property_readonly("batch", [](const S& s) { return s.value.batch(); })
      .def_property_readonly("input_features", [](const S& s) { return s.value.input_features(); })
      .def_property_readonly("output_features",
                             [](const S& s) { return s.value.output_features(); })
      .def_property_readonly("recurrent_layers",
                             [](const S& s) { return s.value.recurrent_layers(); })
      .def_property("state", &get_state<R>, &set_state<R>)
      .def("run", &run_steps<R>, "x"_a, "out"_a = none)
      .def("fork",
           [](S& s) {
             const Turn turn(s.taken);
             return std::make_unique<S>(s.value.fork());
           })
      .def("reset", &reset<R>, "rows"_a = none);
  py::class_<P> pool(m, ("StreamPool" + bits).c_str());
  define_fast<PoolStep<R>>(pool);
  pool.def(py::init([](const Sequential<R>& model, int64_t capacity) {
             return std::make_unique<P>(Sessions<R>(model, capacity));
           }),
           "model"_a, "capacity"_a)
      .def_property_readonly("capacity", [](const P& p) { return p.value.capacity(); })
      .def_property_readonly("input_features", [](const P& p) { return p.value.input_features(); })
      .def_property_readonly("output_features",
                             [](const P& p) { return p.value.output_features(); })
      .def_property_readonly("size", [](const P& p) { return p.value.size(); })
      .def("open",
           [](P& p) {
             const Turn turn(p.taken);
             return p.value.open();
           })
      .def(
          "is_open", [](const P& p, int64_t id) { return p.value.is_open(id); }, "id"_a)
      .def(
          "close",
          [](P& p, int64_t id) {
            const Turn turn(p.taken);
            p.value.close(id);
          },
          "id"_a)
      .def("reset", &reset_sessions<R>, "ids"_a);
}

}  // namespace

void bind_streams(py::module_& m) {
  bind_streams_of<float>(m, "32");
  bind_streams_of<double>(m, "64");
}

}  // namespace gru::python
