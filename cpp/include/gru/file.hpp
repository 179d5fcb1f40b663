// The model file, as lists of layers; gru::Model::load is the short way to one.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <variant>

#include "gru/sequential.hpp"

namespace gru {

using Metadata = std::map<std::string, std::string>;

// A model file is safetensors: parameters under "<layer>.<name>", and in its metadata the
// architecture, a checksum of the file and a self-check (a seeded input and the output it must
// give). Written to a sibling and renamed, so that a reader sees the old file or the new one,
// whole. Throws std::system_error where the system refuses.
template <class R>
GRU_API void save_model(const Sequential<R>& model, const std::string& path,
                        const Metadata& metadata = {});

struct LoadedModel {
  std::variant<Sequential<float>, Sequential<double>> model;  // layers frozen
  Metadata metadata;
};

// Throws std::system_error where the file cannot be read, std::invalid_argument naming the file and
// what is wrong where it is no intact model file.
GRU_API LoadedModel load_model(const std::string& path);
// The same from the bytes of a file, which are not needed afterwards: those of a C header that
// gru.export made, say.
GRU_API LoadedModel load_model(const void* bytes, std::size_t size);

}  // namespace gru
