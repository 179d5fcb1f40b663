// A shared library with one function of its own.
#include <gru/gru.hpp>

extern "C" long plugin_inputs(const char* path) {
  return static_cast<long>(gru::Model::load(path).input_features());
}
