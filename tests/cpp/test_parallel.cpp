#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "parallel.hpp"

namespace gru {
namespace {

TEST_CASE("every task runs once, and ranges cover what they cut") {
  for (const int threads : {1, 2, 4}) {
    std::vector<int> seen(100, 0);
    parallel_for(100, threads, [&](int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    CHECK(seen == std::vector<int>(100, 1));
    parallel_ranges(100, 8, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    CHECK(seen == std::vector<int>(100, 2));
  }
}

TEST_CASE("what a task throws leaves the region") {
  for (const int threads : {1, 2, 4}) {
    CHECK_THROWS_AS(parallel_for(8, threads,
                                 [](int64_t i) {
                                   if (i == 5) throw std::runtime_error("five");
                                 }),
                    std::runtime_error);
  }
}

TEST_CASE("a buffer whose size overflows is refused") {
  CHECK_THROWS_AS(Buffer<double>(int64_t(1) << 62), std::bad_alloc);
}

TEST_CASE("regions that went badly make the next ones run on one thread, for a while") {
  CHECK(Patience::allows());
  Patience::learn(1e-4, 5e-3);
  int refused = 0;
  while (!Patience::allows()) ++refused;
  CHECK(refused >= 8);
  CHECK(Patience::allows());
  Patience::learn(1e-4, 1e-6);
  CHECK(Patience::allows());
}

}  // namespace
}  // namespace gru
