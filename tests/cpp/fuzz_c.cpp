// Calls the C interface with random arguments, good and bad, and asks that each call is judged
// right: GRU_OK where all of them fit, an error and a message elsewhere, and never a crash. Arrays
// are as large as they must be and no larger, so that a sanitizer sees every step outside.
//
//   gru_fuzz_c [calls] [seed]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "gru/gru.h"
#include "make.hpp"

namespace {

using gru::test::random_layer;

std::mt19937_64 random_bits;

int64_t below(int64_t n) { return static_cast<int64_t>(random_bits() % static_cast<uint64_t>(n)); }
bool rarely() { return below(8) == 0; }

[[noreturn]] void fail(const char* call, const char* what, gru_status status) {
  std::fprintf(stderr, "%s: %s, got %s (%s)\n", call, what, gru_status_name(status),
               gru_last_error());
  std::exit(1);
}

// A handle as a careless program may hold it, and whether it is good.
template <class T>
struct Held {
  T* handle;
  bool open;
  gru_info info;
  int64_t batch;
};

std::vector<Held<gru_model>> models;
std::vector<Held<gru_stream>> streams;
std::vector<std::string> files;

// One of them; or the handle of the other kind, or one that never was.
template <class T, class Other>
Held<T> any_of(const std::vector<Held<T>>& held, const std::vector<Held<Other>>& others) {
  if (!others.empty() && below(30) == 0) {
    const auto& other = others[static_cast<std::size_t>(below(int64_t(others.size())))];
    return {reinterpret_cast<T*>(other.handle), false, {}, 1};
  }
  if (held.empty() || rarely()) {
    const uintptr_t junk[] = {0, 1, 7777, 12345, UINTPTR_MAX, random_bits() | uintptr_t(1) << 62};
    return {reinterpret_cast<T*>(junk[below(6)]), false, {}, 1};
  }
  return held[static_cast<std::size_t>(below(static_cast<int64_t>(held.size())))];
}

// An array of exactly this size, of numbers that are small as float, double or token.
struct Bytes {
  std::size_t size;
  std::unique_ptr<char[]> data;
  explicit Bytes(std::size_t size_) : size(size_), data(new char[size_]()) {}
};

std::size_t size_of(int32_t dtype) { return dtype == GRU_FLOAT32 ? 4 : 8; }

// The size that was meant, or one that is wrong. A size that is wrong must be refused before the
// array is touched.
std::size_t maybe_wrong(std::size_t size, bool& right) {
  if (!rarely()) return size;
  const std::size_t wrong[] = {0, size + 1, size - 1, size * 2, SIZE_MAX, std::size_t(below(100))};
  const std::size_t got = wrong[below(6)];
  right = right && got == size;
  return got;
}

void judge(const char* call, gru_status status, bool right) {
  if (right && status != GRU_OK) fail(call, "expected GRU_OK", status);
  if (!right && status != GRU_INVALID) fail(call, "expected GRU_INVALID", status);
  if (!right && !*gru_last_error()) fail(call, "expected a message", status);
}

void load() {
  const std::string& file = files[static_cast<std::size_t>(below(int64_t(files.size())))];
  std::string bytes = file;
  if (below(2)) {
    bytes[static_cast<std::size_t>(below(int64_t(bytes.size())))] ^= char(1 << below(8));
  } else if (rarely()) {
    bytes.resize(static_cast<std::size_t>(below(int64_t(bytes.size()))));
  }
  const bool right = bytes == file && (models.size() < 50);
  if (bytes == file && !right) return;
  Bytes exact(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.data.get());
  Held<gru_model> held = {};
  judge("gru_model_load_memory", gru_model_load_memory(exact.data.get(), exact.size, &held.handle),
        right);
  if (!right) return;
  held.open = true;
  judge("gru_model_info", gru_model_info(held.handle, &held.info), true);
  models.push_back(held);
}

// Forgets some of what is closed, so that the lists stay short.
template <class T, class Other, class Destroy>
void destroy(std::vector<Held<T>>& list, const std::vector<Held<Other>>& others, Destroy call) {
  const Held<T> held = any_of(list, others);
  judge("destroy", call(held.handle), held.open || !held.handle);
  for (Held<T>& each : list) {
    if (each.handle == held.handle) each.open = false;
  }
  if (list.size() > 60) list.erase(list.begin(), list.begin() + 10);
}

void describe() {
  const Held<gru_model> held = any_of(models, streams);
  std::size_t needed = 0;
  Bytes text(static_cast<std::size_t>(below(200)));
  judge("gru_model_describe", gru_model_describe(held.handle, text.data.get(), text.size, &needed),
        held.open);
}

void forward() {
  const Held<gru_model> held = any_of(models, streams);
  const int64_t batch = below(4), steps = below(5);
  bool right = held.open;
  const gru_info& info = held.info;
  Bytes x(static_cast<std::size_t>(batch * steps * info.input_features) *
          size_of(info.input_dtype));
  Bytes y(static_cast<std::size_t>(batch * (info.pools ? 1 : steps) * info.output_features) *
          size_of(info.output_dtype));
  std::vector<int64_t> lengths(static_cast<std::size_t>(batch), steps);
  if (batch && rarely()) {
    lengths[0] = below(7) - 1;
    right = right && lengths[0] >= 0 && lengths[0] <= steps;
  }
  const std::size_t x_bytes = maybe_wrong(x.size, right), y_bytes = maybe_wrong(y.size, right);
  const bool no_x = rarely(), no_y = rarely();
  right = right && !(no_x && x.size) && !(no_y && y.size);
  const int64_t wild[] = {-1, INT64_MIN, INT64_MAX, int64_t(1) << 31, int64_t(1) << 62};
  const bool is_wild = below(20) == 0;
  right = right && !is_wild;
  judge("gru_model_forward",
        gru_model_forward(held.handle, is_wild ? wild[below(5)] : batch,
                          is_wild ? wild[below(5)] : steps, no_x ? nullptr : x.data.get(), x_bytes,
                          batch && !is_wild ? lengths.data() : nullptr,
                          no_y ? nullptr : y.data.get(), y_bytes),
        right);
}

void create() {
  const Held<gru_model> held = any_of(models, streams);
  const int64_t batches[] = {1, 2, 3, 0, -1, INT64_MAX, INT64_MIN};
  Held<gru_stream> made = {};
  made.batch = batches[below(rarely() ? 7 : 3)];
  made.info = held.info;
  // The third file is a bidirectional model's: its features tell it.
  const bool right = held.open && made.batch > 0 && made.batch < 4 && made.info.input_features != 5;
  judge("gru_stream_create", gru_stream_create(held.handle, made.batch, &made.handle), right);
  made.open = true;
  if (right) streams.push_back(made);
}

void fork_stream() {
  Held<gru_stream> held = any_of(streams, models);
  gru_stream* made = nullptr;
  judge("gru_stream_fork", gru_stream_fork(held.handle, &made), held.open);
  if (!held.open) return;
  held.handle = made;
  streams.push_back(held);
}

void run() {
  const Held<gru_stream> held = any_of(streams, models);
  const int64_t all[] = {1, 1, 1, 2, 9, 0, -1, INT64_MAX};
  const int64_t steps = all[below(rarely() ? 8 : 5)];
  bool right = held.open && steps >= 0 && steps < 100;
  const int64_t rows = right ? held.batch * steps : 1;
  Bytes x(static_cast<std::size_t>(rows * held.info.input_features) *
          size_of(held.info.input_dtype));
  Bytes y(static_cast<std::size_t>(rows * held.info.output_features) *
          size_of(held.info.output_dtype));
  if (right && held.info.input_dtype == GRU_INT64 && x.size && rarely()) {
    const int64_t token = below(9) - 2;
    std::copy_n(reinterpret_cast<const char*>(&token), sizeof token, x.data.get());
    right = token >= 0 && token < 5;
  }
  const std::size_t x_bytes = maybe_wrong(x.size, right), y_bytes = maybe_wrong(y.size, right);
  const bool no_x = right && x.size && rarely();
  right = right && !no_x;
  judge("gru_stream_run",
        gru_stream_run(held.handle, steps, no_x ? nullptr : x.data.get(), x_bytes, y.data.get(),
                       y_bytes),
        right);
}

void reset() {
  const Held<gru_stream> held = any_of(streams, models);
  const int64_t rows[] = {-1, 0, 1, 2, 3, -2, INT64_MAX, INT64_MIN};
  const int64_t row = rows[below(8)];
  judge("gru_stream_reset", gru_stream_reset(held.handle, row),
        held.open && row >= -1 && row < held.batch);
}

void state() {
  const Held<gru_stream> held = any_of(streams, models);
  std::size_t bytes = 8;
  bool right = held.open;
  judge("gru_stream_state_bytes", gru_stream_state_bytes(held.handle, &bytes), right);
  Bytes kept(bytes);
  std::size_t passed = maybe_wrong(bytes, right);
  judge("gru_stream_get_state", gru_stream_get_state(held.handle, kept.data.get(), passed), right);
  if (kept.size) {
    judge("null", gru_stream_get_state(held.handle, nullptr, bytes), false);
    judge("null", gru_stream_set_state(held.handle, nullptr, bytes), false);
  }
  if (below(2)) {
    for (std::size_t i = 0; i < kept.size; ++i) kept.data[i] = static_cast<char>(random_bits());
  }
  judge("gru_stream_set_state", gru_stream_set_state(held.handle, kept.data.get(), passed), right);
}

void nulls() {
  const Held<gru_model> model = any_of(models, streams);
  const Held<gru_stream> stream = any_of(streams, models);
  gru_info info;
  judge("null", gru_model_load(nullptr, nullptr), false);
  judge("null", gru_model_load_memory(nullptr, 5, nullptr), false);
  judge("null", gru_model_info(model.handle, nullptr), false);
  judge("null", gru_model_info(nullptr, &info), false);
  judge("null", gru_model_describe(model.handle, nullptr, 5, nullptr), false);
  judge("null", gru_stream_create(model.handle, 1, nullptr), false);
  judge("null", gru_stream_fork(stream.handle, nullptr), false);
  judge("null", gru_stream_state_bytes(stream.handle, nullptr), false);
  judge("null", gru_stream_step(nullptr, &info, 4, &info, 4), false);
  gru_status_name(static_cast<int>(random_bits()));
}

template <class R>
void write(const gru::Sequential<R>& model) {
  const char* folder = std::getenv("TMPDIR");
  const std::string path = std::string(folder ? folder : "/tmp") + "/gru_fuzz_c." +
                           std::to_string(std::random_device()()) + ".safetensors";
  gru::save_model(model, path);
  std::ifstream in(path, std::ios::binary);
  files.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  std::remove(path.c_str());
}

void write_files() {
  using namespace gru;
  write(Sequential<float>({random_layer<float>(test::recurrent(Kind::gru, 3, 9)),
                           random_layer<float>(test::linear(9, 2))}));
  write(Sequential<double>({random_layer<double>(test::recurrent(Kind::lstm, 2, 5)),
                            random_layer<double>(test::pool("mean"))}));
  LayerSpec both = test::recurrent(Kind::gru, 5, 3);
  both.direction = "both";
  write(Sequential<float>({random_layer<float>(both)}));
  write(Sequential<float>({random_layer<float>(test::recurrent(Kind::embedding, 5, 4)),
                           random_layer<float>(test::recurrent(Kind::rnn, 4, 6)),
                           random_layer<float>(test::pool("max"))}));
}

}  // namespace

int main(int argc, char** argv) {
  const long calls = argc > 1 ? std::atol(argv[1]) : 1000000;
  const unsigned long seed = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1;
  random_bits.seed(seed);
  write_files();
  for (std::size_t i = 0; i < 8; ++i) load();
  for (long call = 0; call < calls; ++call) {
    const int64_t kind = below(1000);
    if (kind < 10) {
      load();
    } else if (kind < 20) {
      destroy(models, streams, gru_model_destroy);
    } else if (kind < 70) {
      create();
    } else if (kind < 80) {
      fork_stream();
    } else if (kind < 150) {
      destroy(streams, models, gru_stream_destroy);
    } else if (kind < 200) {
      forward();
    } else if (kind < 230) {
      describe();
    } else if (kind < 300) {
      reset();
    } else if (kind < 400) {
      state();
    } else if (kind < 420) {
      nulls();
    } else {
      run();
    }
  }
  for (const auto& held : streams) gru_stream_destroy(held.handle);
  for (const auto& held : models) gru_model_destroy(held.handle);
  std::printf("%ld random calls with seed %lu: each judged right\n", calls, seed);
}
