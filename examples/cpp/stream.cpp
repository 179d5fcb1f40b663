// Steps a model over the numbers of standard input: a line of output for each step. The stream
// carries the state, so that a step costs the same however long the sequence is.
#include <gru/gru.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: stream MODEL.safetensors < NUMBERS\n");
    return 2;
  }
  const gru::Model model = gru::Model::load(argv[1]);
  gru::Stream stream(model);
  std::vector<float> x(static_cast<std::size_t>(stream.input_features()));
  std::vector<float> y(static_cast<std::size_t>(stream.output_features()));
  const auto read = [](float& value) { return static_cast<bool>(std::cin >> value); };

  while (std::all_of(x.begin(), x.end(), read)) {
    stream.step(x.data(), y.data());
    for (const float value : y) std::printf("%.9g ", value);
    std::printf("\n");
  }
  if (!std::cin.eof()) throw std::invalid_argument("the input is not all numbers");
} catch (const std::exception& error) {
  std::fprintf(stderr, "stream: %s\n", error.what());
  return 2;
}
