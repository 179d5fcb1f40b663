// Trains a GRU on the adding problem: each step of a sequence has a number and a mark, and the
// answer is the sum of the two numbers that are marked. Who always answers 1, the mean of such
// sums, has the error 1/6; to do better, a net must carry a number over many steps.
#include <gru/gru.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <memory>
#include <random>
#include <vector>

namespace {

constexpr int64_t kSteps = 50, kUnits = 32, kBatch = 64, kUpdates = 600;
constexpr double kRate = 0.01, kLargestNorm = 1;
constexpr double kBaseline = 1.0 / 6, kLearned = 0.01;  // mean squared errors

std::size_t index(int64_t i) { return static_cast<std::size_t>(i); }

// Uniform numbers. The standard fixes the bits of its engines, but not those of its distributions.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  double uniform(double low, double high) {
    return low + (high - low) * double(engine_()) / 4294967296.0;
  }
  int64_t below(int64_t limit) { return static_cast<int64_t>(uniform(0, double(limit))); }

 private:
  std::mt19937 engine_;
};

struct Batch {
  gru::Shape in;
  std::vector<float> x, sum;  // (batch, steps, number and mark), (batch)

  explicit Batch(int64_t size) : in{size, kSteps, 2}, x(index(in.size())), sum(index(size)) {}

  // One mark falls into each half of a sequence.
  void draw(Random& random) {
    for (int64_t b = 0; b < in.batch; ++b) {
      float* sequence = &x[index(b * kSteps * 2)];
      for (int64_t t = 0; t < kSteps; ++t) {
        sequence[2 * t] = static_cast<float>(random.uniform(0, 1));
        sequence[2 * t + 1] = 0;
      }
      sum[index(b)] = 0;
      for (const int64_t half : {int64_t{0}, kSteps / 2}) {
        float* marked = sequence + 2 * (half + random.below(kSteps / 2));
        marked[1] = 1;
        sum[index(b)] += marked[0];
      }
    }
  }
};

using Layer = std::shared_ptr<gru::Layer<float>>;

// Parameters are uniform in +-1/sqrt(units).
Layer make_layer(const gru::LayerSpec& spec, Random& random) {
  const auto layer = std::make_shared<gru::Layer<float>>(spec);
  const double bound = 1 / std::sqrt(double(kUnits));
  for (int64_t i = 0; i < layer->size(); ++i) {
    layer->block().get()[i] = static_cast<float>(random.uniform(-bound, bound));
  }
  return layer;
}

gru::Sequential<float> make_model(Random& random) {
  gru::LayerSpec cell, last, linear;
  cell.kind = gru::Kind::gru;
  cell.input_size = 2;
  cell.hidden_size = kUnits;
  last.kind = gru::Kind::pool;
  last.pool = "last";
  linear.kind = gru::Kind::linear;
  linear.input_size = kUnits;
  linear.hidden_size = 1;
  return gru::Sequential<float>(
      {make_layer(cell, random), make_layer(last, random), make_layer(linear, random)});
}

// Gradients of every layer's parameters, and Adam's two means of them.
class Adam {
 public:
  explicit Adam(const gru::Sequential<float>& model) {
    for (const Layer& layer : model.layers()) {
      const std::size_t size = index(layer->size());
      blocks_.push_back(
          {layer, std::vector<float>(size), std::vector<float>(size), std::vector<float>(size)});
    }
  }

  // Where backward writes.
  std::vector<float*> gradients() {
    std::vector<float*> to;
    for (Block& block : blocks_) to.push_back(block.g.empty() ? nullptr : block.g.data());
    return to;
  }

  // All gradients are shortened together where their norm is above kLargestNorm.
  void update() {
    double squares = 0;
    for (const Block& block : blocks_) {
      squares += gru::sum_squares(block.g.data(), block.layer->size());
    }
    const double shorter = std::min(1.0, kLargestNorm / std::sqrt(squares));
    const gru::AdamOptions options{++step_, kRate, 0.9, 0.999, 1e-8, 0, false};
    for (Block& block : blocks_) {
      const int64_t size = block.layer->size();
      gru::scale(block.g.data(), size, shorter);
      gru::adam_update(block.layer->block().get(), block.g.data(), block.m.data(), block.v.data(),
                       size, options);
    }
  }

 private:
  struct Block {
    Layer layer;
    std::vector<float> g, m, v;
  };
  std::vector<Block> blocks_;
  int64_t step_ = 0;
};

gru::ModelCall<float> call_on(const Batch& batch, std::vector<float>& y) {
  y.resize(batch.sum.size());
  gru::ModelCall<float> call;
  call.in = batch.in;
  call.x = batch.x.data();
  call.y = y.data();
  return call;
}

// loss = mean (y - sum)^2; its gradient dy = 2 (y - sum) / batch.
double squared_error(const std::vector<float>& y, const std::vector<float>& sum,
                     std::vector<float>* dy = nullptr) {
  const double size = double(y.size());
  double total = 0;
  if (dy) dy->resize(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double difference = double(y[i]) - sum[i];
    total += difference * difference;
    if (dy) (*dy)[i] = static_cast<float>(2 * difference / size);
  }
  return total / size;
}

// One step of training on one batch; the loss before it.
double train_on(const Batch& batch, const gru::Sequential<float>& model, Adam& adam) {
  std::vector<float> y, dy;
  gru::ModelTape<float> tape;
  gru::ModelCall<float> call = call_on(batch, y);
  call.tape = &tape;
  model.forward(call);
  const double loss = squared_error(y, batch.sum, &dy);
  model.backward(tape, dy.data(), adam.gradients());
  adam.update();
  return loss;
}

double test_error(const gru::Sequential<float>& model, Random& random) {
  Batch unseen(1000);
  unseen.draw(random);
  std::vector<float> y;
  model.forward(call_on(unseen, y));
  return squared_error(y, unseen.sum);
}

}  // namespace

int main(int argc, char** argv) try {
  Random random(1);
  const gru::Sequential<float> model = make_model(random);
  Adam adam(model);
  Batch batch(kBatch);

  std::printf("updates     loss   (%.4f: always answering 1)\n", kBaseline);
  double sum = 0;
  for (int64_t update = 1; update <= kUpdates; ++update) {
    batch.draw(random);
    sum += train_on(batch, model, adam);
    if (update % 100 == 0) {
      std::printf("%7lld %8.4f\n", static_cast<long long>(update), sum / 100);
      sum = 0;
    }
  }
  const double error = test_error(model, random);
  std::printf("mean squared error on 1000 unseen sequences: %.6f\n", error);
  if (argc > 1) gru::save_model(model, argv[1]);
  return error < kLearned ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "train: %s\n", error.what());
  return 2;
}
