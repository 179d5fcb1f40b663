"""Recurrent networks in NumPy, written from the equations alone; knows nothing of the engine.

Shapes: x (..., B, T, I), y (..., B, T, D*H), each array of a state (..., B, N*D, H). The leading
axes are optional and broadcast: they carry perturbed copies for the complex-step gradients, so
everything here is analytic in its inputs and works in float64, longdouble and complex128.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = tuple[Array, ...]

GATES = {"gru": 3, "lstm": 4, "rnn": 1}
STATES = {"gru": 1, "lstm": 2, "rnn": 1}


@dataclass(frozen=True)
class Spec:
    """What a network is, apart from its numbers."""

    cell: str  # "gru" | "lstm" | "rnn"
    input_size: int
    hidden_size: int
    num_layers: int = 1
    direction: str = "forward"  # "forward" | "reverse" | "both"
    bias: bool = True
    reset_after: bool = True
    update_gate: str = "keep"
    nonlinearity: str = "tanh"

    @property
    def reverses(self) -> tuple[bool, ...]:
        """For each direction, whether it runs from the last step to the first."""
        return {"forward": (False,), "reverse": (True,), "both": (False, True)}[self.direction]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter names and shapes: PyTorch's; a lone reverse direction has no suffix."""
        rows, hidden, shapes = GATES[self.cell] * self.hidden_size, self.hidden_size, {}
        for layer, suffixes in enumerate(self.suffixes()):
            width = self.input_size if layer == 0 else len(self.reverses) * hidden
            for end in suffixes:
                shapes["weight_ih" + end] = (rows, width)
                shapes["weight_hh" + end] = (rows, hidden)
                if self.bias:
                    shapes["bias_ih" + end] = (rows,)
                    shapes["bias_hh" + end] = (rows,)
        return shapes

    def suffixes(self) -> Iterator[list[str]]:
        """Per layer, the end of the parameter names of each direction."""
        for layer in range(self.num_layers):
            yield [f"_l{layer}", f"_l{layer}_reverse"][: len(self.reverses)]


@dataclass(frozen=True)
class Weights:
    """One layer and direction; rows are the gates one after the other, H rows each."""

    w: Array  # (..., G*H, I), reads x
    u: Array  # (..., G*H, H), reads h
    b_i: Array  # (..., G*H)
    b_h: Array  # (..., G*H)


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def relu(a: Array) -> Array:
    return np.where(a.real > 0, a, 0)


def affine(x: Array, w: Array, b: Array) -> Array:
    """W x + b for every row of x."""
    return np.matmul(x, np.swapaxes(w, -1, -2)) + b[..., None, :]


def gates(a: Array, count: int) -> list[Array]:
    return np.split(a, count, axis=-1)


# --- cells: one step, (x_t, state) -> state --------------------------------------------------


def gru_step(spec: Spec, p: Weights, x: Array, state: Arrays) -> Arrays:
    """Rows r z n.

    r = sigmoid(W_r x + b_ir + U_r h + b_hr)
    z = sigmoid(W_z x + b_iz + U_z h + b_hz)
    reset after:   n = tanh(W_n x + b_in + r * (U_n h + b_hn))
    reset before:  n = tanh(W_n x + b_in + U_n (r * h) + b_hn)
    update "keep": h' = (1 - z) * n + z * h
    update "new":  h' = (1 - z) * h + z * n
    """
    (h,) = state
    x_r, x_z, x_n = gates(affine(x, p.w, p.b_i), 3)
    u_r, u_z, u_n = np.split(p.u, 3, axis=-2)
    b_r, b_z, b_n = np.split(p.b_h, 3, axis=-1)
    r = sigmoid(x_r + affine(h, u_r, b_r))
    z = sigmoid(x_z + affine(h, u_z, b_z))
    if spec.reset_after:
        n = np.tanh(x_n + r * affine(h, u_n, b_n))
    else:
        n = np.tanh(x_n + affine(r * h, u_n, b_n))
    if spec.update_gate == "keep":
        return ((1 - z) * n + z * h,)
    return ((1 - z) * h + z * n,)


def lstm_step(spec: Spec, p: Weights, x: Array, state: Arrays) -> Arrays:
    """Rows i f g o: c' = f * c + i * g, h' = o * tanh(c')."""
    h, c = state
    a_i, a_f, a_g, a_o = gates(affine(x, p.w, p.b_i) + affine(h, p.u, p.b_h), 4)
    c = sigmoid(a_f) * c + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def rnn_step(spec: Spec, p: Weights, x: Array, state: Arrays) -> Arrays:
    """h' = tanh(W x + b_i + U h + b_h), or relu."""
    activation = {"tanh": np.tanh, "relu": relu}[spec.nonlinearity]
    return (activation(affine(x, p.w, p.b_i) + affine(state[0], p.u, p.b_h)),)


Step = Callable[[Spec, Weights, Array, Arrays], Arrays]
STEPS: dict[str, Step] = {"gru": gru_step, "lstm": lstm_step, "rnn": rnn_step}


# --- time, directions, layers ----------------------------------------------------------------


def sweep(
    spec: Spec, p: Weights, x: Array, state: Arrays, valid: Array, reverse: bool
) -> tuple[Array, Arrays]:
    """All steps of one direction of one layer; a masked step is skipped and its y is 0."""
    steps = x.shape[-2]
    y: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        there = valid[:, t, None]
        new = STEPS[spec.cell](spec, p, x[..., t, :], state)
        state = tuple(np.where(there, n, s) for n, s in zip(new, state, strict=True))
        y[t] = np.where(there, state[0], 0)
    if not y:
        return np.zeros((*x.shape[:-1], spec.hidden_size), x.dtype), state
    return np.stack(np.broadcast_arrays(*y), axis=-2), state


def concatenate(parts: list[Array]) -> Array:
    """Along the last axis, leading axes broadcast."""
    lead = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return np.concatenate([np.broadcast_to(p, (*lead, p.shape[-1])) for p in parts], axis=-1)


def stack_states(parts: list[Array]) -> Array:
    """Arrays (..., B, H) -> (..., B, N*D, H), leading axes broadcast."""
    return np.stack(np.broadcast_arrays(*parts), axis=-2)


def run(
    spec: Spec,
    params: Mapping[str, Array],
    x: Array,
    state: Arrays | None = None,
    valid: Array | None = None,
) -> tuple[Array, Arrays]:
    """The whole network: y, and the final state as a tuple of (..., B, N*D, H).

    ``valid`` (B, T) is False where a step is skipped; ``state`` None is zeros.
    """
    batch, steps = x.shape[-3:-1]
    rows = spec.num_layers * len(spec.reverses)
    if state is None:
        zeros = np.zeros((batch, rows, spec.hidden_size), x.dtype)
        state = (zeros,) * STATES[spec.cell]
    if valid is None:
        valid = np.ones((batch, steps), bool)
    no_bias = np.zeros(GATES[spec.cell] * spec.hidden_size)
    finals: list[Arrays] = []
    for suffixes in spec.suffixes():
        outputs = []
        for end, reverse in zip(suffixes, spec.reverses, strict=True):
            p = Weights(
                params["weight_ih" + end],
                params["weight_hh" + end],
                params.get("bias_ih" + end, no_bias),
                params.get("bias_hh" + end, no_bias),
            )
            first = tuple(s[..., len(finals), :] for s in state)
            y, final = sweep(spec, p, x, first, valid, reverse)
            outputs.append(y)
            finals.append(final)
        x = concatenate(outputs)
    return x, tuple(stack_states(list(parts)) for parts in zip(*finals, strict=True))


def valid_steps(batch: int, steps: int, lengths: Any = None, mask: Any = None) -> Array:
    """(B, T) bool from lengths (B,) or a mask (B, T)."""
    if mask is not None:
        return np.asarray(mask, bool)
    if lengths is None:
        return np.ones((batch, steps), bool)
    return np.arange(steps) < np.asarray(lengths)[:, None]


# --- gradients -------------------------------------------------------------------------------

STEP = 1e-30  # a complex step has no cancellation, so it may be as small as it likes


@dataclass(frozen=True)
class Problem:
    """A network with its inputs and L = sum(y * dy) + sum(state * dstate)."""

    spec: Spec
    params: Mapping[str, Array]
    x: Array
    state: Arrays
    valid: Array
    dy: Array
    dstate: Arrays

    @property
    def inputs(self) -> dict[str, Array]:
        """Everything L is differentiated by: parameters, "x", and "state0" (h), "state1" (c)."""
        states = {f"state{i}": s for i, s in enumerate(self.state)}
        return {**self.params, "x": self.x, **states}

    def loss(self, changed: Mapping[str, Array]) -> Array:
        """L with some inputs replaced; an input (P, ...) gives (P,)."""
        inputs = {**self.inputs, **changed}
        state = tuple(inputs[f"state{i}"] for i in range(len(self.state)))
        y, final = run(self.spec, inputs, inputs["x"], state, self.valid)
        total = (y * self.dy).sum(axis=(-3, -2, -1))
        for s, ds in zip(final, self.dstate, strict=True):
            total = total + (s * ds).sum(axis=(-3, -2, -1))
        return total

    def slopes(self, name: str, directions: Array) -> Array:
        """dL along each of the directions (P, *shape) of one input, by complex step: (P,)."""
        moved = self.inputs[name] + 1j * STEP * directions
        slope = self.loss({name: moved}).imag / STEP
        return np.broadcast_to(slope, directions.shape[:1])  # L may not depend on it at all

    def gradient(self, name: str) -> Array:
        """dL by every entry of one input."""
        value = self.inputs[name]
        units = np.eye(value.size).reshape(value.size, *value.shape)
        return self.slopes(name, units).reshape(value.shape)
