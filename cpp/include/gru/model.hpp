// A model for use: read from a file or from memory, never changed, shared by any number of threads.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <variant>

#include "gru/file.hpp"

namespace gru {

enum class Dtype : uint8_t { float32, float64 };
GRU_API const char* name_of(Dtype dtype);

// Copies share the weights. Every call gives the bits of the serial run, from any thread.
class GRU_API Model {
 public:
  // Throw std::system_error where the file cannot be read, std::invalid_argument naming what is
  // wrong where it is no intact model file.
  static Model load(const std::string& path);
  static Model load(const void* bytes, std::size_t size);  // the bytes are not needed afterwards
  // Takes a copy of the parameters as they are now.
  explicit Model(const Sequential<float>& layers, Metadata metadata = {});
  explicit Model(const Sequential<double>& layers, Metadata metadata = {});

  void save(const std::string& path) const;  // as save_model

  Dtype dtype() const;
  bool takes_tokens() const;
  int64_t input_features() const;  // of a step; 1 where it takes tokens, 0 where any number fits
  // Of a step, or of a sequence after pooling; where any number of inputs fits, for one of them.
  int64_t output_features() const;
  Shape output_shape(const Shape& in) const;
  const Metadata& metadata() const { return metadata_; }
  std::string describe() const;  // one line a layer

  // x: in.size() values, or in.rows() tokens, apart from y in memory; y: output_shape(in).size()
  // values; lengths: (batch), how many steps of each sequence count; null: all. `threads` 0:
  // automatic. Throw std::invalid_argument where the model has the other dtype or `in` does not
  // fit.
  void forward(const float* x, float* y, const Shape& in, const int64_t* lengths = nullptr,
               int threads = 0) const;
  void forward(const double* x, double* y, const Shape& in, const int64_t* lengths = nullptr,
               int threads = 0) const;
  void forward(const int64_t* tokens, float* y, const Shape& in, const int64_t* lengths = nullptr,
               int threads = 0) const;
  void forward(const int64_t* tokens, double* y, const Shape& in, const int64_t* lengths = nullptr,
               int threads = 0) const;

  // The layers, all frozen, to read: whoever unfreezes one of them changes the model under all that
  // share it. R as dtype() says, else std::invalid_argument.
  template <class R>
  const Sequential<R>& layers() const;

 private:
  explicit Model(LoadedModel loaded);

  std::variant<std::shared_ptr<const Sequential<float>>, std::shared_ptr<const Sequential<double>>>
      layers_;
  Metadata metadata_;
};

}  // namespace gru
