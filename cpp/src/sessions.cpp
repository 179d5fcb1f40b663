// Sessions: each one's state lies in a record of its own; a step gathers those of a few into
// stages, runs them side by side, and puts them back.
#include "gru/sessions.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "stages.hpp"

namespace gru {
namespace {

constexpr int64_t kMostSessions = int64_t(1) << 24;
// Sessions that run side by side: beyond a few dozen the weights are free, and what lies between
// the layers should stay in L2.
constexpr int64_t kSideBySide = 64;

int64_t checked_capacity(int64_t capacity) {
  if (capacity >= 1 && capacity <= kMostSessions) return capacity;
  throw std::invalid_argument("capacity must be from 1 to " + std::to_string(kMostSessions) +
                              ", got " + std::to_string(capacity));
}

}  // namespace

// A session's number is its place in the table plus a multiple of the capacity, which grows each
// time the place is given: an old number is never right again.
template <class R>
struct Sessions<R>::Impl {
  Stages<R> stages;
  int64_t capacity;
  Buffer<R> values;             // (capacity, record_values)
  std::vector<int64_t> counts;  // (capacity, record_counts)
  std::vector<int64_t> given;   // the number last given for each place
  std::vector<char> open;
  std::vector<int64_t> free;    // places, the next one last
  std::vector<int64_t> called;  // the call that last moved each place
  int64_t call = 0;

  Impl(const Sequential<R>& model, int64_t capacity_)
      : stages(model, std::min(checked_capacity(capacity_), kSideBySide)),
        capacity(capacity_),
        values(capacity * stages.record_values()),
        counts(static_cast<std::size_t>(capacity * stages.record_counts())),
        given(static_cast<std::size_t>(capacity)),
        open(static_cast<std::size_t>(capacity)),
        called(static_cast<std::size_t>(capacity)) {
    for (int64_t place = capacity - 1; place >= 0; --place) {
      given[static_cast<std::size_t>(place)] = place - capacity;
      free.push_back(place);
    }
  }

  std::size_t place_of(int64_t id) const { return static_cast<std::size_t>(id % capacity); }
  bool is_open(int64_t id) const {
    return id >= 0 && open[place_of(id)] && given[place_of(id)] == id;
  }
  std::size_t checked_place(int64_t id) const {
    if (is_open(id)) return place_of(id);
    const bool was = id >= 0 && id <= given[place_of(id)];
    throw std::invalid_argument("session " + std::to_string(id) +
                                (was ? " is closed" : " is unknown: open() never gave it"));
  }
  R* values_of(std::size_t place) {
    return values.data() + static_cast<int64_t>(place) * stages.record_values();
  }
  int64_t* counts_of(std::size_t place) {
    return counts.data() + static_cast<int64_t>(place) * stages.record_counts();
  }
  void clear(std::size_t place) {
    std::fill_n(values_of(place), stages.record_values(), R(0));
    std::fill_n(counts_of(place), stages.record_counts(), int64_t(0));
  }

  void check(const int64_t* ids, int64_t count) {
    ++call;
    for (int64_t i = 0; i < count; ++i) {
      int64_t& last = called[checked_place(ids[i])];
      if (last == call) {
        throw std::invalid_argument("ids must be distinct, but session " + std::to_string(ids[i]) +
                                    " is there twice");
      }
      last = call;
    }
  }

  template <class T>
  void step(const int64_t* ids, int64_t count, const T* x, int64_t x_features, R* y) {
    const int64_t features = stages.output_features();
    for (int64_t begin = 0; begin < count; begin += stages.batch()) {
      const int64_t rows = std::min(stages.batch(), count - begin);
      for (int64_t row = 0; row < rows; ++row) {
        const std::size_t place = place_of(ids[begin + row]);
        stages.load(row, values_of(place), counts_of(place));
      }
      stages.run(rows, 1, x + begin * x_features, x_features, y + begin * features, features);
      for (int64_t row = 0; row < rows; ++row) {
        const std::size_t place = place_of(ids[begin + row]);
        stages.save(row, values_of(place), counts_of(place));
      }
    }
  }
};

template <class R>
Sessions<R>::Sessions(const Sequential<R>& model, int64_t capacity)
    : impl_(std::make_unique<Impl>(model, capacity)) {}
template <class R>
Sessions<R>::~Sessions() = default;
template <class R>
Sessions<R>::Sessions(Sessions&&) noexcept = default;
template <class R>
Sessions<R>& Sessions<R>::operator=(Sessions&&) noexcept = default;

template <class R>
int64_t Sessions<R>::capacity() const {
  return impl_->capacity;
}

template <class R>
int64_t Sessions<R>::size() const {
  return impl_->capacity - static_cast<int64_t>(impl_->free.size());
}

template <class R>
int64_t Sessions<R>::input_features() const {
  return impl_->stages.features();
}

template <class R>
int64_t Sessions<R>::output_features() const {
  return impl_->stages.output_features();
}

template <class R>
bool Sessions<R>::takes_tokens() const {
  return impl_->stages.takes_tokens();
}

template <class R>
int64_t Sessions<R>::multiply_adds() const {
  return impl_->stages.multiply_adds();
}

template <class R>
int64_t Sessions<R>::open() {
  if (impl_->free.empty()) {
    throw std::runtime_error("the pool is full: all of its " + std::to_string(impl_->capacity) +
                             " sessions are open; close one, or make a pool of a larger capacity");
  }
  const auto place = static_cast<std::size_t>(impl_->free.back());
  impl_->free.pop_back();
  impl_->clear(place);
  impl_->open[place] = true;
  return impl_->given[place] += impl_->capacity;
}

template <class R>
bool Sessions<R>::is_open(int64_t id) const {
  return impl_->is_open(id);
}

template <class R>
void Sessions<R>::close(int64_t id) {
  const std::size_t place = impl_->checked_place(id);
  impl_->open[place] = false;
  impl_->free.push_back(static_cast<int64_t>(place));
}

template <class R>
void Sessions<R>::reset(int64_t id) {
  impl_->clear(impl_->checked_place(id));
}

template <class R>
void Sessions<R>::step(const int64_t* ids, int64_t count, const R* x, R* y) {
  impl_->check(ids, count);
  impl_->step(ids, count, x, input_features(), y);
}

template <class R>
void Sessions<R>::step(const int64_t* ids, int64_t count, const int64_t* tokens, R* y) {
  impl_->check(ids, count);
  impl_->stages.check_tokens(tokens, count, 1);
  impl_->step(ids, count, tokens, 1, y);
}

template class Sessions<float>;
template class Sessions<double>;

}  // namespace gru
