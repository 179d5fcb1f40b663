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

template <class R>
struct Inputs {
  Shape in;
  std::vector<R> x, h, c, dy;

  Inputs(const Layer<R>& layer, const Shape& in_)
      : in(in_),
        x(random_values<R>(in.size(), 2)),
        h(random_values<R>(states(layer.spec(), in), 3)),
        c(random_values<R>(states(layer.spec(), in), 4)),
        dy(random_values<R>(layer.output_shape(in).size(), 5)) {}

  static int64_t states(const LayerSpec& spec, const Shape& in) {
    return in.batch * spec.num_layers * spec.directions() * spec.hidden_size;
  }

  // A call of these inputs that writes to `run`.
  void forward(Run<R>& run, ForwardCall<R>& call, const int64_t* lengths, int threads) const {
    run.y.resize(dy.size());
    run.h.resize(h.size());
    run.c.resize(c.size());
    call.in = in;
    call.x = x.data();
    call.schedule = schedule_of(in.batch, in.steps, lengths);
    call.y = run.y.data();
    call.state = {h.data(), c.data()};
    call.last_state = {run.h.data(), run.c.data()};
    call.threads = threads;
  }
};

// between(): called before forward and before backward.
template <class R, class Between>
Run<R> train(const Layer<R>& layer, const Inputs<R>& given, const int64_t* lengths, int threads,
             const Between& between, int64_t chunk_rows = 0, int64_t memory_limit = 0) {
  Run<R> run;
  run.dx.resize(given.x.size());
  run.dh.resize(given.h.size());
  run.dc.resize(given.c.size());
  run.grads.resize(static_cast<std::size_t>(layer.size()));
  auto tape = make_tape<R>();
  ForwardCall<R> forward;
  given.forward(run, forward, lengths, threads);
  forward.tape = tape.get();
  forward.memory_limit = memory_limit;
  forward.x_stays = true;
  forward.seed = 7;
  between();
  layer.forward(forward);
  BackwardCall<R> backward;
  backward.tape = tape.get();
  backward.dy = given.dy.data();
  backward.dstate = {given.h.data(), given.c.data()};
  backward.dx = run.dx.data();
  backward.dfirst_state = {run.dh.data(), run.dc.data()};
  backward.grads = run.grads.data();
  backward.threads = threads;
  backward.chunk_rows = chunk_rows;
  between();
  layer.backward(backward);
  return run;
}

// y and state of an inference call with the same inputs.
template <class R, class Between>
Run<R> infer(const Layer<R>& layer, const Inputs<R>& given, const int64_t* lengths, int threads,
             const Between& between) {
  Run<R> run;
  ForwardCall<R> call;
  given.forward(run, call, lengths, threads);
  between();
  layer.forward(call);
  return run;
}

template <class R>
Run<R> train(const Layer<R>& layer, const Shape& in, const int64_t* lengths, int threads) {
  return train(layer, Inputs<R>(layer, in), lengths, threads, [] {});
}

template <class R>
bool same_bits(const std::vector<R>& a, const std::vector<R>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(R)) == 0;
}

template <class R>
bool same_bits(const Run<R>& a, const Run<R>& b) {
  return same_bits(a.y, b.y) && same_bits(a.h, b.h) && same_bits(a.c, b.c) &&
         same_bits(a.dx, b.dx) && same_bits(a.grads, b.grads) && same_bits(a.dh, b.dh) &&
         same_bits(a.dc, b.dc);
}

}  // namespace gru::test
