// What is measured: every kernel of the table, at the shapes the engine calls it with.
#pragma once

#include "measure.hpp"

namespace gru::bench {

// pack, product, outer, column_sum.
template <class R>
void weight_cases(Bench<R>& bench);

// forward, forward_train (the same with what backward needs saved), backward; every cell.
template <class R>
void recurrent_cases(Bench<R>& bench);

// step: of a stream, through the public interface.
template <class R>
void stream_cases(Bench<R>& bench);

// sigmoid, tanh.
template <class R>
void elementwise_cases(Bench<R>& bench);

}  // namespace gru::bench
