// Counts of the heap's allocations in the C++ tests: test_allocation.cpp replaces operator new.
#pragma once

namespace gru::test {

long allocations();  // so far, by any thread
long live();         // of them not given back yet

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
// AddressSanitizer sees an overrun only at the end of an allocation, so there working memory is not
// kept but allocated anew (scratch.cpp).
inline constexpr bool kKeepsMemory = !kSanitized;

}  // namespace gru::test
