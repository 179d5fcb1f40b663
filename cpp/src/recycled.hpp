// Large blocks that tapes give back when they end, for the tapes that follow. Fresh memory from the
// system costs a page fault every 4 KiB: a fifth of a training step of a small layer.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "buffer.hpp"

namespace gru {

class Recycler {
 public:
  // A block of at least this size, and not much larger.
  Buffer<char> take(int64_t bytes);
  void give(Buffer<char> block) noexcept;
  void clear();

 private:
  std::mutex mutex_;
  std::vector<Buffer<char>> kept_;  // oldest first
};

// `size` values in a block that goes back to the recycler.
template <class T>
class Recycled {
 public:
  Recycled(std::shared_ptr<Recycler> from, int64_t size)
      : from_(std::move(from)), size_(size), block_(from_->take(bytes_of(size))) {}
  Recycled(Recycled&&) noexcept = default;
  Recycled& operator=(Recycled&&) = delete;
  ~Recycled() {
    if (from_) from_->give(std::move(block_));
  }

  T* data() { return reinterpret_cast<T*>(block_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(block_.data()); }
  int64_t size() const { return size_; }

 private:
  static int64_t bytes_of(int64_t size) {
    if (size > static_cast<int64_t>(PTRDIFF_MAX / sizeof(T))) throw std::bad_array_new_length();
    return size * static_cast<int64_t>(sizeof(T));
  }

  std::shared_ptr<Recycler> from_;
  int64_t size_;
  Buffer<char> block_;
};

}  // namespace gru
