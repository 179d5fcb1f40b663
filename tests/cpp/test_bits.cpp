// Threads that really split the work do not show. tests/test_bits_threads.py says more; here the
// regions of a call are made to have their threads, which they are denied for a while where threads
// are more than the processors or another process is busy.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "make.hpp"
#include "patience.hpp"
#include "train.hpp"

namespace gru {
namespace {

// A way to spread a call over threads, and where to look for a call that is spread so.
struct Split {
  const char* name;
  const char* direction;
  std::vector<int> counts;
  bool (*holds)(const Plan&);
  std::vector<int64_t> batches, inputs, hidden;  // the cheapest first
};

const std::vector<Split> kSplits = {
    {"slices",
     "forward",
     {2, 3, 4},
     [](const Plan& p) { return p.slices == p.available && p.members == 1; },
     {17, 65},
     {5},
     {33, 64}},
    {"members",
     "forward",
     {2, 3, 4},
     [](const Plan& p) { return p.slices == 1 && p.members == p.available; },
     {1, 3},
     {5},
     {133, 197, 259, 387}},
    {"directions",
     "both",
     {2},
     [](const Plan& p) { return p.slices == 1 && p.members == 1 && p.threads == 2; },
     {1, 2},
     {5},
     {64, 96, 128}},
    {"directions of teams",
     "both",
     {3, 4},
     [](const Plan& p) { return p.slices == 1 && p.members > 1 && p.threads == p.available; },
     {1},
     {5},
     {133, 197, 259, 387}},
    // Only where there are no more units to share: few, and steps made long by many inputs.
    {"slices of teams",
     "forward",
     {4},
     [](const Plan& p) { return p.slices > 1 && p.members > 1 && p.threads == p.available; },
     {2},
     {500, 1000, 2000},
     {3, 7, 15, 31}},
};

constexpr int64_t kWork = 2000000;               // multiply-adds, enough for four threads
constexpr int kRuns = test::kSanitized ? 1 : 3;  // threads come in at parts of backward

template <class R>
struct Found {
  std::shared_ptr<Layer<R>> layer;
  Shape in;
  std::vector<int64_t> lengths;  // none, or one of each from none at all to all steps
};

// A layer and an input that are spread so, by the engine's plan; no layer if there is none.
template <class R>
Found<R> find(LayerSpec spec, const Split& split, int threads) {
  spec.direction = split.direction;
  for (const int64_t batch : split.batches) {
    for (const int64_t hidden : split.hidden) {
      for (const int64_t inputs : split.inputs) {
        spec.hidden_size = hidden;
        spec.input_size = inputs;
        Found<R> found = {std::make_shared<Layer<R>>(spec), {batch, 0, inputs, true}, {}};
        const bool ragged = batch > 2;
        const int64_t size = found.layer->size();
        found.in.steps = std::max<int64_t>(6, (ragged ? 2 : 1) * kWork / (size * batch));
        int64_t rows = 0;
        for (int64_t b = 0; b < batch; ++b) {
          const int64_t length = ragged ? found.in.steps * b / (batch - 1) : found.in.steps;
          if (ragged) found.lengths.push_back(length);
          rows += length;
        }
        if (!split.holds(found.layer->plan(found.in, true, threads, rows))) continue;
        found.layer = test::random_layer<R>(spec);
        return found;
      }
    }
  }
  return {};
}

template <class R>
void check_that_threads_do_not_show() {
  const std::string before = active_isa();
  for (const std::string& isa : isa_levels()) {
    if (test::kSanitized && isa != isa_levels().back()) continue;  // it would take minutes
    set_isa(isa);
    for (const LayerSpec& spec : test::all_cells(1, 1)) {
      for (const Split& split : kSplits) {
        for (const int threads : split.counts) {
          CAPTURE(isa);
          CAPTURE(std::string(name_of(spec.kind)));
          CAPTURE(spec.reset_after);
          CAPTURE(spec.update_gate);
          CAPTURE(spec.nonlinearity);
          CAPTURE(std::string(split.name));
          CAPTURE(threads);
          const Found<R> found = find<R>(spec, split, threads);
          REQUIRE(found.layer.get() != nullptr);
          const test::Inputs<R> given(*found.layer, found.in);
          const int64_t* lengths = found.lengths.empty() ? nullptr : found.lengths.data();
          test::Clock::time_point backward;
          test::Run<R> wanted =
              test::train(*found.layer, given, lengths, 1, [&] { backward = test::Clock::now(); });
          const double seconds = test::seconds_since(backward);
          for (int run = 0; run < kRuns; ++run) {
            CAPTURE(run);
            bool forward = true;
            const auto trained = test::train(*found.layer, given, lengths, threads, [&] {
              forward ? test::forget_bad_regions() : test::pause_threads(seconds * run / kRuns);
              forward = false;
            });
            CHECK(test::same_bits(trained, wanted));
          }
          wanted.dx = wanted.grads = wanted.dh = wanted.dc = {};
          found.layer->freeze();
          const auto inferred =
              test::infer(*found.layer, given, lengths, threads, test::forget_bad_regions);
          CHECK(test::same_bits(inferred, wanted));
        }
      }
    }
  }
  set_isa(before);
}

// However little of the gate gradients is kept at a time, one step at least.
template <class R>
void check_that_chunks_do_not_show() {
  const std::string before = active_isa();
  for (const std::string& isa : isa_levels()) {
    if (test::kSanitized && isa != isa_levels().back()) continue;
    set_isa(isa);
    for (LayerSpec spec : test::all_cells(5, 37)) {
      spec.num_layers = 2;
      spec.bidirectional = true;
      const auto layer = test::random_layer<R>(spec);
      const test::Inputs<R> given(*layer, Shape{7, 90, spec.input_size, true});
      const int64_t lengths[] = {90, 1, 44, 90, 0, 63, 17};
      const auto wanted = test::train(*layer, given, lengths, 1, [] {}, 1 << 30);
      for (const int64_t chunk_rows : {0, 1, 7, 64, 255}) {
        for (const int threads : {1, 3}) {
          CAPTURE(isa);
          CAPTURE(std::string(name_of(spec.kind)));
          CAPTURE(chunk_rows);
          CAPTURE(threads);
          const auto found =
              test::train(*layer, given, lengths, threads, test::forget_bad_regions, chunk_rows);
          CHECK(test::same_bits(found, wanted));
        }
      }
    }
  }
  set_isa(before);
}

// The least limit that a call may have, as its refusal of one byte says.
template <class R>
int64_t least_limit(const Layer<R>& layer, const test::Inputs<R>& given, const int64_t* lengths) {
  try {
    test::train(layer, given, lengths, 1, [] {}, 0, 1);
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what(), before = "at least ";
    return std::stoll(text.substr(text.find(before) + before.size()));
  }
  return 0;
}

// With everything that training draws at random.
template <class R>
void check_that_a_limit_does_not_show() {
  const std::string before = active_isa();
  for (const std::string& isa : isa_levels()) {
    if (test::kSanitized && isa != isa_levels().back()) continue;
    set_isa(isa);
    for (LayerSpec spec : test::all_cells(5, 37)) {
      spec.num_layers = 2;
      spec.bidirectional = true;
      spec.dropout = spec.input_dropout = 0.2;
      spec.recurrent_dropout = spec.zoneout = 0.3;
      const auto layer = test::random_layer<R>(spec);
      const test::Inputs<R> given(*layer, Shape{5, 300, spec.input_size, true});
      const int64_t lengths[] = {300, 1, 144, 0, 297};
      const auto wanted = test::train(*layer, given, lengths, 1, [] {});
      const int64_t least = least_limit(*layer, given, lengths);
      REQUIRE(least > 0);
      for (const int threads : {1, 3}) {
        CAPTURE(isa);
        CAPTURE(std::string(name_of(spec.kind)));
        CAPTURE(threads);
        CHECK(test::same_bits(
            test::train(*layer, given, lengths, threads, test::forget_bad_regions, 0, least),
            wanted));
      }
    }
  }
  set_isa(before);
}

TEST_CASE("a memory limit does not show") {
  check_that_a_limit_does_not_show<float>();
  check_that_a_limit_does_not_show<double>();
}

TEST_CASE("how much memory backward takes at a time does not show") {
  check_that_chunks_do_not_show<float>();
  check_that_chunks_do_not_show<double>();
}

TEST_CASE("threads that split the work do not show" * doctest::skip(!kThreads)) {
  SUBCASE("float") { check_that_threads_do_not_show<float>(); }
  SUBCASE("double") { check_that_threads_do_not_show<double>(); }
}

}  // namespace
}  // namespace gru
