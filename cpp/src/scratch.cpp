#include "scratch.hpp"

#include <algorithm>

namespace gru {
namespace {

constexpr int64_t kFirstBlock = 64 * 1024;
constexpr int64_t kMostKept = 256 * 1024 * 1024;  // bytes a thread keeps between calls
// AddressSanitizer sees an overrun only at the end of an allocation.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kBlockEach = true;
#else
constexpr bool kBlockEach = false;
#endif

}  // namespace

Arena& Arena::of_this_thread() {
  thread_local Arena arena;
  return arena;
}

void* Arena::take(int64_t bytes) {
  bytes = round_up(bytes, static_cast<int64_t>(Buffer<char>::kAlignment));
  if (bytes == 0) return nullptr;
  if (blocks_.empty() || kBlockEach || used_ + bytes > blocks_[block_].size()) {
    const int64_t least = kBlockEach ? bytes : std::max({bytes, wanted_, kFirstBlock});
    blocks_.emplace_back(least);
    block_ = blocks_.size() - 1;
    used_ = 0;
    wanted_ = 0;
  }
  void* taken = blocks_[block_].data() + used_;
  used_ += bytes;
  return taken;
}

void Arena::release(Mark mark) noexcept {
  // Blocks after the marked one are free again; those of a stack that grew are let go.
  while (blocks_.size() > mark.block + 1) {
    wanted_ += blocks_.back().size();
    blocks_.pop_back();
  }
  block_ = mark.block;
  used_ = mark.used;
  if (used_ > 0 || block_ > 0 || blocks_.empty()) return;
  const int64_t kept = blocks_[0].size();
  if (wanted_ == 0 && kept <= kMostKept && !kBlockEach) return;
  wanted_ = wanted_ + kept <= kMostKept ? wanted_ + kept : 0;
  blocks_.clear();
}

}  // namespace gru
