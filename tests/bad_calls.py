"""Throws random bad calls at layers, functions and streams: each returns, or raises an error that
says something. ``python bad_calls.py COUNT SEED`` does so in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

import gru

Rng = np.random.Generator

BATCH, STEPS, INPUT, HIDDEN = 3, 5, 4, 6


class Refusal:
    """Lets ValueError and TypeError with a message pass; ``raised`` tells whether there was one."""

    raised = False

    def __enter__(self) -> Refusal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.raised = isinstance(error, (ValueError, TypeError)) and len(str(error)) > 10
        return self.raised


def pick(rng: Rng, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def junk(rng: Rng) -> Any:
    """Something that is no array."""
    return pick(
        rng, None, "x", b"x", 0, -1, 2**70, 1.5, float("nan"), [], (), {}, [[1, 2], [3]], object(),
        True, [None], ["a"], slice(3), np.float32(1), np.array("a"), np.array(None), int, [[[0.0]]],
    )  # fmt: skip


def any_dtype(rng: Rng) -> Any:
    return pick(
        rng, "f4", "f4", "f4", "f8", ">f4", ">f8", "f2", "c8", "c16", "i1", "i4", "i8", "u8", "?",
        "O", "S3", "U2", "M8[s]", "m8[s]", "g", [("a", "f4")], "V4",
    )  # fmt: skip


def any_array(rng: Rng, *shape: int) -> Any:
    """An array near this shape: a wrong size, rank, dtype or layout, or all right."""
    sizes = list(shape)
    for _ in range(int(rng.integers(3))):
        change = int(rng.integers(5))
        if change == 0 and sizes:
            sizes[int(rng.integers(len(sizes)))] = pick(rng, 0, 1, 2, 3, 4, 5, 6, 7, 100)
        elif change == 1:
            sizes.insert(int(rng.integers(len(sizes) + 1)), pick(rng, 0, 1, 2))
        elif change == 2 and sizes:
            sizes.pop(int(rng.integers(len(sizes))))
        elif change == 3:
            rng.shuffle(sizes)
    values = np.zeros(sizes, any_dtype(rng))
    if rng.random() < 0.2:
        values = values.T
    if rng.random() < 0.1:
        values = np.broadcast_to(values[..., None], (*values.shape, 2))[..., 0]
    if rng.random() < 0.1 and values.ndim:
        values = values[::-1]
    return values


def any_x(rng: Rng) -> Any:
    return junk(rng) if rng.random() < 0.15 else any_array(rng, BATCH, STEPS, INPUT)


def good_x() -> Any:
    return np.ones((BATCH, STEPS, INPUT), np.float32)


def any_lengths(rng: Rng) -> Any:
    if rng.random() < 0.3:
        return junk(rng)
    values = [pick(rng, 0, 1, 5, 6, -1, 2**31, 2**40, -(2**63), 2**63 - 1) for _ in range(BATCH)]
    dtype = pick(rng, "i8", "i8", "i8", "f8", "f4", "O", "?")
    return np.array(values[: int(rng.integers(4))] if rng.random() < 0.2 else values, dtype)


def any_mask(rng: Rng) -> Any:
    if rng.random() < 0.3:
        return junk(rng)
    values = any_array(rng, BATCH, STEPS)
    return values.astype(bool) if values.dtype.kind in "fiu" and rng.random() < 0.7 else values


def any_state(rng: Rng, rows: int) -> Any:
    def one() -> Any:
        return junk(rng) if rng.random() < 0.2 else any_array(rng, BATCH, rows, HIDDEN)

    kind = int(rng.integers(4))
    if kind < 2:
        return one()
    made = tuple(one() for _ in range(int(rng.integers(4))))
    return made if kind == 2 else list(made)


def any_layer(rng: Rng) -> Any:
    kind = pick(rng, gru.GRU, gru.LSTM, gru.RNN)
    options: dict[str, Any] = {
        "num_layers": pick(rng, 1, 2),
        "bidirectional": pick(rng, True, False),
        "seed": 0,
    }
    if kind is gru.GRU:
        options["reset_after"] = pick(rng, True, False)
    made = kind(INPUT, HIDDEN, **options)
    if rng.random() < 0.3:
        made.freeze()
    return made


def rows_of(layer: Any) -> int:
    return int(layer.num_layers) * (2 if layer.bidirectional else 1)


# --- one random call each -------------------------------------------------------------------------


def call_layer(rng: Rng) -> None:
    layer = any_layer(rng)
    which = int(rng.integers(4))
    arguments: dict[str, Any] = {"x": any_x(rng) if which == 0 else good_x()}
    if which == 1 or rng.random() < 0.1:
        arguments["lengths"] = any_lengths(rng)
    if which == 2 or rng.random() < 0.1:
        arguments["mask"] = any_mask(rng)
    if which == 3 or rng.random() < 0.1:
        arguments["state"] = any_state(rng, rows_of(layer))
    pick(rng, layer, layer.forward)(**arguments)


def call_backward(rng: Rng) -> None:
    layer = any_layer(rng)
    y, _, tape = layer.forward(good_x(), lengths=[5, 0, 3])
    other = any_layer(rng)
    target = layer if rng.random() < 0.7 else other
    given = tape if rng.random() < 0.8 else junk(rng)
    dy = any_array(rng, *y.shape) if rng.random() < 0.7 else junk(rng)
    target.backward(given, dy, any_state(rng, rows_of(target)) if rng.random() < 0.5 else None)


def call_function(rng: Rng) -> None:
    cell = pick(rng, "gru", "lstm", "rnn")
    rows = {"gru": 3, "lstm": 4, "rnn": 1}[cell] * HIDDEN
    arguments: dict[str, Any] = {"x": good_x()}
    shapes = {"weight_ih": (rows, INPUT), "weight_hh": (rows, HIDDEN), "bias_ih": (rows,)}
    for name, shape in {**shapes, "bias_hh": (rows,)}.items():
        arguments[name] = np.zeros(shape, np.float32)
    if rng.random() < 0.3:
        del arguments["bias_ih"], arguments["bias_hh"]
    worse = pick(rng, *arguments)
    if worse == "x":
        arguments["x"] = any_x(rng)
    else:
        shape = arguments[worse].shape
        arguments[worse] = junk(rng) if rng.random() < 0.3 else any_array(rng, *shape)
    if rng.random() < 0.2:
        arguments["state"] = any_state(rng, 1)
    if rng.random() < 0.2:
        arguments["lengths"] = any_lengths(rng)
    if rng.random() < 0.2:
        arguments["reverse"] = pick(rng, True, False)
    getattr(gru, cell + pick(rng, "_forward", "_forward_train"))(**arguments)


def call_stream(rng: Rng) -> None:
    layer = pick(rng, gru.GRU, gru.LSTM, gru.RNN)(INPUT, HIDDEN, seed=0)
    which = int(rng.integers(5))
    stream = layer.stream(BATCH if which else pick(rng, 0, -1, -(2**40), 2**70, junk(rng)))
    if which == 1:
        stream.step(junk(rng) if rng.random() < 0.2 else any_array(rng, BATCH, INPUT))
    elif which == 2:
        stream.step(good_x()[:, 0], out=any_array(rng, BATCH, HIDDEN))
    elif which == 3:
        stream.state = any_state(rng, 1)
    elif which == 4:
        stream.reset(any_lengths(rng))


def call_constructor(rng: Rng) -> None:
    """Sizes are small, or too large for any memory: nothing in between is allocated."""

    def size() -> Any:
        return pick(rng, 1, 3, 0, -1, 2**31, 2**62, 2**70, -(2**70), 1.5, "3", None, True)

    options: dict[str, Any] = {}
    if rng.random() < 0.4:
        options["num_layers"] = size()
    for name in ("bidirectional", "bias", "reset_after", "update_gate", "dropout", "dtype"):
        if rng.random() < 0.2:
            options[name] = junk(rng)
    gru.GRU(size(), size(), **options)


def call_parameters(rng: Rng) -> None:
    layer = any_layer(rng)
    name = pick(rng, *layer.parameters)
    shape = layer.parameters[name].shape
    layer.parameters[name] = junk(rng) if rng.random() < 0.3 else any_array(rng, *shape)


CALLS: list[Callable[[Rng], None]] = [
    call_layer, call_layer, call_layer, call_backward, call_function, call_stream,
    call_constructor, call_parameters,
]  # fmt: skip


def run(count: int, seed: int, *, log: bool = False) -> tuple[int, int]:
    """How many of the calls returned, and how many raised ValueError or TypeError."""
    raised = 0
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        call = CALLS[i % len(CALLS)]
        if log:
            print(f"call {i}: {call.__name__}, seed ({seed}, {i})", file=sys.stderr, flush=True)
        with Refusal() as refusal:
            call(rng)
        raised += refusal.raised
    return count - raised, raised


if __name__ == "__main__":
    returned, raised = run(int(sys.argv[1]), int(sys.argv[2]), log=True)
    print(f"{returned + raised} calls: {returned} returned, {raised} raised")
