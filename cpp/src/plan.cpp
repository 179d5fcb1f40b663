#include "plan.hpp"

#include <algorithm>
#include <sstream>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace gru {
namespace {

// Below this many multiply-adds a thread costs more than it saves (a fork and join is 0.5 us, an
// idle thread's wake-up several).
constexpr double kWorkPerThread = 400000;

// Orders of magnitude of today's servers; only their ratios matter, and only where they are far
// from 1. bench/ measures what the choices are worth.
constexpr double kClock = 2.5e9;           // multiply-adds a second and lane, at what tiles reach
constexpr double kNearBandwidth = 50e9;    // bytes a second out of L2
constexpr double kFarBandwidth = 16e9;     // and from beyond
constexpr double kMeeting = 0.4e-6;        // seconds that two threads take to meet
constexpr double kWorthTheTrouble = 0.85;  // of the time without meetings

int64_t near_cache() {
#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
  static const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return size;
#endif
  return 1024 * 1024;
}

// Seconds of one step of `batch` sequences when `members` threads share the hidden units.
double step_seconds(const Geometry& g, int64_t element_bytes, int64_t batch, int members) {
  const double recurrent = double(g.layout.gates) * g.field * g.field / members;
  const double input = double(g.layout.gates) * g.field * g.features(g.layers - 1) / members;
  const double bytes = recurrent * element_bytes;
  const double bandwidth = bytes < near_cache() ? kNearBandwidth : kFarBandwidth;
  const double multiply = batch * (recurrent + input) / (kClock * g.lanes);
  const double meet = members > 1 ? g.layout.phases * kMeeting : 0;
  return multiply + bytes / bandwidth + meet;
}

}  // namespace

Plan plan_rows(int64_t rows, int64_t parameters, int threads) {
  Plan plan;
  plan.available = threads;
  const double work = static_cast<double>(rows) * static_cast<double>(parameters);
  plan.affordable = static_cast<int>(std::clamp<double>(work / kWorkPerThread, 1, threads));
  plan.threads = plan.slices = plan.affordable;
  plan.reason = threads == 1        ? Plan::kOneAllowed
                : plan.threads == 1 ? Plan::kLittleWork
                                    : Plan::kSplit;
  return plan;
}

Plan plan_recurrent(const Geometry& g, int64_t element_bytes, int64_t batch, int64_t rows,
                    int64_t parameters, int threads) {
  Plan plan = plan_rows(rows, parameters, threads);
  const int usable = plan.affordable;
  plan.threads = plan.slices = 1;
  if (usable == 1) return plan;
  const int directions = static_cast<int>(g.directions);
  double best = 0;
  for (int members = 1; members <= std::min<int64_t>(usable, g.blocks()); ++members) {
    const int teams = usable / members;
    for (int slices = 1; slices <= std::min<int64_t>(teams, std::max<int64_t>(batch, 1));
         ++slices) {
      const int groups = directions * slices;
      const int turns = (groups + teams - 1) / teams;
      const int64_t share = (batch + slices - 1) / slices;
      double seconds = turns * step_seconds(g, element_bytes, share, members);
      if (members > 1) seconds /= kWorthTheTrouble;
      if (best > 0 && seconds >= best) continue;
      best = seconds;
      plan.slices = slices;
      plan.members = members;
      plan.threads = std::min(teams, groups) * members;
    }
  }
  plan.reason = plan.members > 1 ? Plan::kShared : plan.threads > 1 ? Plan::kSplit : Plan::kNoGain;
  return plan;
}

Share share_of(const Geometry& g, Member& member) {
  const int64_t blocks = g.blocks();
  return {static_cast<int32_t>(blocks * member.index / member.count),
          static_cast<int32_t>(blocks * (member.index + 1) / member.count),
          member.count > 1 ? Member::meet : nullptr, &member};
}

std::string explain(const Plan& plan) {
  std::ostringstream text;
  switch (plan.reason) {
    case Plan::kOneAllowed:
      text << "one thread is allowed";
      break;
    case Plan::kLittleWork:
      text << "too little work: a second thread would cost more than it saves";
      break;
    case Plan::kNoGain:
      text << "one sequence at a time, and its steps are too short for threads to meet in each";
      break;
    case Plan::kSplit:
      text << "slices of the batch and directions are independent: threads never meet";
      break;
    case Plan::kShared:
      text << "steps are long enough for " << plan.members
           << " threads to share the hidden units and meet in each";
      break;
  }
  if (plan.threads < plan.available && plan.threads > 1) {
    text << "; " << plan.available << " threads are allowed, more would not help";
  }
  return text.str();
}

}  // namespace gru
