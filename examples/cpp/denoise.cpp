// Takes the noise out of recorded speech with NSNet2 [1], frame by frame, as it would be done live.
// The net sees the spectrum of a frame and says how much of each frequency is speech.
//
// [1] Braun and Tashev, "Data augmentation and loss normalization for deep noise suppression", 2020
#include <gru/gru.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <vector>

#include "fourier.hpp"
#include "wav.hpp"

namespace {

constexpr int64_t kRate = 16000;                          // samples a second
constexpr std::size_t kWindow = 320, kHop = kWindow / 2;  // 20 ms, 10 ms
constexpr std::size_t kBins = kWindow / 2 + 1;
constexpr double kLeastPower = 1e-12;
constexpr float kLeastGain = 1e-4f;  // -80 dB

// w[n] = sqrt(hann[n]), hann[n] = (1 - cos(2 pi n / (N - 1))) / 2. A frame is multiplied by w on
// its way in and on its way out; frames half a window apart then sum to what went in, nearly.
std::vector<double> sqrt_hann() {
  const double pi = std::acos(-1.0);
  std::vector<double> w(kWindow);
  for (std::size_t n = 0; n < kWindow; ++n) {
    w[n] = std::sqrt(0.5 - 0.5 * std::cos(2 * pi * double(n) / double(kWindow - 1)));
  }
  return w;
}

class Denoiser {
 public:
  explicit Denoiser(const gru::Model& model)
      : stream_(model),
        fourier_(kWindow),
        window_(sqrt_hann()),
        features_(kBins),
        gain_(kBins),
        noisy_(kWindow),
        clean_(kWindow),
        frame_(kWindow),
        spectrum_(kWindow) {
    const auto bins = static_cast<int64_t>(kBins);
    if (model.dtype() != gru::Dtype::float32 || model.takes_tokens() ||
        model.input_features() != bins || model.output_features() != bins) {
      throw std::invalid_argument("the model is not NSNet2 for 16 kHz, float32, from " +
                                  std::to_string(bins) + " features to as many");
    }
  }

  // Sound starts anew with this hop.
  void start(const float* hop) {
    stream_.reset();
    std::copy_n(hop, kHop, &noisy_[kHop]);
    std::fill(clean_.begin(), clean_.end(), 0);
  }

  // Takes the next hop, gives the one before without noise. Allocates nothing.
  void step(const float* hop, float* clean) {
    std::copy_n(&noisy_[kHop], kHop, &noisy_[0]);
    std::copy_n(hop, kHop, &noisy_[kHop]);
    analyse();
    stream_.step(features_.data(), gain_.data());
    synthesise();
    for (std::size_t n = 0; n < kHop; ++n) clean[n] = static_cast<float>(clean_[n]);
  }

 private:
  // X = F(w x); the net's features are log10 |X|^2.
  void analyse() {
    for (std::size_t n = 0; n < kWindow; ++n) frame_[n] = window_[n] * noisy_[n];
    fourier_.forward(frame_.data(), spectrum_.data());
    for (std::size_t k = 0; k < kBins; ++k) {
      const double power = std::max(std::norm(spectrum_[k]), kLeastPower);
      features_[k] = static_cast<float>(std::log10(power));
    }
  }

  // y = w F^-1(gain X); the second half of a frame and the first of the next are added. X[N - k] is
  // the conjugate of X[k] and has its gain: the frame stays real.
  void synthesise() {
    for (std::size_t k = 0; k < kWindow; ++k) {
      spectrum_[k] *= std::clamp(gain_[std::min(k, kWindow - k)], kLeastGain, 1.0f);
    }
    fourier_.inverse(spectrum_.data(), frame_.data());
    std::copy_n(&clean_[kHop], kHop, &clean_[0]);
    std::fill_n(&clean_[kHop], kHop, 0);
    for (std::size_t n = 0; n < kWindow; ++n) clean_[n] += window_[n] * frame_[n].real();
  }

  gru::Stream stream_;
  Fourier fourier_;
  std::vector<double> window_;
  std::vector<float> features_, gain_;
  std::vector<float> noisy_;   // the last two hops
  std::vector<double> clean_;  // a whole hop, and one that misses the next frame's part
  std::vector<Complex> frame_, spectrum_;
};

// Seconds that frames take.
struct Times {
  int64_t frames = 0;
  double sum = 0, longest = 0;

  template <class Work>
  void measure(const Work& work) {
    const auto before = std::chrono::steady_clock::now();
    work();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    ++frames;
    sum += seconds;
    longest = std::max(longest, seconds);
  }
};

// The output is as long as the input: silence follows the last hop's samples.
Times denoise(Denoiser& denoiser, wav::Reader& in, wav::Writer& out) {
  const auto hop = static_cast<int64_t>(kHop);
  std::vector<float> noisy(kHop), clean(kHop);
  Times times;
  in.read(noisy.data(), hop);
  denoiser.start(noisy.data());
  for (int64_t left = in.format().samples; left > 0; left -= hop) {
    in.read(noisy.data(), hop);
    times.measure([&] { denoiser.step(noisy.data(), clean.data()); });
    out.write(clean.data(), std::min(hop, left));
  }
  return times;
}

void report(const Times& times) {
  const double hop = double(kHop) / double(kRate), sound = double(times.frames) * hop;
  std::printf("%lld frames, %.2f s of sound, in %.3f s: real-time factor %.4f\n",
              static_cast<long long>(times.frames), sound, times.sum, times.sum / sound);
  std::printf("a frame of %.0f ms takes %.3f ms, the slowest %.3f ms\n", 1e3 * hop,
              1e3 * times.sum / double(times.frames), 1e3 * times.longest);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fprintf(stderr, "usage: denoise NSNET2.safetensors NOISY.wav CLEAN.wav\n");
    return 2;
  }
  wav::Reader in(argv[2]);
  if (in.format().rate != kRate) {
    wav::fail(argv[2], "has " + std::to_string(in.format().rate) + " samples a second, not 16000");
  }
  if (in.format().samples == 0) wav::fail(argv[2], "is a WAV file without sound");
  Denoiser denoiser(gru::Model::load(argv[1]));
  wav::Writer out(argv[3], in.format());
  const Times times = denoise(denoiser, in, out);
  out.close();
  report(times);
} catch (const std::exception& error) {
  std::fprintf(stderr, "denoise: %s\n", error.what());
  return 2;
}
