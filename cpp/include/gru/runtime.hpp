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

// 0: not set (1 thread for inference, max_threads() for training).
int get_num_threads();
void set_num_threads(int count);
// What the affinity mask, the cgroup's quota, OMP_NUM_THREADS and GRU_NUM_THREADS allow.
int max_threads();

// Compiler, Eigen, OpenMP, levels.
std::vector<std::pair<std::string, std::string>> build_info();

}  // namespace gru
