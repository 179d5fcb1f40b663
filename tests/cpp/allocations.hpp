// Counts of the heap's allocations in the C++ tests: test_allocation.cpp replaces operator new.
#pragma once

namespace gru::test {

long allocations();  // so far, by any thread
long live();         // of them not given back yet

// AddressSanitizer sees an overrun only at the end of an allocation, so there working memory is not
// kept but allocated anew (scratch.cpp).
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kKeepsMemory = false;
#else
inline constexpr bool kKeepsMemory = true;
#endif

}  // namespace gru::test
