// The C interface: handles, sizes and errors around gru::Model and gru::Stream.
#include <atomic>
#include <cstring>
#include <new>
#include <string>
#include <system_error>

#include "gru/gru.h"
#include "gru/gru.hpp"
#include "handles.hpp"
#include "turn.hpp"

namespace {

struct OpenModel {
  gru::Model model;
  gru_info info;
};

struct OpenStream {
  gru::Stream stream;
  gru_info info;
  std::atomic<bool> taken{false};
  explicit OpenStream(gru::Stream stream_, const gru_info& info_)
      : stream(std::move(stream_)), info(info_) {}
};

// Never destroyed: a program's own destructors may still call.
gru::Handles<OpenModel>& models() {
  static auto* handles = new gru::Handles<OpenModel>(0);
  return *handles;
}
gru::Handles<OpenStream>& streams() {
  static auto* handles = new gru::Handles<OpenStream>(1);
  return *handles;
}

thread_local std::string last_error;

gru_status fail(gru_status status, const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

// Runs a call; what it throws becomes a status and gru_last_error().
template <class Call>
gru_status guarded(const Call& call) noexcept {
  try {
    call();
    return GRU_OK;
  } catch (const gru::Busy& error) {
    return fail(GRU_BUSY, error.what());
  } catch (const std::system_error& error) {
    return fail(GRU_SYSTEM, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(GRU_INVALID, error.what());
  } catch (const std::bad_alloc&) {
    return fail(GRU_MEMORY, "not enough memory");
  } catch (const std::length_error&) {
    return fail(GRU_MEMORY, "not enough memory");
  } catch (const std::exception& error) {
    return fail(GRU_INTERNAL, error.what());
  } catch (...) {
    return fail(GRU_INTERNAL, "unknown exception");
  }
}

void need(const void* pointer, const char* name) {
  if (!pointer) throw std::invalid_argument(std::string(name) + " must not be NULL");
}

template <class T>
T& opened(const gru::Handles<T>& handles, const void* handle, const char* name) {
  need(handle, name);
  if (T* object = handles.get(reinterpret_cast<uintptr_t>(handle))) return *object;
  throw std::invalid_argument(std::string(name) +
                              " is no handle of this library, or was destroyed");
}
OpenModel& opened(const gru_model* model) { return opened(models(), model, "model"); }
OpenStream& opened(const gru_stream* stream) { return opened(streams(), stream, "stream"); }

template <class Handle, class T>
Handle* hand_out(gru::Handles<T>& handles, std::unique_ptr<T> object) {
  return reinterpret_cast<Handle*>(handles.add(std::move(object)));
}

size_t size_of(int32_t dtype) { return dtype == GRU_FLOAT32 ? sizeof(float) : sizeof(double); }

// The bytes of an array of sequences * steps * features numbers, or an error where they are too
// many to count or not what was passed.
void check_bytes(const char* name, const void* data, size_t bytes, int64_t sequences, int64_t steps,
                 int64_t features, int32_t dtype) {
  uint64_t wanted = size_of(dtype);
  for (const int64_t factor : {sequences, steps, features}) {
    if (__builtin_mul_overflow(wanted, static_cast<uint64_t>(factor), &wanted)) wanted = UINT64_MAX;
    if (wanted > static_cast<uint64_t>(PTRDIFF_MAX)) {
      throw std::invalid_argument(std::string(name) + " would be larger than memory can be");
    }
  }
  if (bytes != wanted) {
    throw std::invalid_argument(std::string(name) + "_bytes must be " + std::to_string(wanted) +
                                ", got " + std::to_string(bytes));
  }
  if (wanted > 0) need(data, name);
}

void check_count(const char* name, int64_t value, int64_t least) {
  if (value >= least) return;
  throw std::invalid_argument(std::string(name) + " must be at least " + std::to_string(least) +
                              ", got " + std::to_string(value));
}

// Calls with x and y as pointers to what the model takes and gives.
template <class Call>
void typed(const gru_info& info, const void* x, void* y, const Call& call) {
  const bool tokens = info.input_dtype == GRU_INT64, single = info.output_dtype == GRU_FLOAT32;
  const auto with_x = [&](auto* to) {
    using R = std::remove_pointer_t<decltype(to)>;
    if (tokens) return call(static_cast<const int64_t*>(x), to);
    call(static_cast<const R*>(x), to);
  };
  if (single) return with_x(static_cast<float*>(y));
  with_x(static_cast<double*>(y));
}

gru_info info_of(const gru::Model& model) {
  gru_info info = {};
  const bool single = model.dtype() == gru::Dtype::float32;
  info.output_dtype = single ? GRU_FLOAT32 : GRU_FLOAT64;
  info.input_dtype = model.takes_tokens() ? GRU_INT64 : info.output_dtype;
  info.input_features = model.input_features();
  info.output_features = model.output_features();
  const int64_t features = info.input_features > 0 ? info.input_features : 1;
  info.pools = !model.output_shape({1, 1, features, true}).sequence;
  info.layers = static_cast<int32_t>(single ? model.layers<float>().layers().size()
                                            : model.layers<double>().layers().size());
  return info;
}

gru_status add_model(gru_model** model, gru::Model (*load)(const void*, size_t), const void* from,
                     size_t size) {
  return guarded([&] {
    need(model, "model");
    *model = nullptr;
    gru::Model loaded = load(from, size);
    const gru_info info = info_of(loaded);
    auto object = std::make_unique<OpenModel>(OpenModel{std::move(loaded), info});
    *model = hand_out<gru_model>(models(), std::move(object));
  });
}

}  // namespace

extern "C" {

const char* gru_version(void) { return gru::version(); }

int gru_abi_version(void) { return GRU_ABI_VERSION; }

const char* gru_last_error(void) { return last_error.c_str(); }

const char* gru_status_name(int status) {
  static constexpr const char* kNames[] = {"GRU_OK",     "GRU_INVALID", "GRU_SYSTEM",
                                           "GRU_MEMORY", "GRU_BUSY",    "GRU_INTERNAL"};
  return status >= GRU_OK && status <= GRU_INTERNAL ? kNames[status] : "unknown";
}

gru_status gru_model_load(const char* path, gru_model** model) {
  const auto load = [](const void* from, size_t) {
    need(from, "path");
    return gru::Model::load(std::string(static_cast<const char*>(from)));
  };
  return add_model(model, load, path, 0);
}

gru_status gru_model_load_memory(const void* bytes, size_t size, gru_model** model) {
  const auto load = [](const void* from, size_t count) {
    need(from, "bytes");
    return gru::Model::load(from, count);
  };
  return add_model(model, load, bytes, size);
}

gru_status gru_model_destroy(gru_model* model) {
  if (!model) return GRU_OK;
  return guarded([&] {
    opened(model);
    models().remove(reinterpret_cast<uintptr_t>(model));
  });
}

gru_status gru_model_info(gru_model* model, gru_info* info) {
  return guarded([&] {
    const OpenModel& open = opened(model);
    need(info, "info");
    *info = open.info;
  });
}

gru_status gru_model_describe(gru_model* model, char* text, size_t size, size_t* needed) {
  return guarded([&] {
    const std::string all = opened(model).model.describe();
    if (size > 0) {
      need(text, "text");
      const size_t count = all.size() < size ? all.size() : size - 1;
      std::memcpy(text, all.data(), count);
      text[count] = '\0';
    }
    if (needed) *needed = all.size() + 1;
  });
}

gru_status gru_model_forward(gru_model* model, int64_t batch, int64_t steps, const void* x,
                             size_t x_bytes, const int64_t* lengths, void* y, size_t y_bytes) {
  return guarded([&] {
    const OpenModel& open = opened(model);
    const gru_info& info = open.info;
    check_count("batch", batch, 0);
    check_count("steps", steps, 0);
    if (info.input_features == 0) {
      throw std::invalid_argument("no layer of the model says how many features a step has");
    }
    check_bytes("x", x, x_bytes, batch, steps, info.input_features, info.input_dtype);
    check_bytes("y", y, y_bytes, batch, info.pools ? 1 : steps, info.output_features,
                info.output_dtype);
    typed(info, x, y, [&](const auto* from, auto* to) {
      open.model.forward(from, to, {batch, steps, info.input_features, true}, lengths);
    });
  });
}

gru_status gru_stream_create(gru_model* model, int64_t batch, gru_stream** stream) {
  return guarded([&] {
    need(stream, "stream");
    *stream = nullptr;
    const OpenModel& open = opened(model);
    auto object = std::make_unique<OpenStream>(gru::Stream(open.model, batch), open.info);
    *stream = hand_out<gru_stream>(streams(), std::move(object));
  });
}

gru_status gru_stream_fork(gru_stream* stream, gru_stream** fork) {
  return guarded([&] {
    need(fork, "fork");
    *fork = nullptr;
    OpenStream& open = opened(stream);
    const gru::Turn turn(open.taken);
    auto object = std::make_unique<OpenStream>(open.stream.fork(), open.info);
    *fork = hand_out<gru_stream>(streams(), std::move(object));
  });
}

gru_status gru_stream_destroy(gru_stream* stream) {
  if (!stream) return GRU_OK;
  return guarded([&] {
    {
      const gru::Turn turn(opened(stream).taken);
    }
    streams().remove(reinterpret_cast<uintptr_t>(stream));
  });
}

gru_status gru_stream_step(gru_stream* stream, const void* x, size_t x_bytes, void* y,
                           size_t y_bytes) {
  return gru_stream_run(stream, 1, x, x_bytes, y, y_bytes);
}

gru_status gru_stream_run(gru_stream* stream, int64_t steps, const void* x, size_t x_bytes, void* y,
                          size_t y_bytes) {
  return guarded([&] {
    OpenStream& open = opened(stream);
    const gru::Turn turn(open.taken);
    const gru_info& info = open.info;
    const int64_t batch = open.stream.batch();
    check_count("steps", steps, 0);
    check_bytes("x", x, x_bytes, batch, steps, info.input_features, info.input_dtype);
    check_bytes("y", y, y_bytes, batch, steps, info.output_features, info.output_dtype);
    typed(info, x, y, [&](const auto* from, auto* to) { open.stream.run(from, steps, to); });
  });
}

gru_status gru_stream_reset(gru_stream* stream, int64_t row) {
  return guarded([&] {
    OpenStream& open = opened(stream);
    const gru::Turn turn(open.taken);
    if (row == -1) return open.stream.reset();
    open.stream.reset(row);
  });
}

gru_status gru_stream_state_bytes(gru_stream* stream, size_t* bytes) {
  return guarded([&] {
    const OpenStream& open = opened(stream);
    need(bytes, "bytes");
    *bytes = static_cast<size_t>(open.stream.state_size()) * size_of(open.info.output_dtype);
  });
}

gru_status gru_stream_get_state(gru_stream* stream, void* state, size_t bytes) {
  return guarded([&] {
    OpenStream& open = opened(stream);
    const gru::Turn turn(open.taken);
    check_bytes("state", state, bytes, 1, 1, open.stream.state_size(), open.info.output_dtype);
    if (open.info.output_dtype == GRU_FLOAT32) {
      return open.stream.get_state(static_cast<float*>(state));
    }
    open.stream.get_state(static_cast<double*>(state));
  });
}

gru_status gru_stream_set_state(gru_stream* stream, const void* state, size_t bytes) {
  return guarded([&] {
    OpenStream& open = opened(stream);
    const gru::Turn turn(open.taken);
    check_bytes("state", state, bytes, 1, 1, open.stream.state_size(), open.info.output_dtype);
    if (open.info.output_dtype == GRU_FLOAT32) {
      return open.stream.set_state(static_cast<const float*>(state));
    }
    open.stream.set_state(static_cast<const double*>(state));
  });
}

}  // extern "C"
