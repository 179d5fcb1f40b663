// Counts allocations: a stream's step makes none.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "make.hpp"

namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}

void* counted_aligned(std::size_t size, std::size_t alignment) {
  ++allocations;
  if (void* p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment))
    return p;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_aligned(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size ? size : 1);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }

namespace gru {
namespace {

TEST_CASE("a stream's step allocates nothing") {
  for (LayerSpec spec : test::all_cells(3, 20)) {
    spec.num_layers = 2;
    const Model<float> model({test::random_layer<float>(spec),
                              test::random_layer<float>(test::pool("mean")),
                              test::random_layer<float>(test::linear(20, 4))});
    Stream<float> stream(model, 2);
    const std::vector<float> x = test::random_values<float>(6, 1);
    std::vector<float> y(8);
    const long before = allocations;
    for (int i = 0; i < 100; ++i) stream.step(x.data(), y.data());
    CHECK(allocations == before);
  }
}

}  // namespace
}  // namespace gru
