#include "scratch.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <thread>

#include "allocations.hpp"

namespace gru {
namespace {

using test::allocations;
using test::live;

constexpr int64_t kMega = 1024 * 1024;

// Working memory belongs to a thread: a fresh thread's is empty, whatever ran before.
template <class Body>
void on_a_fresh_thread(const Body& body) {
  std::thread(body).join();
}

bool aligned(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % Buffer<char>::kAlignment == 0;
}

// Takes pieces of these sizes, each inside the scope of those before it.
void nest(const int64_t* size, const int64_t* end) {
  if (size == end) return;
  Scratch<char> piece(*size);
  nest(size + 1, end);
}
void nest(std::initializer_list<int64_t> sizes) { nest(sizes.begin(), sizes.end()); }

TEST_CASE("working memory is aligned, and what is held at once does not overlap") {
  on_a_fresh_thread([] {
    Scratch<char> bytes(3);
    Scratch<float> floats(17);
    Scratch<double> doubles(1);
    Scratch<int64_t> many(100000);  // more than the first block has
    Scratch<float> after(5);
    CHECK(aligned(bytes.data()));
    CHECK(aligned(floats.data()));
    CHECK(aligned(doubles.data()));
    CHECK(aligned(many.data()));
    CHECK(aligned(after.data()));
    for (int64_t i = 0; i < bytes.size(); ++i) bytes[i] = 'b';
    for (int64_t i = 0; i < floats.size(); ++i) floats[i] = 2;
    doubles[0] = 3;
    for (int64_t i = 0; i < many.size(); ++i) many[i] = 4;
    after.zero();
    for (int64_t i = 0; i < bytes.size(); ++i) CHECK(bytes[i] == 'b');
    for (int64_t i = 0; i < floats.size(); ++i) CHECK(floats[i] == 2);
    CHECK(doubles[0] == 3);
    int64_t fours = 0;
    for (int64_t i = 0; i < many.size(); ++i) fours += many[i] == 4;
    CHECK(fours == many.size());
    for (int64_t i = 0; i < after.size(); ++i) CHECK(after[i] == 0);
  });
}

TEST_CASE("what was taken last is given back first, and the next one gets it" *
          doctest::skip(!test::kKeepsMemory)) {
  on_a_fresh_thread([] {
    const void *first, *second;
    {
      Scratch<float> outer(10);
      first = outer.data();
      {
        Scratch<float> inner(10);
        second = inner.data();
        CHECK(second != first);
      }
      {
        Scratch<double> inner(1);
        CHECK(inner.data() == second);
        Scratch<double> third(1);
        CHECK(third.data() != second);
      }
      for (int i = 0; i < 3; ++i) {
        Scratch<char> inner(1 + i);
        CHECK(inner.data() == second);
      }
    }
    Scratch<char> again(1);
    CHECK(again.data() == first);
  });
}

TEST_CASE("inner scopes leave the outer ones as they are") {
  on_a_fresh_thread([] {
    Scratch<int64_t> outer(1000);
    for (int64_t i = 0; i < outer.size(); ++i) outer[i] = i;
    for (int64_t size = 1; size <= 4 * kMega; size *= 4) {
      Scratch<int64_t> inner(size), innermost(size);
      for (int64_t i = 0; i < size; ++i) inner[i] = innermost[i] = -1;
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < outer.size(); ++i) kept += outer[i] == i;
    CHECK(kept == outer.size());
  });
}

TEST_CASE("what was taken once is taken again without an allocation" *
          doctest::skip(!test::kKeepsMemory)) {
  for (const std::initializer_list<int64_t> sizes :
       {std::initializer_list<int64_t>{1},
        {100, 200, 300},
        {kMega, 1, kMega},
        {1, 100000, 2 * kMega, 3, 100000, 5 * kMega}}) {
    on_a_fresh_thread([&] {
      nest(sizes);  // finds out how much it is
      nest(sizes);  // has it in one piece
      const long before = allocations();
      for (int i = 0; i < 100; ++i) nest(sizes);
      CHECK(allocations() == before);
      {
        int64_t all = 0;
        for (const int64_t size : sizes) all += round_up(size, 64);
        Scratch<char> whole(all);
      }
      CHECK(allocations() == before);
      nest({32 * kMega});
      CHECK(allocations() > before);
    });
  }
}

TEST_CASE("much memory is given back at once, little is kept to the thread's end" *
          doctest::skip(!test::kKeepsMemory)) {
  const long at_first = live();
  on_a_fresh_thread([] {
    nest({1});
    const long little = live();
    nest({100 * kMega});
    CHECK(live() <= little);
    nest({1});
    CHECK(live() <= little);
    {
      Scratch<char> large(100 * kMega);
      nest({100 * kMega, 100 * kMega});
      const long outer = live();
      nest({100 * kMega});
      CHECK(live() == outer);
      large[large.size() - 1] = 1;
    }
    CHECK(live() <= little);
    const long before = allocations();
    nest({1000});
    nest({1000});
    CHECK(allocations() - before <= 1);
  });
  CHECK(live() <= at_first);
}

TEST_CASE("nothing may be taken, and takes no memory") {
  on_a_fresh_thread([] {
    const long before = allocations();
    {
      Scratch<float> none(0);
      none.zero();
      Scratch<double> none_either(0);
      none_either.zero();
      CHECK(none.size() == 0);
    }
    CHECK(allocations() == before);
    Scratch<float> some(4);
    some[0] = 1;
    {
      Scratch<float> none(0), more(4);
      more[0] = 2;
      CHECK(more.data() != some.data());
    }
    CHECK(some[0] == 1);
  });
}

TEST_CASE("more than there is is refused, and what was taken before stays") {
  on_a_fresh_thread([] {
    Scratch<char> held(100);
    for (int64_t i = 0; i < held.size(); ++i) held[i] = 'x';
    CHECK_THROWS_AS(Scratch<double>(int64_t(1) << 62), std::bad_alloc);
    if (test::kKeepsMemory) {  // a sanitizer ends the program instead
      CHECK_THROWS_AS(Scratch<char>(int64_t(1) << 62), std::bad_alloc);
      Scratch<char> next(100);
      CHECK(next.data() == held.data() + 128);
    }
    for (int64_t i = 0; i < held.size(); ++i) CHECK(held[i] == 'x');
  });
}

TEST_CASE("threads do not share working memory") {
  std::atomic<int> there{0};
  std::atomic<bool> good{true};
  const auto work = [&](char mine) {
    Scratch<char> scratch(1000);
    for (int64_t i = 0; i < scratch.size(); ++i) scratch[i] = mine;
    ++there;
    while (there < 2) std::this_thread::yield();
    for (int64_t i = 0; i < scratch.size(); ++i) good = good && scratch[i] == mine;
  };
  std::thread other(work, 'a');
  work('b');
  other.join();
  CHECK(good);
}

}  // namespace
}  // namespace gru
