// Which instruction set runs, on how many threads, and how the library was built.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gru/api.hpp"

namespace gru {

// Levels that are compiled in and that this processor can run, slowest first.
GRU_API std::vector<std::string> isa_levels();
GRU_API std::string active_isa();
// Throws std::invalid_argument naming the levels there are. Frozen layers are packed anew; streams,
// sessions and tapes stay with the level they were made at, whose bits may differ in rounding.
GRU_API void set_isa(const std::string& name);

// 0: not set (1 thread for inference, max_threads() for training). An upper bound either way: small
// work stays on one thread, and so does work after a core was taken away (see parallel.hpp).
GRU_API int get_num_threads();
GRU_API void set_num_threads(int count);
// GRU_NUM_THREADS where it is set; else what the affinity mask, the cgroup's quota and
// OMP_NUM_THREADS allow; 1 without OpenMP.
GRU_API int max_threads();

GRU_API const char* version() noexcept;  // "0.1.0"
// Compiler, Eigen, OpenMP, levels.
GRU_API std::vector<std::pair<std::string, std::string>> build_info();

}  // namespace gru
