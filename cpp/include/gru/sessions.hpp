// Many independent sequences of one model, any of which advance together in one call.
#pragma once

#include <memory>

#include "gru/sequential.hpp"

namespace gru {

// Belongs to one thread at a time. All memory is reserved when it is made. What a session is given
// and gives does not depend on who else is in a call, bit for bit.
template <class R>
class GRU_API Sessions {
 public:
  // Throws std::invalid_argument as Stepper does.
  Sessions(const Sequential<R>& model, int64_t capacity);
  ~Sessions();
  Sessions(Sessions&&) noexcept;
  Sessions& operator=(Sessions&&) noexcept;

  int64_t capacity() const;
  int64_t size() const;  // open sessions
  int64_t input_features() const;
  int64_t output_features() const;
  bool takes_tokens() const;
  int64_t multiply_adds() const;  // of a step of one session, about

  // A session with a state of zero. Its number is never given again. Throws std::runtime_error
  // where `capacity` are open.
  int64_t open();
  bool is_open(int64_t id) const;
  // These throw std::invalid_argument naming the number where it is unknown or closed.
  void close(int64_t id);
  void reset(int64_t id);

  // Advances `count` sessions by a step each: x (count, input_features), y (count,
  // output_features). Throws std::invalid_argument, before any session has moved, where an id is
  // unknown, closed or there twice, or a token is out of range.
  void step(const int64_t* ids, int64_t count, const R* x, R* y);
  void step(const int64_t* ids, int64_t count, const int64_t* tokens, R* y);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gru
