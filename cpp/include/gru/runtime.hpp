// Which instruction set runs, on how many threads, and how the library was built.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace gru {

// Levels that are compiled in and that this processor can run, slowest first.
std::vector<std::string> isa_levels();
std::string active_isa();
// Throws std::invalid_argument naming the levels there are. Frozen layers are packed anew.
void set_isa(const std::string& name);

// 0: not set (1 thread for inference, max_threads() for training). An upper bound either way: small
// work stays on one thread, and so does work after a core was taken away (see parallel.hpp).
int get_num_threads();
void set_num_threads(int count);
// GRU_NUM_THREADS where it is set; else what the affinity mask, the cgroup's quota and
// OMP_NUM_THREADS allow; 1 without OpenMP.
int max_threads();

// Compiler, Eigen, OpenMP, levels.
std::vector<std::pair<std::string, std::string>> build_info();

}  // namespace gru
