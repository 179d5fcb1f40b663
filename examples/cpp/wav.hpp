// WAV files of one channel, 16-bit integers or 32-bit floats, read and written piece by piece: an
// hour of sound takes no more memory than a second.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace wav {

struct Format {
  int64_t rate = 0;     // samples a second
  int64_t samples = 0;  // in the file
  bool floats = false;  // else 16-bit integers

  int64_t width() const { return floats ? 4 : 2; }
};

[[noreturn]] inline void fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": " + what);
}

// Every number in a WAV file has its low byte first, whatever the machine.
inline uint32_t number(const char* bytes, int count) {
  uint32_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

inline void put_number(char* bytes, int count, uint32_t value) {
  for (int i = 0; i < count; ++i) bytes[i] = static_cast<char>(value >> (8 * i) & 0xff);
}

// A sample is in [-1, 1]; integers are 32768 times as large.
inline float sample(const char* bytes, bool floats) {
  if (!floats) return static_cast<float>(static_cast<int16_t>(number(bytes, 2))) / 32768;
  const uint32_t bits = number(bytes, 4);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void put_sample(char* bytes, bool floats, float value) {
  if (floats) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return put_number(bytes, 4, bits);
  }
  const float nearest = std::nearbyint(value * 32768);
  const auto whole = static_cast<int32_t>(std::clamp(nearest, -32768.0f, 32767.0f));
  put_number(bytes, 2, static_cast<uint32_t>(whole));
}

// A file is "RIFF", its size, "WAVE", and chunks: a name of four letters, a size, and so many
// bytes, made even. "fmt " says what the samples are, "data" holds them; others are passed over.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) fail(path_, "cannot be opened");
    char head[12];
    if (!get(head, 12) || std::memcmp(head, "RIFF", 4) || std::memcmp(head + 8, "WAVE", 4)) {
      fail(path_, "is not a WAV file");
    }
    bool described = false;
    for (;;) {
      char chunk[8];
      if (!get(chunk, 8)) fail(path_, "is a WAV file without sound");
      const int64_t size = number(chunk + 4, 4);
      if (std::memcmp(chunk, "data", 4) == 0) {
        if (!described) fail(path_, "does not say what its samples are");
        find_samples(size);
        return;
      }
      const bool describes = std::memcmp(chunk, "fmt ", 4) == 0;
      if (describes) read_format(size);
      described = described || describes;
      file_.seekg(size % 2 + (describes ? 0 : size), std::ios::cur);
    }
  }

  const Format& format() const { return format_; }

  // The next samples; zeros after the last.
  void read(float* to, int64_t count) {
    const int64_t there = std::min(count, left_), width = format_.width();
    bytes_.resize(static_cast<std::size_t>(there * width));
    if (!get(bytes_.data(), there * width)) fail(path_, "cannot be read to its end");
    left_ -= there;
    for (int64_t i = 0; i < count; ++i) {
      to[i] = i < there ? sample(&bytes_[static_cast<std::size_t>(i * width)], format_.floats) : 0;
      if (!std::isfinite(to[i])) fail(path_, "holds a sample that is not a finite number");
    }
  }

 private:
  bool get(char* to, int64_t count) { return static_cast<bool>(file_.read(to, count)); }

  void read_format(int64_t size) {
    std::vector<char> bytes(static_cast<std::size_t>(size < 16 || size > 4096 ? 0 : size));
    if (bytes.empty() || !get(bytes.data(), size)) fail(path_, "has a damaged description");
    const uint32_t extensible = 0xfffe;  // the kind stands further on
    uint32_t kind = number(&bytes[0], 2);
    if (kind == extensible && size >= 26) kind = number(&bytes[24], 2);
    const uint32_t channels = number(&bytes[2], 2), bits = number(&bytes[14], 2);
    if (channels != 1) fail(path_, "has " + std::to_string(channels) + " channels, not 1");
    if (!(kind == 1 && bits == 16) && !(kind == 3 && bits == 32)) {
      fail(path_, "has " + std::to_string(bits) + "-bit samples of kind " + std::to_string(kind) +
                      ", not 16-bit integers (kind 1) or 32-bit floats (kind 3)");
    }
    format_.floats = kind == 3;
    format_.rate = number(&bytes[4], 4);
  }

  void find_samples(int64_t size) {
    const std::streamoff start = file_.tellg();
    const std::streamoff there = file_.seekg(0, std::ios::end).tellg() - start;
    file_.seekg(start);
    if (there < size) {
      fail(path_, "is cut off: " + std::to_string(there) + " of " + std::to_string(size) +
                      " bytes of sound are there");
    }
    if (size % format_.width()) fail(path_, "ends within a sample");
    left_ = format_.samples = size / format_.width();
  }

  std::string path_;
  std::ifstream file_;
  Format format_;
  int64_t left_ = 0;
  std::vector<char> bytes_;
};

// Writes to a sibling of the file, which takes its place in close(): whatever goes wrong before,
// nobody sees half a file, and the input may be the output.
class Writer {
 public:
  Writer(const std::string& path, const Format& format)
      : path_(path), part_(path + ".part"), file_(part_, std::ios::binary), format_(format) {
    if (!file_) fail(path_, "cannot be written");
    const auto width = static_cast<uint32_t>(format.width());
    const auto rate = static_cast<uint32_t>(format.rate);
    const auto size = static_cast<uint32_t>(format.samples) * width;
    char head[44] = "RIFF....WAVEfmt ....................data...";
    put_number(head + 4, 4, 36 + size);
    put_number(head + 16, 4, 16);                     // bytes of the description
    put_number(head + 20, 2, format.floats ? 3 : 1);  // kind
    put_number(head + 22, 2, 1);                      // channels
    put_number(head + 24, 4, rate);
    put_number(head + 28, 4, rate * width);  // bytes a second
    put_number(head + 32, 2, width);
    put_number(head + 34, 2, 8 * width);
    put_number(head + 40, 4, size);
    file_.write(head, sizeof head);
  }

  ~Writer() {
    std::error_code ignored;
    if (!part_.empty()) std::filesystem::remove(part_, ignored);
  }

  // format.samples in all.
  void write(const float* from, int64_t count) {
    const int64_t width = format_.width();
    bytes_.resize(static_cast<std::size_t>(count * width));
    for (int64_t i = 0; i < count; ++i) {
      put_sample(&bytes_[static_cast<std::size_t>(i * width)], format_.floats, from[i]);
    }
    file_.write(bytes_.data(), count * width);
  }

  void close() {
    file_.close();
    std::error_code error;
    if (file_) std::filesystem::rename(part_, path_, error);
    if (!file_ || error) fail(path_, "cannot be written");
    part_.clear();
  }

 private:
  std::string path_, part_;
  std::ofstream file_;
  Format format_;
  std::vector<char> bytes_;
};

}  // namespace wav
