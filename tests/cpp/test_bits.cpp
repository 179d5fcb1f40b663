// Threads that really split the work do not show. tests/test_bits.py says it of more; here every
// parallel region of a call is made to have its threads, which it is denied for a while where they
// are more than the processors or another process is busy.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

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

constexpr int64_t kWork = 2000000;  // multiply-adds, enough for four threads
constexpr int kRegions = 5;         // of one layer's backward pass, at most

template <class R>
struct Found {
  std::shared_ptr<Layer<R>> layer;
  Shape in;
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
        auto layer = std::make_shared<Layer<R>>(spec);
        const int64_t steps = std::max<int64_t>(6, kWork / (layer->size() * batch));
        const Shape in = {batch, steps, inputs, true};
        if (!split.holds(layer->plan(in, true, threads))) continue;
        return {test::random_layer<R>(spec), in};
      }
    }
  }
  return {};
}

template <class R>
void check_that_threads_do_not_show() {
  const std::string before = active_isa();
  for (const std::string& isa : isa_levels()) {
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
          REQUIRE(found.layer);
          const test::Run<R> wanted = test::train(*found.layer, found.in, nullptr, 1);
          for (int region = 0; region < kRegions; ++region) {
            CAPTURE(region);
            bool forward = true;
            const auto run = test::train(*found.layer, found.in, nullptr, threads, [&] {
              test::refuse_regions(forward ? 0 : region);
              forward = false;
            });
            CHECK(test::same_bits(run, wanted));
          }
        }
      }
    }
  }
  set_isa(before);
}

TEST_CASE("threads that split the work do not show" * doctest::skip(!kThreads)) {
  SUBCASE("float") { check_that_threads_do_not_show<float>(); }
  SUBCASE("double") { check_that_threads_do_not_show<double>(); }
}

}  // namespace
}  // namespace gru
