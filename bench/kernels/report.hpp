// Prints limits and rows: as a table while they come, or as JSON at the end.
#pragma once

#include <vector>

#include "measure.hpp"

namespace gru::bench {

void print_limits(const std::vector<Limits>& levels);
void print_header();
void print_row(const Row& row);

// {"isa", "fma_gflops", "bandwidth_gbs"} of the best level, and "levels": the same of each.
void print_limits_json(const std::vector<Limits>& levels);
// `after`: the best level's limits, measured again when all rows were done.
void print_rows_json(const std::vector<Limits>& levels, const std::vector<Limits>& after,
                     const std::vector<Row>& rows, double checksum);

}  // namespace gru::bench
