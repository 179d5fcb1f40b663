// Working memory of a call: taken in order and given back in reverse, from memory each thread
// keeps. Once the stack has grown to what a call needs (the third such call), it allocates nothing.
#pragma once

#include <vector>

#include "buffer.hpp"

namespace gru {

// One thread's working memory: a stack over a few blocks, which become one when it runs empty.
class Arena {
 public:
  static Arena& of_this_thread();

  struct Mark {
    std::size_t block;
    int64_t used;
  };
  Mark mark() const { return {block_, used_}; }
  void* take(int64_t bytes);
  void release(Mark mark) noexcept;

 private:
  std::vector<Buffer<char>> blocks_;
  std::size_t block_ = 0;  // the one being taken from
  int64_t used_ = 0;       // bytes of it
  int64_t wanted_ = 0;     // size of the next first block
};

// `size` values of working memory, for the scope it is declared in.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : arena_(Arena::of_this_thread()), mark_(arena_.mark()), size_(size) {
    if (size > static_cast<int64_t>(PTRDIFF_MAX / sizeof(T))) throw std::bad_array_new_length();
    data_ = static_cast<T*>(arena_.take(size * static_cast<int64_t>(sizeof(T))));
  }
  ~Scratch() { arena_.release(mark_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Scratch& zero() {
    if (size_ > 0) std::memset(data_, 0, static_cast<std::size_t>(size_) * sizeof(T));
    return *this;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  Arena& arena_;
  Arena::Mark mark_;
  int64_t size_;
  T* data_;
};

}  // namespace gru
