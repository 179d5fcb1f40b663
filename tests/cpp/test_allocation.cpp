// Counts allocations: a stream's step makes none, and a call makes none for a step.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "allocations.hpp"
#include "each_stream.hpp"
#include "gru/gru.h"
#include "patience.hpp"

namespace {
std::atomic<long> made{0}, freed{0};

void* counted(std::size_t size) {
  ++made;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}

void* counted_aligned(std::size_t size, std::size_t alignment) {
  ++made;
  if (void* p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment))
    return p;
  throw std::bad_alloc();
}

void release(void* p) {
  freed += p != nullptr;
  std::free(p);
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_aligned(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++made;
  return std::malloc(size ? size : 1);
}
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }

namespace gru {

long test::allocations() { return made; }
long test::live() { return made - freed; }

namespace {

using test::allocations;

TEST_CASE("a stream allocates nothing once it is made") {
  test::each_stream([](Stream stream) {
    test::work(stream);  // the numbers it is given are made once
    const long before = allocations();
    test::work(stream);
    CHECK(allocations() == before);
  });
}

TEST_CASE("nor do several sequences side by side, nor sessions") {
  for (LayerSpec spec : test::all_cells(3, 20)) {
    spec.num_layers = 2;
    const Sequential<float> model({test::random_layer<float>(spec),
                                   test::random_layer<float>(test::pool("mean")),
                                   test::random_layer<float>(test::linear(20, 4))});
    Stepper<float> stream(model, 2);
    Sessions<float> sessions(model, 3);
    const int64_t ids[2] = {sessions.open(), sessions.open()};
    const std::vector<float> x = test::random_values<float>(6, 1);
    float y[8];
    const long before = allocations();
    for (int i = 0; i < 100; ++i) stream.step(x.data(), y);
    for (int i = 0; i < 100; ++i) sessions.step(ids, 2, x.data(), y);
    CHECK(allocations() == before);
  }
}

TEST_CASE("nor does the C interface") {
  gru_model* model = nullptr;
  gru_stream* stream = nullptr;
  REQUIRE(gru_model_load(GRU_TEST_DATA "/c_client.safetensors", &model) == GRU_OK);
  REQUIRE(gru_stream_create(model, 1, &stream) == GRU_OK);
  gru_info info;
  REQUIRE(gru_model_info(model, &info) == GRU_OK);
  REQUIRE(info.input_dtype == GRU_FLOAT32);
  constexpr int64_t kSteps = 9;
  const auto numbers = [](int64_t count) { return static_cast<std::size_t>(count); };
  const std::vector<float> x(numbers(kSteps * info.input_features), 0.5f);
  std::vector<float> y(numbers(kSteps * info.output_features));
  const std::size_t x_bytes = x.size() * sizeof(float), y_bytes = y.size() * sizeof(float);
  const long before = allocations();
  for (int i = 0; i < 100; ++i) {
    CHECK(gru_stream_step(stream, x.data(), x_bytes / kSteps, y.data(), y_bytes / kSteps) ==
          GRU_OK);
  }
  CHECK(gru_stream_run(stream, kSteps, x.data(), x_bytes, y.data(), y_bytes) == GRU_OK);
  CHECK(gru_stream_reset(stream, -1) == GRU_OK);
  CHECK(allocations() == before);
  gru_stream_destroy(stream);
  gru_model_destroy(model);
}

// What a call of this many steps needs, with all it reads and writes.
struct Work {
  Layer<float>& layer;
  Shape in;
  int threads;
  std::vector<float> x, y, dx, grads;
  std::shared_ptr<LayerTape<float>> tape = make_tape<float>();

  Work(Layer<float>& layer_, int64_t batch, int64_t steps, int threads_)
      : layer(layer_),
        in{batch, steps, layer.spec().input_size, true},
        threads(threads_),
        x(test::random_values<float>(in.size(), 2)),
        y(static_cast<std::size_t>(layer.output_shape(in).size())),
        dx(x.size()),
        grads(static_cast<std::size_t>(layer.size())) {}

  void forward(LayerTape<float>* into) {
    ForwardCall<float> call;
    call.in = in;
    call.x = x.data();
    call.y = y.data();
    call.tape = into;
    call.threads = threads;
    layer.forward(call);
  }
  void infer() { forward(nullptr); }
  void train() {
    forward(tape.get());
    BackwardCall<float> call;
    call.tape = tape.get();
    call.dy = y.data();
    call.dx = dx.data();
    call.grads = grads.data();
    call.threads = threads;
    layer.backward(call);
  }
};

struct Counts {
  long least = -1, most = -1;
};

// Allocations of a call like two before it: the first finds out how much working memory it takes,
// the second has it in one piece. A call that another process disturbed may make more or fewer: it
// runs on one thread, whose working memory then grows.
template <class Call>
Counts repeated(const Call& call) {
  Counts counts;
  for (int i = 0; i < 5; ++i) {
    test::forget_bad_regions();
    const long before = allocations();
    call();
    const long count = allocations() - before;
    if (i < 2) continue;
    counts.least = counts.least < 0 ? count : std::min(counts.least, count);
    counts.most = std::max(counts.most, count);
  }
  return counts;
}

// Calls of many steps, frozen inference and training, allocate no more often than those of few.
void check_that_steps_allocate_nothing(const LayerSpec& spec, int64_t batch, int threads,
                                       int slices, int members) {
  CAPTURE(std::string(name_of(spec.kind)));
  CAPTURE(spec.reset_after);
  CAPTURE(spec.nonlinearity);
  CAPTURE(batch);
  CAPTURE(threads);
  const auto layer = test::random_layer<float>(spec);
  layer->freeze();
  Counts infer, train;  // of fewer steps
  for (const int64_t steps : {10, 500, 1000}) {
    CAPTURE(steps);
    Work work(*layer, batch, steps, threads);
    const Plan plan = layer->plan(work.in, false, threads);
    CHECK(plan.slices == slices);
    CHECK(plan.members == members);
    const Counts inferring = repeated([&] { work.infer(); });
    const Counts training = repeated([&] { work.train(); });
    if (infer.most >= 0) CHECK(inferring.least <= infer.most);
    if (train.most >= 0) CHECK(training.least <= train.most);
    infer = inferring;
    train = training;
  }
}

TEST_CASE("1000 steps allocate no more often than 10" * doctest::skip(!test::kKeepsMemory)) {
  SUBCASE("on one thread") {
    for (LayerSpec spec : test::all_cells(3, 20)) {
      spec.num_layers = 2;
      spec.direction = "both";
      for (const int64_t batch : {1, 8}) check_that_steps_allocate_nothing(spec, batch, 1, 1, 1);
    }
  }
  if (!kThreads) return;
  SUBCASE("on slices of the batch") {
    for (const LayerSpec& spec : test::all_cells(64, 64)) {
      if (spec.update_gate == "keep") check_that_steps_allocate_nothing(spec, 16, 2, 2, 1);
    }
  }
  SUBCASE("where threads share the hidden units") {
    for (const LayerSpec& spec : test::all_cells(64, 320)) {
      if (spec.kind == Kind::gru && spec.update_gate == "keep") {
        check_that_steps_allocate_nothing(spec, 1, 2, 1, 2);
      }
    }
  }
}

TEST_CASE("an inference call like one before it needs no more than its working memory anew" *
          doctest::skip(!test::kKeepsMemory)) {
  const auto layer = test::random_layer<float>(test::recurrent(Kind::gru, 64, 64));
  layer->freeze();
  for (const int64_t steps : {1, 10, 1000}) {
    Work work(*layer, 8, steps, 1);
    work.infer();
    const long before = allocations();
    work.infer();
    const long second = allocations() - before;
    work.infer();
    const long third = allocations() - before - second;
    CHECK(second - third >= 0);
    CHECK(second - third <= 1);
  }
}

}  // namespace
}  // namespace gru
