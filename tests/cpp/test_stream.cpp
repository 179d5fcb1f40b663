// Models and streams for use: their bits are those of whole sequences, states come and go, sessions
// do not feel each other, many threads share a model.
#include <doctest/doctest.h>

#include <unistd.h>

#include <Eigen/Core>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "gru/eigen.hpp"
#include "gru/gru.h"
#include "make.hpp"

namespace gru {
namespace {

// A recurrent layer twice, a mean and a maximum so far, and layers in between.
template <class R>
Sequential<R> tall_model(LayerSpec spec) {
  spec.num_layers = 2;
  const int64_t hidden = spec.hidden_size;
  LayerSpec tanh;
  tanh.kind = Kind::activation;
  tanh.nonlinearity = "tanh";
  return Sequential<R>({test::random_layer<R>(spec, 3), test::random_layer<R>(tanh),
                        test::random_layer<R>(test::linear(hidden, 5), 4)});
}

template <class R>
std::vector<R> whole(const Sequential<R>& model, const std::vector<R>& x, const Shape& in) {
  std::vector<R> y(static_cast<std::size_t>(model.output_shape(in).size()));
  ModelCall<R> call;
  call.in = in;
  call.x = x.data();
  call.y = y.data();
  model.forward(call);
  return y;
}

TEST_CASE_TEMPLATE("a stream has the bits of the whole sequence, by steps and by blocks", R, float,
                   double) {
  for (const LayerSpec& spec : test::all_cells(3, 19)) {
    for (const int64_t batch : {1, 3}) {
      const Sequential<R> layers = tall_model<R>(spec);
      const Model model(layers);
      const int64_t steps = 23;
      const Shape in = {batch, steps, 3, true};
      const std::vector<R> x = test::random_values<R>(in.size(), 9);
      const std::vector<R> y = whole(layers, x, in);
      for (const int64_t block : {1, 2, 7, 8, 20}) {
        Stream stream(model, batch);
        std::vector<R> got(y.size());
        for (int64_t t = 0; t < steps; t += block) {
          const int64_t count = std::min(block, steps - t);
          std::vector<R> part(static_cast<std::size_t>(batch * count * 3)),
              out(static_cast<std::size_t>(batch * count * 5));
          for (int64_t b = 0; b < batch; ++b) {
            std::copy_n(x.data() + (b * steps + t) * 3, count * 3, part.data() + b * count * 3);
          }
          stream.run(part.data(), count, out.data());
          for (int64_t b = 0; b < batch; ++b) {
            std::copy_n(out.data() + b * count * 5, count * 5, got.data() + (b * steps + t) * 5);
          }
        }
        CHECK(got == y);
      }
    }
  }
}

TEST_CASE("a running mean and maximum go on over forks, kept states and blocks") {
  for (const char* pool : {"mean", "max", "last"}) {
    const Model model(
        Sequential<float>({test::random_layer<float>(test::recurrent(Kind::lstm, 2, 5)),
                           test::random_layer<float>(test::pool(pool)),
                           test::random_layer<float>(test::linear(5, 3))}));
    const std::vector<float> x = test::random_values<float>(20, 2);
    Stream stream(model);
    std::vector<float> a(30), b(30), c(30);
    stream.run(x.data(), 4, a.data());
    Stream fork = stream.fork();
    std::vector<float> state(static_cast<std::size_t>(stream.state_size()));
    stream.get_state(state.data());
    stream.run(x.data() + 8, 6, a.data() + 12);
    fork.run(x.data() + 8, 6, b.data() + 12);
    Stream late(model);
    late.set_state(state.data());
    for (int t = 4; t < 10; ++t) late.step(x.data() + 2 * t, c.data() + 3 * t);
    CHECK(std::equal(a.begin() + 12, a.end(), b.begin() + 12));
    CHECK(std::equal(a.begin() + 12, a.end(), c.begin() + 12));
    std::vector<float> y(3);
    model.forward(x.data(), y.data(), {1, 10, 2, true});
    CHECK(std::equal(y.begin(), y.end(), a.begin() + 27));
    stream.reset();
    stream.run(x.data(), 4, b.data());
    CHECK(std::equal(a.begin(), a.begin() + 12, b.begin()));
  }
}

TEST_CASE("any sessions in any order give the bits of streams of their own") {
  const Sequential<float> layers({test::random_layer<float>(test::recurrent(Kind::gru, 3, 17)),
                                  test::random_layer<float>(test::pool("mean")),
                                  test::random_layer<float>(test::linear(17, 2))});
  constexpr int64_t kSessions = 150;  // more than are run side by side
  Sessions<float> pool(layers, kSessions);
  std::vector<int64_t> ids;
  std::vector<Stepper<float>> alone;
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    while (static_cast<int64_t>(ids.size()) < kSessions && random() % 8) {
      ids.push_back(pool.open());
      alone.emplace_back(layers);
    }
    for (std::size_t i = ids.size(); i-- > 1;) {
      const std::size_t j = random() % (i + 1);
      std::swap(ids[i], ids[j]);
      std::swap(alone[i], alone[j]);
    }
    const auto count = static_cast<int64_t>(random() % (ids.size() + 1));
    const std::vector<float> x = test::random_values<float>(3 * count, 100 + round);
    std::vector<float> y(static_cast<std::size_t>(2 * count)), expected(y.size());
    pool.step(ids.data(), count, x.data(), y.data());
    for (int64_t i = 0; i < count; ++i) {
      alone[static_cast<std::size_t>(i)].step(x.data() + 3 * i, expected.data() + 2 * i);
    }
    CHECK(y == expected);
    while (!ids.empty() && random() % 4) {
      const int64_t gone = ids.back();
      pool.close(gone);
      CHECK_FALSE(pool.is_open(gone));
      CHECK_THROWS_AS(pool.close(gone), std::invalid_argument);
      ids.pop_back();
      alone.pop_back();
    }
    CHECK(pool.size() == static_cast<int64_t>(ids.size()));
  }
}

TEST_CASE("a pool refuses what it does not hold, and nothing moves") {
  const Sequential<float> layers({test::random_layer<float>(test::recurrent(Kind::rnn, 1, 4))});
  Sessions<float> pool(layers, 2), other(layers, 2);
  const int64_t a = pool.open(), b = pool.open();
  CHECK_THROWS_AS(pool.open(), std::runtime_error);
  const float x[2] = {1, 2};
  float y[8], expected[8];
  for (const auto& bad : std::vector<std::vector<int64_t>>{
           {a, a}, {a, -1}, {a, INT64_MIN}, {a, INT64_MAX}, {a, b + 2}, {a, b + 4}}) {
    CHECK_THROWS_AS(pool.step(bad.data(), 2, x, y), std::invalid_argument);
  }
  const int64_t ids[2] = {a, b}, others[2] = {other.open(), other.open()};
  pool.step(ids, 2, x, y);
  other.step(others, 2, x, expected);
  CHECK(std::equal(y, y + 8, expected));
  pool.close(a);
  const int64_t c = pool.open();
  CHECK(c != a);
  CHECK_THROWS_WITH(pool.step(ids, 2, x, y),
                    ("session " + std::to_string(a) + " is closed").c_str());
  pool.step(&c, 1, x, y);  // in a's place, with a state of zero
  CHECK(std::equal(y, y + 4, expected));
}

TEST_CASE("wrong dtypes, tokens and batches are refused") {
  const Model model(Sequential<float>({test::random_layer<float>(test::linear(2, 3))}));
  Stream stream(model);
  double d[3] = {};
  float f[3] = {};
  const int64_t token = 0;
  CHECK_THROWS_WITH(stream.step(d, d), "the stream is float32, got float64");
  CHECK_THROWS_WITH(model.forward(d, d, {1, 1, 2, true}), "the model is float32, got float64");
  CHECK_THROWS_AS(stream.step(&token, f), std::invalid_argument);
  CHECK_THROWS_AS(stream.reset(1), std::invalid_argument);
  CHECK_THROWS_AS(Stream(model, 0), std::invalid_argument);
  LayerSpec both = test::recurrent(Kind::gru, 2, 3);
  both.direction = "both";
  CHECK_THROWS_AS(Stream(Model(Sequential<float>({test::random_layer<float>(both)}))),
                  std::invalid_argument);
  CHECK(model.describe() == "linear(input_size=2, hidden_size=3, bias=true)\n");
  both.zoneout = 1e-7;
  CHECK(Model(Sequential<float>({test::random_layer<float>(both)}))
            .describe()
            .find("zoneout=1e-07") != std::string::npos);
}

TEST_CASE("a model keeps the weights it was made with") {
  const auto layer = test::random_layer<float>(test::linear(1, 1));
  const Sequential<float> layers({layer});
  const Model model(layers);
  const float x = 1;
  float before, after;
  model.forward(&x, &before, {1, 1, 1, false});
  layer->block().get()[0] += 1;
  model.forward(&x, &after, {1, 1, 1, false});
  CHECK(before == after);
}

TEST_CASE("threads that share a model, each with its own stream, get the bits of one") {
  const Sequential<float> layers = tall_model<float>(test::recurrent(Kind::gru, 4, 24));
  const Model model(layers);
  const Shape in = {2, 12, 4, true};
  const std::vector<float> x = test::random_values<float>(in.size(), 5);
  const std::vector<float> y = whole(layers, x, in);
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        std::vector<float> got(y.size());
        model.forward(x.data(), got.data(), in, nullptr, i % 2 ? 1 : 2);
        wrong[i] += got != y;
        Stream stream(model, 2);
        stream.run(x.data(), 12, got.data());
        wrong[i] += got != y;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(8, 0));
}

TEST_CASE("the C interface under threads: busy streams say so, models and handles are shared") {
  const Sequential<float> layers({test::random_layer<float>(test::recurrent(Kind::gru, 8, 64))});
  const std::string path = "/tmp/gru_test_c_threads." + std::to_string(getpid());
  save_model(layers, path);
  gru_model* model = nullptr;
  gru_stream* shared = nullptr;
  REQUIRE(gru_model_load(path.c_str(), &model) == GRU_OK);
  std::remove(path.c_str());
  REQUIRE(gru_stream_create(model, 1, &shared) == GRU_OK);
  const std::vector<float> x(8 * 200, 0.25f);
  std::vector<float> expected(64 * 200);
  REQUIRE(gru_model_forward(model, 1, 200, x.data(), x.size() * 4, nullptr, expected.data(),
                            expected.size() * 4) == GRU_OK);
  std::atomic<int> wrong{0}, busy{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      std::vector<float> y(64 * 200);
      for (int round = 0; round < 200 || (!busy && round < 20000); ++round) {
        gru_stream* own = nullptr;
        wrong += gru_stream_create(model, 1, &own) != GRU_OK;
        wrong += gru_stream_run(own, 200, x.data(), x.size() * 4, y.data(), y.size() * 4) != GRU_OK;
        wrong += y != expected;
        wrong += gru_stream_destroy(own) != GRU_OK;
        const gru_status status =
            gru_stream_run(shared, 200, x.data(), x.size() * 4, y.data(), y.size() * 4);
        busy += status == GRU_BUSY;
        wrong += status != GRU_BUSY && status != GRU_OK;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(busy > 0);
  CHECK(gru_stream_destroy(shared) == GRU_OK);
  CHECK(gru_model_destroy(model) == GRU_OK);
}

TEST_CASE("training calls that do not fit are refused") {
  using Layers = Sequential<float>;
  CHECK_THROWS_AS(Layers({nullptr}), std::invalid_argument);
  const Layers layers({test::random_layer<float>(test::linear(2, 3))});
  float y[3] = {};
  CHECK_THROWS_AS(layers.backward({}, y, {nullptr}), std::invalid_argument);
  BackwardCall<float> call;
  CHECK_THROWS_AS(layers.layers()[0]->backward(call), std::invalid_argument);
  const auto tape = make_tape<float>();
  call.tape = tape.get();
  CHECK_THROWS_AS(layers.layers()[0]->backward(call), std::invalid_argument);
  const Model model(layers);
  for (const int64_t wild : {int64_t(-1), int64_t(1) << 31, INT64_MIN}) {
    CHECK_THROWS_AS(model.forward(y, y, {wild, 1, 2, true}), std::invalid_argument);
    CHECK_THROWS_AS(model.forward(y, y, {1, wild, 2, true}), std::invalid_argument);
  }
  Stepper<float> stepper(layers);
  CHECK_THROWS_AS(stepper.reset(1), std::invalid_argument);
  CHECK_THROWS_AS(stepper.recurrent_spec(0), std::invalid_argument);
  const Model tokens(Layers({test::random_layer<float>(test::recurrent(Kind::embedding, 4, 2))}));
  CHECK_NOTHROW(tokens.forward(static_cast<const int64_t*>(nullptr), y, {0, 5, 1, true}));
}

TEST_CASE("Eigen's matrices in and out") {
  const Sequential<double> layers = tall_model<double>(test::recurrent(Kind::gru, 3, 6));
  const Model model(layers);
  const Eigen::MatrixXd columns = Eigen::MatrixXd::Random(3, 9);  // column-major, transposed below
  const RowMatrix<double> x = columns.transpose(), y = forward(model, columns.transpose());
  CHECK(y == forward(model, x));
  CHECK(y == forward(model, (x * 1.0).eval()));
  CHECK(y.rows() == 9);
  const auto each = forward<double>(model, {x, x.topRows(4), x.topRows(0)});
  CHECK(each[0] == y);
  CHECK(each[1] == y.topRows(4));
  CHECK(each[2].rows() == 0);
  Stream stream(model);
  Row<double> out(5);
  for (int t = 0; t < 9; ++t) {
    step(stream, x.row(t), out);
    CHECK(out == y.row(t));
  }
  CHECK_THROWS_AS(step(stream, Row<double>(2), out), std::invalid_argument);
  CHECK_THROWS_AS(step(stream, columns.transpose().eval().row(0).head(2), out),
                  std::invalid_argument);
  CHECK_NOTHROW(step(stream, columns.col(0), out));
  CHECK_THROWS_WITH(step(stream, Eigen::MatrixXd(x).row(0), out),
                    doctest::Contains("without gaps"));
  Layer<double>& gru = *layers.layers()[0];
  CHECK(parameter(gru, "weight_ih_l0").rows() == 18);
  CHECK(parameter(gru, "weight_ih_l0")(1, 0) == gru.block().get()[3]);
  CHECK_THROWS_AS(parameter(gru, "weight"), std::invalid_argument);
  gru.freeze();
  CHECK_THROWS_AS(parameter(gru, "weight_ih_l0"), std::invalid_argument);
}

}  // namespace
}  // namespace gru
