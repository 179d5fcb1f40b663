// The kernels alone: how fast each is, at every instruction set, beside what the machine can do.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "cases.hpp"
#include "dispatch.hpp"
#include "float_mode.hpp"
#include "gru/runtime.hpp"
#include "report.hpp"

namespace gru::bench {
namespace {

constexpr const char* kUsage =
    "gru_kernels [--limits] [--quick] [--only NAME] [--isa LEVEL] [--json]\n"
    "  --limits     only the machine's limits: multiply-adds and read bandwidth of one core\n"
    "  --quick      fewer shapes, shorter timings\n"
    "  --only NAME  one kernel (pack, product, product_dx, outer, column_sum, forward,\n"
    "               forward_train, backward, step, sigmoid, tanh) or one cell (gru_after, "
    "gru_before,\n"
    "               lstm, rnn_tanh, rnn_relu)\n"
    "  --isa LEVEL  one instruction set\n"
    "  --json       JSON instead of a table\n";

struct Command {
  bool help = false, limits = false, json = false;
  std::vector<std::string> levels = isa_levels();
  Options options;
};

Command parse(const std::vector<std::string>& words) {
  Command command;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&] {
      if (++i == words.size()) throw std::invalid_argument(word + " needs a value");
      return words[i];
    };
    if (word == "--help") {
      command.help = true;
    } else if (word == "--limits") {
      command.limits = true;
    } else if (word == "--json") {
      command.json = true;
    } else if (word == "--quick") {
      command.options.quick = true;
    } else if (word == "--only") {
      command.options.only = value();
    } else if (word == "--isa") {
      command.levels = {value()};
      set_isa(command.levels[0]);  // throws, naming the levels there are
    } else {
      throw std::invalid_argument("unknown option " + word + "\n" + kUsage);
    }
  }
  return command;
}

template <class R, class Report>
double run_cases(const Limits& limits, const Options& options, const Report& report) {
  Bench<R> bench(active_kernels<R>(), limits, options, report);
  weight_cases(bench);
  recurrent_cases(bench);
  stream_cases(bench);
  elementwise_cases(bench);
  return bench.checksum();
}

void run(const Command& command) {
  FloatMode mode;  // as in every call of the engine
  std::vector<Limits> levels;
  for (const std::string& isa : command.levels) levels.push_back(measure_limits(isa));
  if (command.limits) return command.json ? print_limits_json(levels) : print_limits(levels);

  std::vector<Row> rows;
  double checksum = 0;
  if (!command.json) {
    print_limits(levels);
    print_header();
  }
  const auto report = [&](const Row& row) {
    if (!command.json) print_row(row);
    rows.push_back(row);
  };
  for (const Limits& limits : levels) {
    set_isa(limits.isa);
    checksum += run_cases<float>(limits, command.options, report);
    checksum += run_cases<double>(limits, command.options, report);
  }
  if (rows.empty()) throw std::invalid_argument("--only names no kernel and no cell");
  const std::vector<Limits> after = {measure_limits(levels.back().isa)};
  if (command.json) return print_rows_json(levels, after, rows, checksum);
  std::printf("\nThe limits once more, to show whether the machine was the same throughout:\n");
  print_limits(after);
  std::printf("checksum %.9g\n", checksum);
}

}  // namespace
}  // namespace gru::bench

int main(int argc, char** argv) {
  try {
    const gru::bench::Command command = gru::bench::parse({argv + 1, argv + argc});
    if (command.help) {
      std::fputs(gru::bench::kUsage, stdout);
    } else {
      gru::bench::run(command);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gru_kernels: %s\n", error.what());
    return 1;
  }
}
