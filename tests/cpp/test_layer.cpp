#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "make.hpp"
#include "train.hpp"

namespace gru {
namespace {

using test::all_cells;
using test::random_layer;
using test::random_values;
using test::same_bits;
using test::train;
using Run = test::Run<double>;

// y and the final state of an inference call, weighed by the same numbers backward is given.
double objective(const Layer<double>& layer, const Shape& in, const int64_t* lengths) {
  const LayerSpec& spec = layer.spec();
  const int64_t state = in.batch * spec.num_layers * spec.directions() * spec.hidden_size;
  const std::vector<double> x = random_values<double>(in.size(), 2);
  const std::vector<double> h0 = random_values<double>(state, 3),
                            c0 = random_values<double>(state, 4);
  const std::vector<double> dy = random_values<double>(layer.output_shape(in).size(), 5);
  std::vector<double> y(dy.size()), h(h0.size()), c(c0.size());
  ForwardCall<double> call;
  call.in = in;
  call.x = x.data();
  call.schedule = schedule_of(in.batch, in.steps, lengths);
  call.y = y.data();
  call.state = {h0.data(), c0.data()};
  call.last_state = {h.data(), c.data()};
  layer.forward(call);
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
  for (std::size_t i = 0; i < h.size(); ++i) sum += h[i] * h0[i];
  for (std::size_t i = 0; spec.kind == Kind::lstm && i < c.size(); ++i) sum += c[i] * c0[i];
  return sum;
}

TEST_CASE("gradients agree with central differences at every level") {
  const std::string before = active_isa();
  const Shape in = {3, 4, 3, true};
  const int64_t lengths[] = {4, 2, 3};
  for (const std::string& isa : isa_levels()) {
    set_isa(isa);
    for (LayerSpec spec : all_cells(3, 5)) {
      spec.num_layers = 2;
      spec.direction = "both";
      CAPTURE(isa);
      CAPTURE(name_of(spec.kind));
      CAPTURE(spec.reset_after);
      CAPTURE(spec.update_gate);
      const auto layer = random_layer<double>(spec);
      const Run run = train(*layer, in, lengths, 1);
      for (int64_t i = 0; i < layer->size(); i += 7) {
        double& weight = layer->block().get()[i];
        const double kept = weight, step = 1e-6;
        weight = kept + step;
        const double above = objective(*layer, in, lengths);
        weight = kept - step;
        const double below = objective(*layer, in, lengths);
        weight = kept;
        const double slope = (above - below) / (2 * step);
        CHECK(run.grads[static_cast<std::size_t>(i)] == doctest::Approx(slope).epsilon(1e-6));
      }
    }
  }
  set_isa(before);
}

TEST_CASE("threads do not show, neither forward nor backward") {
  const int64_t lengths[] = {7, 30, 0, 12, 30, 1, 25};
  for (LayerSpec spec : all_cells(6, 40)) {
    spec.direction = "both";
    spec.num_layers = 2;
    spec.dropout = 0.2;
    const auto layer = random_layer<double>(spec);
    const Run one = train(*layer, {7, 30, 6, true}, lengths, 1);
    for (const int threads : {2, 3, 4}) {
      CHECK(same_bits(one, train(*layer, {7, 30, 6, true}, lengths, threads)));
    }
  }
}

TEST_CASE("what does not fit is refused by name") {
  LayerSpec spec = test::recurrent(Kind::gru, 3, 4);
  spec.update_gate = "maybe";
  CHECK_THROWS_WITH(Layer<float>{spec}, "update_gate must be one of 'keep', 'new', got 'maybe'");
  spec.update_gate = "new";
  spec.hidden_size = 0;
  CHECK_THROWS_WITH(Layer<float>{spec}, "hidden_size must be from 1 to 16777216, got 0");
  spec.hidden_size = 4;
  const Layer<float> layer(spec);
  CHECK_THROWS_WITH(layer.output_shape({2, 5, 9, true}),
                    "x must have shape (B, T, 3), got (2, 5, 9)");
  CHECK_THROWS_WITH(
      Sequential<float>({random_layer<float>(spec), random_layer<float>(test::linear(5, 2))}),
      "layers[1] (linear) expects 5 features, but 4 come out of the layers before it");
}

TEST_CASE("a frozen layer does not see writes to the block it left behind") {
  const auto layer = random_layer<double>(test::recurrent(Kind::gru, 3, 4));
  const std::shared_ptr<double> old = layer->block();
  layer->freeze();
  const Run before = train(*layer, {2, 5, 3, true}, nullptr, 1);
  old.get()[0] += 1;
  CHECK(same_bits(before.y, train(*layer, {2, 5, 3, true}, nullptr, 1).y));
  layer->unfreeze();
  layer->block().get()[0] += 1;
  CHECK_FALSE(same_bits(before.y, train(*layer, {2, 5, 3, true}, nullptr, 1).y));
}

TEST_CASE("a call that runs while another thread freezes and unfreezes is not disturbed") {
  LayerSpec spec;
  spec.kind = Kind::embedding;
  spec.input_size = 50;
  spec.hidden_size = 40;
  for (const LayerSpec& each : {spec, test::recurrent(Kind::gru, 3, 20), test::linear(3, 9)}) {
    const auto layer = random_layer<float>(each);
    const Shape in = {4, 6, each.kind == Kind::embedding ? 1 : 3, true};
    const std::vector<float> x = random_values<float>(in.size(), 3);
    const std::vector<int64_t> tokens(24, 7);
    const auto run = [&] {
      std::vector<float> y(static_cast<std::size_t>(layer->output_shape(in).size()));
      ForwardCall<float> call;
      call.in = in;
      call.x = x.data();
      call.tokens = tokens.data();
      call.y = y.data();
      layer->forward(call);
      return y;
    };
    const std::vector<float> expected = run();
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done) {
        layer->freeze();
        layer->unfreeze();
      }
    });
    bool same = true;
    for (int i = 0; i < 2000; ++i) same = same && run() == expected;
    done = true;
    other.join();
    CHECK(same);
  }
}

TEST_CASE("a layer too large for memory is refused before it is tried") {
  LayerSpec spec = test::recurrent(Kind::lstm, 1 << 24, 1 << 24);
  spec.num_layers = 683;
  CHECK_THROWS_AS(Layer<double>{spec}, std::invalid_argument);
}

TEST_CASE("step by step gives the bits of the whole sequence") {
  for (const LayerSpec& spec : all_cells(3, 37)) {
    for (const char* kind : {"last", "mean", "max"}) {
      const Sequential<float> model({random_layer<float>(spec),
                                     random_layer<float>(test::pool(kind)),
                                     random_layer<float>(test::linear(37, 5), 9)});
      const int64_t steps = 6, batch = 3;
      const std::vector<float> x = random_values<float>(batch * steps * 3, 8);
      Stepper<float> stream(model, batch);
      std::vector<float> streamed(batch * 5), whole(batch * 5), at(batch * 3);
      for (int64_t t = 0; t < steps; ++t) {
        for (int64_t b = 0; b < batch; ++b) {
          std::memcpy(&at[static_cast<std::size_t>(b * 3)],
                      &x[static_cast<std::size_t>((b * steps + t) * 3)], 3 * sizeof(float));
        }
        stream.step(at.data(), streamed.data());
      }
      ModelCall<float> call;
      call.in = {batch, steps, 3, true};
      call.x = x.data();
      call.y = whole.data();
      model.forward(call);
      CHECK(std::memcmp(streamed.data(), whole.data(), whole.size() * sizeof(float)) == 0);
    }
  }
}

}  // namespace
}  // namespace gru
