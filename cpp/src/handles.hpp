// Numbers for objects that C programs hold: a number that is wrong or old is found out without
// touching memory that was freed, and looking one up takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "fork_safe.hpp"

namespace gru {

// A number is a place in the table, above it the kind of object (so that the handle of one kind is
// never taken for another's), and above that how often the place was given. The table grows by
// blocks that are never moved or freed.
template <class T>
class Handles {
 public:
  explicit Handles(uintptr_t kind) : kind_(kind << kPlaceBits) {}  // 0 or 1

  uintptr_t add(std::unique_ptr<T> object) {
    const std::lock_guard<std::mutex> lock(fork_safe_mutex());
    if (free_.empty()) add_block();
    const std::size_t at = free_.back();
    free_.pop_back();
    Place& place = *find(at);
    place.object = std::move(object);
    const uintptr_t number = place.next << (kPlaceBits + 1) | kind_ | at;
    place.number.store(number, std::memory_order_release);
    return number;
  }

  // Null where the number was never given, or its object is gone.
  T* get(uintptr_t number) const {
    Place* place = find(number & kPlaceMask);
    if (!number || !place) return nullptr;
    return place->number.load(std::memory_order_acquire) == number ? place->object.get() : nullptr;
  }

  // The object, which is no longer in the table; null as get.
  std::unique_ptr<T> remove(uintptr_t number) {
    const std::lock_guard<std::mutex> lock(fork_safe_mutex());
    if (!get(number)) return nullptr;
    const std::size_t at = number & kPlaceMask;
    Place& place = *find(at);
    place.number.store(0, std::memory_order_release);
    place.next = (place.next + 1) & (UINTPTR_MAX >> (kPlaceBits + 1));
    if (place.next == 0) place.next = 1;  // never the number 0
    free_.push_back(at);
    return std::move(place.object);
  }

 private:
  static constexpr int kPlaceBits = 19;
  static constexpr uintptr_t kPlaceMask = (uintptr_t(1) << kPlaceBits) - 1;
  static constexpr std::size_t kBlock = 1024;

  struct Place {
    std::atomic<uintptr_t> number{0};  // 0: free
    uintptr_t next = 1;
    std::unique_ptr<T> object;
  };

  Place* find(std::size_t at) const {
    Place* block = blocks_[at / kBlock].load(std::memory_order_acquire);
    return block ? block + at % kBlock : nullptr;
  }

  void add_block() {
    if (used_ == blocks_.size()) throw std::bad_alloc();
    free_.reserve((used_ + 1) * kBlock);
    blocks_[used_].store(new Place[kBlock], std::memory_order_release);
    for (std::size_t i = kBlock; i-- > 0;) free_.push_back(used_ * kBlock + i);
    ++used_;
  }

  std::array<std::atomic<Place*>, (kPlaceMask + 1) / kBlock> blocks_{};
  std::size_t used_ = 0;
  std::vector<std::size_t> free_;
  const uintptr_t kind_;
};

}  // namespace gru
