// Times a call: as often as a budget of seconds allows, several calls a sample where one is too
// short for the clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace gru::bench {

struct Timing {
  double median, best;  // seconds a call
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Call>
double time_once(const Call& call, int64_t repeats) {
  const double begun = now();
  for (int64_t i = 0; i < repeats; ++i) call();
  return (now() - begun) / static_cast<double>(repeats);
}

template <class Call>
Timing time_call(const Call& call, double budget) {
  constexpr double kSample = 50e-6;  // a thousand times what reading the clock takes
  constexpr std::size_t kLeast = 3;
  call();  // brings the data into the caches and page faults out of the way
  int64_t repeats = 1;
  double each = time_once(call, repeats);
  while (each * static_cast<double>(repeats) < kSample) {
    repeats *= 2;
    each = time_once(call, repeats);
  }
  std::vector<double> samples = {each};
  for (double spent = 0; spent < budget || samples.size() < kLeast;) {
    samples.push_back(time_once(call, repeats));
    spent += samples.back() * static_cast<double>(repeats);
  }
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples.front()};
}

}  // namespace gru::bench
