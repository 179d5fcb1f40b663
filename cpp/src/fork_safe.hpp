// The one lock for what threads publish to each other, which a child of fork() finds open.
#pragma once

#include <mutex>

namespace gru {

// Held for nanoseconds at a time. A fork waits for it, so that no child is born while another
// thread of its parent holds it: that thread would never let go of it in the child.
std::mutex& fork_safe_mutex();

}  // namespace gru
