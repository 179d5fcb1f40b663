// Raw float32 files, and the two layouts of parameters: PyTorch's and oneDNN's.
#pragma once

#include <string>
#include <vector>

#include "job.hpp"

namespace bench {

using Floats = std::vector<float>;

Floats read_floats(const std::string& path);
void write_floats(const std::string& path, const Floats& values);
bool exists(const std::string& path);

// (B, T, F) -> (T, B, F); called with T and B exchanged it goes back.
Floats swap_axes(const Floats& values, int64_t batch, int64_t steps);

// Parameters of one layer, all directions, in oneDNN's plain layouts.
struct Parameters {
  Floats w;  // (D, I, G, H)
  Floats u;  // (D, H, G, H)
  Floats b;  // (D, G', H): both biases of a gate added up, but for the reset-after candidate
};

Parameters read_parameters(const Job& job, int64_t layer);

// Writes gradients as PREFIX.d_NAME.bin; returns the names.
Words write_gradients(const Job& job, int64_t layer, const Parameters& gradient,
                      const std::string& prefix);

}  // namespace bench
