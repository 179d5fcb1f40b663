// Loads a model from a file and from a header, and compares a stream with the whole sequence.
#include <cstdio>
#include <gru/gru.hpp>

#include "weights.h"

int main(int, char** argv) {
  const gru::Model model = gru::Model::load(argv[1]);
  const gru::Model same = gru::Model::load(weights, weights_size);
  const float x[4 * 3] = {1, 0, -1, 2, 1, 0, -2, 1, 1, 0, 0, 3};
  float whole[4 * 2], steps[4 * 2];
  model.forward(x, whole, {1, 4, 3, true});
  gru::Stream stream(same);
  for (int t = 0; t < 4; ++t) stream.step(x + 3 * t, steps + 2 * t);
  for (int i = 0; i < 8; ++i) {
    if (whole[i] != steps[i]) return 1;
    std::printf("%.9g\n", static_cast<double>(whole[i]));
  }
  try {
    gru::Model::load("/nowhere/model.safetensors");
  } catch (const std::exception&) {
    return 0;  // an exception came out of the library and was caught here
  }
  return 1;
}
