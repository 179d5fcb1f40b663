// oneDNN as a peer. Speaks the protocol of bench/workers/protocol.py: a line in, a line out.
//
// How it is called: forward_inference for inference, forward_training and backward for training;
// weights in the layout that the primitive asks for, reordered once; time-major arrays; arguments
// made beforehand; threads from OMP_NUM_THREADS. Layers are one primitive each, because oneDNN
// wants all layers of one primitive to read the same width. Ragged batches run padded.

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <sstream>

#include "network.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double nanoseconds(Clock::duration time) {
  return std::chrono::duration<double, std::nano>(time).count();
}

void warm_up(Network& network) {
  const auto end = Clock::now() + std::chrono::milliseconds(1);
  for (size_t k = 0;; k = (k + 1) % network.rotation()) {
    network.run(k);
    if (Clock::now() > end) return;
  }
}

// Nanoseconds of each call, or the mean of all.
std::vector<double> burst(Network& network, int64_t calls, bool each) {
  warm_up(network);
  const size_t rotation = network.rotation();
  std::vector<double> times;
  const auto start = Clock::now();
  auto last = start;
  for (int64_t k = 0; k < calls; ++k) {
    network.run(k % rotation);
    if (!each) continue;
    const auto now = Clock::now();
    times.push_back(nanoseconds(now - last));
    last = now;
  }
  if (!each) times.push_back(nanoseconds(Clock::now() - start) / calls);
  return times;
}

std::string join(const Words& words) {
  std::string line;
  for (const auto& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

class Worker {
 public:
  std::string answer(const Words& words) {
    const std::string& command = words.at(0);
    const std::string& slot = words.at(1);
    if (command == "prepare") {
      const Job job = Job::parse({words.begin() + 2, words.end()});
      networks_[slot] = std::make_unique<Network>(job, device_);
      return "";
    }
    if (command == "drop") {
      networks_.erase(slot);
      return "";
    }
    Network& network = *networks_.at(slot);
    if (command == "check") return join(network.write_outputs(words.at(2)));
    if (command != "burst") throw std::invalid_argument("unknown command " + command);
    std::ostringstream line;
    for (const double time : burst(network, std::stoll(words.at(2)), words.at(3) == "1"))
      line << time << ' ';
    return line.str();
  }

 private:
  Device device_;
  std::map<std::string, std::unique_ptr<Network>> networks_;
};

std::string reply(Worker& worker, const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  try {
    return "ok " + worker.answer(words);
  } catch (const Absent& reason) {
    return std::string("absent ") + reason.what();
  } catch (const std::exception& error) {
    return std::string("failed ") + error.what();
  }
}

}  // namespace
}  // namespace bench

int main() {
  const auto* version = dnnl_version();
  std::cout << "ready " << version->major << '.' << version->minor << '.' << version->patch
            << std::endl;
  bench::Worker worker;
  for (std::string line; std::getline(std::cin, line);)
    std::cout << bench::reply(worker, line) << std::endl;
}
