// One thread's time with an object that belongs to one thread at a time.
#pragma once

#include <atomic>
#include <stdexcept>

namespace gru {

struct Busy : std::runtime_error {
  Busy()
      : std::runtime_error(
            "another thread is using this object just now: a stream, and a pool, belong to one "
            "thread at a time") {}
};

// Throws Busy where another thread has its turn. No lock: whoever would wait for it might hold what
// the first needs, and a step must not wait.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
    if (taken.exchange(true, std::memory_order_acquire)) throw Busy();
  }
  ~Turn() { taken_.store(false, std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& taken_;
};

}  // namespace gru
