#include "recycled.hpp"

#include <algorithm>

namespace gru {
namespace {

constexpr std::size_t kMostBlocks = 16;
constexpr int64_t kSmallest = 64 * 1024;          // smaller ones the allocator itself keeps
constexpr int64_t kMostKept = 512 * 1024 * 1024;  // bytes

}  // namespace

Buffer<char> Recycler::take(int64_t bytes) {
  // Whoever finds the door locked does without: a child of fork() may find it so for ever.
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (bytes >= kSmallest && lock) {
    for (auto block = kept_.rbegin(); block != kept_.rend(); ++block) {
      if (block->size() < bytes || block->size() / 2 > bytes) continue;
      Buffer<char> found = std::move(*block);
      kept_.erase(std::next(block).base());
      return found;
    }
  }
  return Buffer<char>(bytes);
}

void Recycler::give(Buffer<char> block) noexcept {
  if (block.size() < kSmallest || block.size() > kMostKept) return;
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock) return;
  try {
    kept_.push_back(std::move(block));
  } catch (const std::bad_alloc&) {
    return;
  }
  int64_t bytes = 0;
  for (const Buffer<char>& kept : kept_) bytes += kept.size();
  while (kept_.size() > kMostBlocks || bytes > kMostKept) {
    bytes -= kept_.front().size();
    kept_.erase(kept_.begin());
  }
}

void Recycler::clear() {
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (lock) kept_.clear();
}

}  // namespace gru
