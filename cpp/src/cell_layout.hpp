// What each cell stores and where: for the kernels that write it and the drivers that reserve
// memory for it and read it without knowing gates.
#pragma once

#include <cstdint>

namespace gru {

enum Cell : int {
  kGruAfter,
  kGruBefore,
  kLstm,
  kRnnTanh,
  kRnnRelu,
  kGruAfterNorm,
  kGruBeforeNorm,
  kCells
};
// The first ones, whose gate math is the epilogue of the product. With layer normalisation it must
// wait for the whole row.
inline constexpr int kFusedCells = kGruAfterNorm;

// Consecutive fields of a row, or consecutive gates.
struct Window {
  int first, count;
};

struct GateOrder {
  int gate[4];
};

inline constexpr int kTheState = -1;

// Fields of the gates, in their order.
constexpr void set(int (&to)[4], int a, int b, int c, int d = 0) {
  to[0] = a;
  to[1] = b;
  to[2] = c;
  to[3] = d;
}

// Fields are H units wide, padded to Hp, and lie one after the other in a row.
struct CellLayout {
  int gates;            // blocks of H rows in weight_ih and weight_hh
  int phases;           // recurrent products a step: 2 where one gate needs the result of another
  Window phase[2];      // gates of each phase
  int hidden_chains;    // gates (the last ones) whose hidden product keeps a chain of its own
  int saved;            // fields kept for backward
  int saved_h;          // the one that is the state before the step
  int grads;            // fields backward writes
  Window w_grads;       // of them, the gradient of the input product, gates in order
  Window u_grads[2];    // and the gradient of each phase's recurrent product
  GateOrder u_gate[2];  // which gate each of those is
  int u_operand[2];     // field of grads that the phase's product was taken of, or kTheState
  int bias_x[4];        // field of grads that is the gradient of each gate's bias on the input side
  int bias_h[4];        // and on the hidden side
  bool norm;            // layer normalisation of each gate's input side and hidden side
  int raw;              // fields saved of it: both sides before it, input gates then hidden gates
  int gain;             // fields of grads: gradients of the gains in the same order
  int raw_grads;        // and of the sides before it
  bool cell_state;      // carries c beside h
  int zones;            // states that zoneout holds back, each with masks of its own
};

// Reset after. Both windows of gradients are consecutive: U reads the first three, W the last
// three.
struct GruAfterFields {
  enum Saved { kR, kW, kN, kHn, kH, kSaved };
  enum Grads { kRDn, kDr, kDz, kDn, kGrads };  // kRDn = r * da_n, the gradient of hn

  static constexpr CellLayout layout() {
    CellLayout l = {};
    l.gates = 3;
    l.phases = 1;
    l.phase[0] = {0, 3};
    l.hidden_chains = 1;
    l.saved = kSaved;
    l.saved_h = kH;
    l.grads = kGrads;
    l.w_grads = {kDr, 3};
    l.u_grads[0] = {kRDn, 3};
    l.u_gate[0] = {{2, 0, 1}};
    l.u_operand[0] = kTheState;
    l.zones = 1;
    set(l.bias_x, kDr, kDz, kDn);
    set(l.bias_h, kDr, kDz, kRDn);
    return l;
  }
};

// Reset before: phase 0 makes r and w, phase 1 multiplies U_n by r * h, which backward leaves in
// kRh.
struct GruBeforeFields {
  enum Saved { kR, kW, kN, kH, kSaved };
  enum Grads { kDr, kDz, kDn, kRh, kGrads };

  static constexpr CellLayout layout() {
    CellLayout l = {};
    l.gates = 3;
    l.phases = 2;
    l.phase[0] = {0, 2};
    l.phase[1] = {2, 1};
    l.saved = kSaved;
    l.saved_h = kH;
    l.grads = kGrads;
    l.w_grads = {kDr, 3};
    l.u_grads[0] = {kDr, 2};
    l.u_grads[1] = {kDn, 1};
    l.u_gate[0] = {{0, 1}};
    l.u_gate[1] = {{2}};
    l.u_operand[0] = kTheState;
    l.u_operand[1] = kRh;
    l.zones = 1;
    set(l.bias_x, kDr, kDz, kDn);
    set(l.bias_h, kDr, kDz, kDn);
    return l;
  }
};

struct LstmFields {
  enum Saved { kI, kF, kG, kO, kC, kH, kSaved };
  enum Grads { kDi, kDf, kDg, kDo, kGrads };

  static constexpr CellLayout layout() {
    CellLayout l = {};
    l.gates = 4;
    l.phases = 1;
    l.phase[0] = {0, 4};
    l.saved = kSaved;
    l.saved_h = kH;
    l.grads = kGrads;
    l.w_grads = {kDi, 4};
    l.u_grads[0] = {kDi, 4};
    l.u_gate[0] = {{0, 1, 2, 3}};
    l.u_operand[0] = kTheState;
    l.cell_state = true;
    l.zones = 2;
    set(l.bias_x, kDi, kDf, kDg, kDo);
    set(l.bias_h, kDi, kDf, kDg, kDo);
    return l;
  }
};

struct RnnFields {
  enum Saved { kN, kH, kSaved };
  enum Grads { kDn, kGrads };

  static constexpr CellLayout layout() {
    CellLayout l = {};
    l.gates = 1;
    l.phases = 1;
    l.phase[0] = {0, 1};
    l.saved = kSaved;
    l.saved_h = kH;
    l.grads = kGrads;
    l.w_grads = {kDn, 1};
    l.u_grads[0] = {kDn, 1};
    l.u_operand[0] = kTheState;
    l.zones = 1;
    return l;
  }
};

// A GRU with layer normalisation: the plain one's fields, and those of the normalisation. Its gate
// gradients belong to what comes out of the normalisation; the products need those of what goes in.
template <class Plain>
struct NormFields : Plain {
  enum Saved { kRaw = Plain::kSaved, kSaved = kRaw + 6 };
  enum Grads { kGain = Plain::kGrads, kRawGrads = kGain + 6, kGrads = kRawGrads + 6 };

  static constexpr CellLayout layout() {
    CellLayout l = Plain::layout();
    l.norm = true;
    l.raw = kRaw;
    l.gain = kGain;
    l.raw_grads = kRawGrads;
    l.saved = kSaved;
    l.grads = kGrads;
    l.w_grads = {kRawGrads, 3};
    for (int phase = 0; phase < l.phases; ++phase) {
      const Window gates = l.phase[phase];
      l.u_grads[phase] = {kRawGrads + 3 + gates.first, gates.count};
      for (int i = 0; i < gates.count; ++i) l.u_gate[phase].gate[i] = gates.first + i;
    }
    return l;
  }
};

inline constexpr CellLayout kCellLayout[kCells] = {
    GruAfterFields::layout(),
    GruBeforeFields::layout(),
    LstmFields::layout(),
    RnnFields::layout(),
    RnnFields::layout(),
    NormFields<GruAfterFields>::layout(),
    NormFields<GruBeforeFields>::layout(),
};

// What backward hands out about the way of the gradient through time, if asked: the whole gradient
// of the state after a step, and of what the step hands back to the state before it the part that
// is carried unchanged by the update gate and the part that goes through gates and candidate.
// LSTM: also the gradient of c, and what its forget gate hands back.
enum FlowField { kFlowDh, kFlowCarried, kFlowThrough, kFlowDc, kFlowCarriedC, kFlows };

// From one row of gate gradients to the next: not a power of two, because the products that read
// many rows at once would find them all in the same few lines of the cache. With recurrent dropout
// a row also holds what the recurrent product was taken of, after the cell's own fields.
constexpr int64_t grads_row(const CellLayout& layout, int64_t field, int lanes,
                            bool dropped = false) {
  const int64_t dense = (layout.grads + dropped) * field;
  return dense % 256 == 0 ? dense + lanes : dense;
}

}  // namespace gru
