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
    layer_norm: bool = False

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
                if self.layer_norm:
                    shapes["norm_ih" + end] = (rows,)
                    shapes["norm_hh" + end] = (rows,)
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
    gain_i: Array | None = None  # (..., G*H), of layer normalisation; None: there is none
    gain_h: Array | None = None  # (..., G*H)


@dataclass(frozen=True)
class Extra:
    """What is done to one direction of one layer beside its equations; None is nothing.

    Along a sequence arrays have a T axis before the last; ``at`` takes a step out.
    """

    operand: Array | None = None  # (B, H), no T: multiplies h wherever U does
    enter: Arrays | None = None  # each (B, T, H): share of the new h (and c) that replaces the old
    push: Arrays | None = None  # each (..., B, T, H): added to h (and c) after the step

    def at(self, t: int) -> Extra:
        def step(values: Arrays | None) -> Arrays | None:
            return None if values is None else tuple(v[..., t, :] for v in values)

        return Extra(self.operand, step(self.enter), step(self.push))

    def dropped(self, h: Array) -> Array:
        """What U multiplies."""
        return h if self.operand is None else h * self.operand

    def pushed(self, i: int, value: Array) -> Array:
        return value if self.push is None else value + self.push[i]

    def entered(self, i: int, new: Array, old: Array) -> Array:
        return new if self.enter is None else old + self.enter[i] * (new - old)


NOTHING = Extra()


@dataclass(frozen=True)
class Extras:
    """What is done to a whole network beside its equations."""

    inputs: list[Array]  # a layer: (B, T or 1, width), multiplies its input
    cells: list[Extra]  # layer by layer, then direction


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def relu(a: Array) -> Array:
    return np.where(a.real > 0, a, 0)


def affine(x: Array, w: Array, b: Array) -> Array:
    """W x + b for every row of x."""
    return np.matmul(x, np.swapaxes(w, -1, -2)) + b[..., None, :]


def normalised(a: Array, hidden: int) -> Array:
    """Layer normalisation without gain and bias, over each gate's H numbers."""
    apart = a.reshape(*a.shape[:-1], a.shape[-1] // hidden, hidden)
    centred = apart - apart.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return (centred / np.sqrt(variance + 1e-5)).reshape(a.shape)


def side(x: Array, w: Array, b: Array, gain: Array | None, hidden: int) -> Array:
    """W x + b, or gain * normalised(W x) + b."""
    if gain is None:
        return affine(x, w, b)
    hat = normalised(np.matmul(x, np.swapaxes(w, -1, -2)), hidden)
    return hat * gain[..., None, :] + b[..., None, :]


def gates(a: Array, count: int) -> list[Array]:
    return np.split(a, count, axis=-1)


def gains(gain: Array | None) -> list[Array] | list[None]:
    """Of a GRU's three gates."""
    return [None] * 3 if gain is None else gates(gain, 3)


# --- cells: one step, (x_t, state) -> gates, and with them the new state ----------------------

Named = dict[str, Array]


def gru_gates(spec: Spec, p: Weights, x: Array, state: Arrays, extra: Extra) -> Named:
    """Rows r z n.

    r = sigmoid(W_r x + b_ir + U_r h + b_hr)
    z = sigmoid(W_z x + b_iz + U_z h + b_hz)
    reset after:   n = tanh(W_n x + b_in + r * (U_n h + b_hn))
    reset before:  n = tanh(W_n x + b_in + U_n (r * h) + b_hn)
    layer_norm: each product with W or U is first normalised over the H numbers of its gate.
    """
    hidden = spec.hidden_size
    h = extra.dropped(state[0])
    x_r, x_z, x_n = gates(side(x, p.w, p.b_i, p.gain_i, hidden), 3)
    of_gate = list(zip(np.split(p.u, 3, axis=-2), gates(p.b_h, 3), gains(p.gain_h), strict=True))
    r = sigmoid(x_r + side(h, *of_gate[0], hidden))
    z = sigmoid(x_z + side(h, *of_gate[1], hidden))
    if spec.reset_after:
        return {"r": r, "z": z, "n": np.tanh(x_n + r * side(h, *of_gate[2], hidden))}
    return {"r": r, "z": z, "n": np.tanh(x_n + side(r * h, *of_gate[2], hidden))}


def gru_state(spec: Spec, g: Named, state: Arrays, extra: Extra) -> Arrays:
    """update "keep": h' = (1 - z) * n + z * h;  update "new": h' = (1 - z) * h + z * n."""
    z, n, h = g["z"], g["n"], state[0]
    new = (1 - z) * n + z * h if spec.update_gate == "keep" else (1 - z) * h + z * n
    return (extra.pushed(0, extra.entered(0, new, h)),)


def lstm_gates(spec: Spec, p: Weights, x: Array, state: Arrays, extra: Extra) -> Named:
    """Rows i f g o."""
    a = affine(x, p.w, p.b_i) + affine(extra.dropped(state[0]), p.u, p.b_h)
    i, f, g, o = gates(a, 4)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def lstm_state(spec: Spec, g: Named, state: Arrays, extra: Extra) -> Arrays:
    """c' = f * c + i * g, h' = o * tanh(c'), of the c' that would be where zoneout holds c back."""
    c = extra.pushed(1, g["f"] * state[1] + g["i"] * g["g"])
    h = extra.entered(0, g["o"] * np.tanh(c), state[0])
    return extra.pushed(0, h), extra.entered(1, c, extra.pushed(1, state[1]))


def rnn_gates(spec: Spec, p: Weights, x: Array, state: Arrays, extra: Extra) -> Named:
    """n = tanh(W x + b_i + U h + b_h), or relu."""
    activation = {"tanh": np.tanh, "relu": relu}[spec.nonlinearity]
    a = affine(x, p.w, p.b_i) + affine(extra.dropped(state[0]), p.u, p.b_h)
    return {"n": activation(a)}


def rnn_state(spec: Spec, g: Named, state: Arrays, extra: Extra) -> Arrays:
    """h' = n."""
    return (extra.pushed(0, extra.entered(0, g["n"], state[0])),)


Gates = Callable[[Spec, Weights, Array, Arrays, Extra], Named]
Blend = Callable[[Spec, Named, Arrays, Extra], Arrays]
CELLS: dict[str, tuple[Gates, Blend]] = {
    "gru": (gru_gates, gru_state),
    "lstm": (lstm_gates, lstm_state),
    "rnn": (rnn_gates, rnn_state),
}


# --- time, directions, layers ----------------------------------------------------------------


def step(
    spec: Spec, p: Weights, x: Array, state: Arrays, extra: Extra = NOTHING
) -> tuple[Named, Arrays]:
    """One step of one direction of one layer: its gates by name, and the new state."""
    find_gates, find_state = CELLS[spec.cell]
    found = find_gates(spec, p, x, state, extra)
    return found, find_state(spec, found, state, extra)


def sweep(
    spec: Spec,
    p: Weights,
    x: Array,
    state: Arrays,
    valid: Array,
    reverse: bool,
    extra: Extra = NOTHING,
    seen: Named | None = None,
) -> tuple[Array, Arrays]:
    """All steps of one direction of one layer; a masked step is skipped and its y is 0.

    Gates and states after each step go into ``seen``, arrays (B, T, H) of zeros.
    """
    steps = x.shape[-2]
    y: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        there = valid[:, t, None]
        found, new = step(spec, p, x[..., t, :], state, extra.at(t))
        state = tuple(np.where(there, n, s) for n, s in zip(new, state, strict=True))
        y[t] = np.where(there, state[0], 0)
        found |= dict(zip("hc", state, strict=False))
        for name, values in (seen or {}).items():
            values[..., t, :] = np.where(there, found[name], 0)
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
    extras: Extras | None = None,
    seen: Named | None = None,
) -> tuple[Array, Arrays]:
    """The whole network: y, and the final state as a tuple of (..., B, N*D, H).

    ``valid`` (B, T) is False where a step is skipped; ``state`` None is zeros. ``seen`` is filled
    like that of ``sweep``, with arrays (B, T, N*D, H).
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
    for layer, suffixes in enumerate(spec.suffixes()):
        outputs = []
        if extras is not None:
            x = x * extras.inputs[layer]
        for end, reverse in zip(suffixes, spec.reverses, strict=True):
            p = Weights(
                params["weight_ih" + end],
                params["weight_hh" + end],
                params.get("bias_ih" + end, no_bias),
                params.get("bias_hh" + end, no_bias),
                params.get("norm_ih" + end),
                params.get("norm_hh" + end),
            )
            at = len(finals)
            first = tuple(s[..., at, :] for s in state)
            extra = NOTHING if extras is None else extras.cells[at]
            here = None if seen is None else {name: a[..., at, :] for name, a in seen.items()}
            y, final = sweep(spec, p, x, first, valid, reverse, extra, here)
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
    extras: Extras | None = None

    @property
    def inputs(self) -> dict[str, Array]:
        """Everything L is differentiated by: parameters, "x", and "state0" (h), "state1" (c)."""
        states = {f"state{i}": s for i, s in enumerate(self.state)}
        return {**self.params, "x": self.x, **states}

    def loss(self, changed: Mapping[str, Array]) -> Array:
        """L with some inputs replaced; an input (P, ...) gives (P,)."""
        inputs = {**self.inputs, **changed}
        state = tuple(inputs[f"state{i}"] for i in range(len(self.state)))
        y, final = run(self.spec, inputs, inputs["x"], state, self.valid, self.extras)
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
