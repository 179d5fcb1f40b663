// What one system is asked to run: the same words as bench/job.py writes.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

using Words = std::vector<std::string>;

// The peer has no way of doing a job.
struct Absent : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Job {
  std::string cell, mode, form, dtype, path;
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, layers = 1, directions = 1;
  bool ragged = false;

  static Job parse(const Words& words) {
    std::map<std::string, std::string> at;
    for (const auto& word : words) {
      const auto equals = word.find('=');
      at[word.substr(0, equals)] = word.substr(equals + 1);
    }
    Job job;
    job.cell = at.at("cell");
    job.mode = at.at("mode");
    job.form = at.at("form");
    job.dtype = at.at("dtype");
    job.path = at.at("path");
    job.steps = std::stoll(at.at("steps"));
    job.batch = std::stoll(at.at("batch"));
    job.inputs = std::stoll(at.at("inputs"));
    job.hidden = std::stoll(at.at("hidden"));
    job.layers = std::stoll(at.at("layers"));
    job.directions = std::stoll(at.at("directions"));
    job.ragged = at.at("ragged") == "1";
    return job;
  }

  bool train() const { return mode == "train"; }
  bool lbr() const { return cell == "gru" && form == "after"; }
  int64_t gates() const { return cell == "gru" ? 3 : cell == "lstm" ? 4 : 1; }
  // oneDNN's linear-before-reset GRU is the one with a bias of its own on the hidden product.
  int64_t biases() const { return lbr() ? 4 : gates(); }
  int64_t width(int64_t layer) const { return layer == 0 ? inputs : directions * hidden; }
  std::string end(int64_t layer, int64_t direction) const {
    return "_l" + std::to_string(layer) + (direction ? "_reverse" : "");
  }
};

}  // namespace bench
