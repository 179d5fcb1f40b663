// All kernels of one instruction set, gathered in a table. Compiled once per set.
#include "drop.hpp"
#include "sweep.hpp"

#define GRU_STRINGIFY(name) #name
#define GRU_NAME_OF(name) GRU_STRINGIFY(name)

namespace gru {
namespace GRU_ISA {

template <class R, Vec<R> (*F)(Vec<R>)>
void each_element(const R* x, R* y, int64_t count) {
  constexpr int L = kLanes<R>;
  int64_t i = 0;
  for (; i + L <= count; i += L) store(y + i, F(load(x + i)));
  if (i == count) return;
  R lanes[L] = {};
  for (int64_t j = i; j < count; ++j) lanes[j - i] = x[j];
  emit(y + i, F(load(lanes)), count - i, false);
}

template <class R>
struct Table {
  static constexpr Kernels<R> value = {
      GRU_NAME_OF(GRU_ISA),
      kLanes<R>,
      pack<R>,
      product<R>,
      outer<R>,
      column_sum<R>,
      drop<R>,
      {forward<GruAfter<R>, R>, forward<GruBefore<R>, R>, forward<Lstm<R>, R>,
       forward<Rnn<R, Tanh>, R>, forward<Rnn<R, Relu>, R>, forward<GruAfterNorm<R>, R>,
       forward<GruBeforeNorm<R>, R>},
      {backward<GruAfter<R>, R>, backward<GruBefore<R>, R>, backward<Lstm<R>, R>,
       backward<Rnn<R, Tanh>, R>, backward<Rnn<R, Relu>, R>, backward<GruAfterNorm<R>, R>,
       backward<GruBeforeNorm<R>, R>},
      each_element<R, sigmoid<R>>,
      each_element<R, tanh<R>>,
  };
};

extern const Kernels<float> kFloat;
extern const Kernels<double> kDouble;
constexpr Kernels<float> kFloat = Table<float>::value;
constexpr Kernels<double> kDouble = Table<double>::value;

}  // namespace GRU_ISA
}  // namespace gru
