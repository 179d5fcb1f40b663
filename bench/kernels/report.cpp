#include "report.hpp"

#include <cstdio>

namespace gru::bench {
namespace {

std::string size_name(int64_t bytes) {
  const double kib = static_cast<double>(bytes) / 1024;
  char name[16];
  std::snprintf(name, sizeof name, kib < 1024 ? "%gK" : "%gM", kib < 1024 ? kib : kib / 1024);
  return name;
}

// Without the braces, so that the best level's can go beside "levels".
void limits_members(const Limits& limits) {
  std::printf("\"fma_gflops\": {\"float32\": %.2f, \"float64\": %.2f}, \"bandwidth_gbs\": [",
              limits.fma_f32, limits.fma_f64);
  const char* comma = "";
  for (const Bandwidth& b : limits.bandwidth) {
    std::printf("%s{\"bytes\": %lld, \"gbs\": %.2f}", comma, static_cast<long long>(b.bytes),
                b.gbs);
    comma = ", ";
  }
  std::printf("]");
}

void limits_object(const std::vector<Limits>& levels) {
  std::printf("{\"isa\": \"%s\", ", levels.back().isa.c_str());
  limits_members(levels.back());
  std::printf(",\n \"levels\": {");
  const char* comma = "";
  for (const Limits& limits : levels) {
    std::printf("%s\n  \"%s\": {", comma, limits.isa.c_str());
    limits_members(limits);
    std::printf("}");
    comma = ",";
  }
  std::printf("}}");
}

}  // namespace

void print_limits(const std::vector<Limits>& levels) {
  std::printf("%-9s %8s %8s |", "GFLOP/s", "float32", "float64");
  for (const Bandwidth& b : levels.front().bandwidth) {
    std::printf(" %5s", size_name(b.bytes).c_str());
  }
  std::printf("  GB/s read, by working set\n");
  for (const Limits& limits : levels) {
    std::printf("%-9s %8.1f %8.1f |", limits.isa.c_str(), limits.fma_f32, limits.fma_f64);
    for (const Bandwidth& b : limits.bandwidth) std::printf(" %5.1f", b.gbs);
    std::printf("\n");
  }
}

void print_header() {
  std::printf("\n%-13s %-10s %-7s %-8s %-24s %11s %8s %8s %6s %6s %s\n", "kernel", "cell", "type",
              "isa", "shape", "us/call", "GFLOP/s", "GB/s", "limit", "best", "bound");
}

void print_row(const Row& row) {
  std::printf("%-13s %-10s %-7s %-8s %-24s %11.2f %8.1f %8.1f %5.0f%% %5.0f%% %s\n",
              row.kernel.c_str(), row.cell.c_str(), row.type.c_str(), row.isa.c_str(),
              row.shape.c_str(), row.us, row.gflops, row.gbs, 100 * row.share, 100 * row.best_share,
              row.bound);
  std::fflush(stdout);
}

void print_limits_json(const std::vector<Limits>& levels) {
  limits_object(levels);
  std::printf("\n");
}

void print_rows_json(const std::vector<Limits>& levels, const std::vector<Limits>& after,
                     const std::vector<Row>& rows, double checksum) {
  std::printf("{\"limits\": ");
  limits_object(levels);
  std::printf(",\n\"limits_after\": ");
  limits_object(after);
  std::printf(",\n\"checksum\": %.9g,\n\"rows\": [", checksum);
  const char* comma = "";
  for (const Row& row : rows) {
    std::printf(
        "%s\n {\"kernel\": \"%s\", \"cell\": \"%s\", \"type\": \"%s\", \"isa\": \"%s\", "
        "\"shape\": \"%s\", \"us\": %.4f, \"best_us\": %.4f, \"gflops\": %.3f, \"gbs\": %.3f, "
        "\"share\": %.4f, \"best_share\": %.4f, \"bound\": \"%s\"}",
        comma, row.kernel.c_str(), row.cell.c_str(), row.type.c_str(), row.isa.c_str(),
        row.shape.c_str(), row.us, row.best_us, row.gflops, row.gbs, row.share, row.best_share,
        row.bound);
    comma = ",";
  }
  std::printf("]}\n");
}

}  // namespace gru::bench
