// One training pass with every input random: what comes out, and what comes back.
#pragma once

#include <cstring>
#include <vector>

#include "make.hpp"

namespace gru::test {

template <class R>
struct Run {
  std::vector<R> y, h, c, dx, grads, dh, dc;
};

// between(): called before forward and before backward.
template <class R, class Between>
Run<R> train(const Layer<R>& layer, const Shape& in, const int64_t* lengths, int threads,
             const Between& between) {
  const LayerSpec& spec = layer.spec();
  const int64_t state = in.batch * spec.num_layers * spec.directions() * spec.hidden_size;
  const std::vector<R> x = random_values<R>(in.size(), 2);
  const std::vector<R> h0 = random_values<R>(state, 3), c0 = random_values<R>(state, 4);
  const int64_t outputs = layer.output_shape(in).size();
  const std::vector<R> dy = random_values<R>(outputs, 5);
  Run<R> run;
  run.y.resize(static_cast<std::size_t>(outputs));
  for (auto* v : {&run.h, &run.c, &run.dh, &run.dc}) v->resize(static_cast<std::size_t>(state));
  run.dx.resize(x.size());
  run.grads.resize(static_cast<std::size_t>(layer.size()));
  auto tape = make_tape<R>();
  ForwardCall<R> forward;
  forward.in = in;
  forward.x = x.data();
  forward.schedule = schedule_of(in.batch, in.steps, lengths);
  forward.y = run.y.data();
  forward.state = {h0.data(), c0.data()};
  forward.last_state = {run.h.data(), run.c.data()};
  forward.tape = tape.get();
  forward.threads = threads;
  between();
  layer.forward(forward);
  BackwardCall<R> backward;
  backward.tape = tape.get();
  backward.dy = dy.data();
  backward.dstate = {h0.data(), c0.data()};
  backward.dx = run.dx.data();
  backward.dfirst_state = {run.dh.data(), run.dc.data()};
  backward.grads = run.grads.data();
  backward.threads = threads;
  between();
  layer.backward(backward);
  return run;
}

template <class R>
Run<R> train(const Layer<R>& layer, const Shape& in, const int64_t* lengths, int threads) {
  return train(layer, in, lengths, threads, [] {});
}

template <class R>
bool same_bits(const std::vector<R>& a, const std::vector<R>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(R)) == 0;
}

template <class R>
bool same_bits(const Run<R>& a, const Run<R>& b) {
  return same_bits(a.y, b.y) && same_bits(a.h, b.h) && same_bits(a.c, b.c) &&
         same_bits(a.dx, b.dx) && same_bits(a.grads, b.grads) && same_bits(a.dh, b.dh) &&
         same_bits(a.dc, b.dc);
}

}  // namespace gru::test
