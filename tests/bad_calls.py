"""Throws random bad calls at everything public: each returns, or raises an error that says
something. ``python bad_calls.py COUNT SEED`` does so in a process of its own."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import gru

Rng = np.random.Generator

BATCH, STEPS, INPUT, HIDDEN = 3, 5, 4, 6


# What Python and pybind11 say when nobody checked: such a message names no argument.
LEAKS = (
    "incompatible function arguments", "not supported between", "unsupported operand",
    "object is not", "has no len", "unhashable", "cannot unpack", "values to unpack",
    "truth value", "inhomogeneous", "could not convert",
)  # fmt: skip


def speaks(error: BaseException | None) -> bool:
    text = str(error)
    leaked = any(leak in text for leak in LEAKS) and " must be " not in text
    return len(text) > 10 and not leaked


class Refusal:
    """Lets errors of these kinds with a message pass; ``raised`` tells whether there was one."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = (ValueError, TypeError, *kinds)
        self.raised = False

    def __enter__(self) -> Refusal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.raised = isinstance(error, self.kinds) and speaks(error)
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


def any_model(rng: Rng) -> Any:
    last = pick(rng, [gru.Last()], [gru.Mean(), gru.Dropout(0.5)], [])
    return gru.Sequential([gru.GRU(INPUT, HIDDEN, seed=0), *last, gru.Linear(HIDDEN, 2, seed=0)])


def any_data(rng: Rng) -> Any:
    """An array or a list of arrays, near what a model takes."""
    if rng.random() < 0.5:
        return any_x(rng)
    steps = rng.integers(0, STEPS, int(rng.integers(5)))
    return [any_array(rng, int(n), INPUT) if rng.random() < 0.3 else np.ones((n, INPUT))
            for n in steps] + ([junk(rng)] if rng.random() < 0.2 else [])  # fmt: skip


def any_target(rng: Rng) -> Any:
    return pick(
        rng, junk(rng), [0, 1, 1], [0, 1, 1], [0, 1, 2], [0, -1, 1], [0.5, 0.5, np.nan], ["a"] * 3,
        any_array(rng, BATCH), any_array(rng, BATCH, 2), any_array(rng, BATCH, STEPS, 2),
        np.zeros((BATCH, STEPS), int), [np.zeros(3, int)] * BATCH,
    )  # fmt: skip


def call_fit(rng: Rng) -> None:
    arguments: dict[str, Any] = {"model": any_model(rng), "X": good_x(), "y": [0, 1, 1]}
    others: dict[str, Callable[[], Any]] = {
        "model": lambda: pick(rng, junk(rng), gru.GRU(INPUT, 2, seed=0)),
        "X": lambda: any_data(rng),
        "y": lambda: any_target(rng),
        "loss": lambda: pick(rng, *gru.losses.LOSSES, junk(rng)),
        "optimizer": lambda: pick(rng, junk(rng), "adam", gru.Adam, gru.SGD(0.1)),
        "epochs": lambda: pick(rng, 0, 2, -1, 1.5, "3", [], True, -(2**70)),
        "batch_size": lambda: pick(rng, 1, 0, -1, 2**70, junk(rng)),
        "clip_norm": lambda: pick(rng, None, 0, -1, float("inf"), junk(rng)),
        "lengths": lambda: any_lengths(rng),
        "mask": lambda: any_mask(rng),
        "validation": lambda: pick(
            rng, junk(rng), (good_x(), [0, 1, 1]), (any_data(rng), any_target(rng)), (good_x(),)
        ),
        "validation_lengths": lambda: any_lengths(rng),
        "metric": lambda: pick(rng, "accuracy", "mae", junk(rng)),
        "seed": lambda: pick(rng, 0, -1, 2**70, junk(rng)),
    }
    for name in rng.choice(list(others), int(rng.integers(1, 4)), replace=False):
        arguments[str(name)] = others[str(name)]()
    gru.fit(**{"epochs": 1, "verbose": False, **arguments})


def call_predict(rng: Rng) -> None:
    arguments: dict[str, Any] = {"X": any_data(rng)}
    if rng.random() < 0.3:
        arguments["batch_size"] = pick(rng, 1, 2, 0, -1, 2**70, junk(rng))
    if rng.random() < 0.2:
        arguments["lengths"] = any_lengths(rng)
    if rng.random() < 0.2:
        arguments["mask"] = any_mask(rng)
    any_model(rng).predict(**arguments)


def call_model(rng: Rng) -> None:
    model, which = any_model(rng), int(rng.integers(5))
    y, tape = model.forward(good_x(), lengths=[5, 0, 3])
    if which == 0:
        pick(rng, model, model.forward)(any_x(rng), lengths=any_lengths(rng))
    elif which == 1:
        dy = any_array(rng, *y.shape) if rng.random() < 0.7 else junk(rng)
        pick(rng, model, any_model(rng)).backward(pick(rng, tape, tape, junk(rng)), dy)
    elif which == 2:
        gru.Sequential(pick(rng, junk(rng), [junk(rng)], [any_layer(rng), any_layer(rng)]))
    elif which == 3:
        model.stream(BATCH).state = pick(rng, junk(rng), [any_state(rng, 1)], any_state(rng, 1))
    else:
        model.forward(good_x(), seed=pick(rng, -1, 2**70, junk(rng)))


def call_files(rng: Rng) -> None:
    """All that is written stays in a folder of its own."""
    model = any_model(rng)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "good")
        content = bytearray((folder / "good").read_bytes())
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        (folder / "bad").write_bytes(content[: int(rng.integers(len(content) + 1))])
        (folder / "flipped").write_bytes(content)
        odd = junk(rng)
        path = pick(
            rng, folder, folder / "no" / "m", f"{name}/a\0b", f"{name}/\ud800",
            f"{name}/{'m' * 300}", name.encode() + b"/\xff",
            "" if isinstance(odd, (str, bytes)) else odd,
        )  # fmt: skip
        if rng.random() < 0.3:
            model.metadata = pick(rng, junk(rng), {"n": junk(rng)}, {3: "n"}, {"a": "\ud800"})
            path = folder / "noted"
        if rng.random() < 0.5:
            model.save(path)
        else:
            gru.load(pick(rng, path, folder / "bad", folder / "flipped"))


def call_loss(rng: Rng) -> None:
    shape, name = pick(rng, (BATCH, 2), (BATCH, STEPS, 2)), pick(rng, *gru.losses.LOSSES)
    good = np.zeros(shape[:-1], int) if name == "cross_entropy" else np.zeros(shape)
    arguments: dict[str, Any] = {"prediction": np.zeros(shape, np.float32)}
    arguments["target"] = any_target(rng) if rng.random() < 0.4 else good
    if rng.random() < 0.3:
        arguments["prediction"] = pick(rng, junk(rng), any_array(rng, *shape))
    if rng.random() < 0.3:
        arguments["lengths"] = any_lengths(rng)
    if rng.random() < 0.3:
        arguments["mask"] = any_mask(rng)
    if rng.random() < 0.3:
        arguments["weight"] = pick(rng, junk(rng), any_array(rng, BATCH), any_array(rng, *shape))
    if name == "huber" and rng.random() < 0.5:
        arguments["delta"] = pick(rng, 0, -1.0, float("nan"), junk(rng))
    gru.losses.LOSSES[name](**arguments)


def call_runtime(rng: Rng) -> None:
    """What it sets is set back."""
    which = int(rng.integers(5))
    if which == 0:
        gru.set_isa(pick(rng, "v9", "", "\0", "\ud800", junk(rng)))
    elif which == 1:
        before = gru.get_num_threads()
        try:
            gru.set_num_threads(pick(rng, 0, -1, 1025, 2**31, 2**70, -(2**70), 1.5, junk(rng)))
        finally:
            gru.set_num_threads(before)
    elif which == 2:
        kind = pick(rng, gru.SGD, gru.Adam, gru.AdamW, gru.RMSprop)
        name = pick(rng, "lr", "weight_decay", "momentum", "betas", "eps", "alpha")
        kind(**{name: pick(rng, -1, 2.0, float("nan"), (0.9,), (0.9, 2), junk(rng))})
    elif which == 3:
        arrays = {"w": any_array(rng, 3, 2)}, {"w": pick(rng, junk(rng), any_array(rng, 3, 2))}
        pick(rng, gru.SGD(0.1), gru.Adam(0.1), gru.RMSprop(0.1)).step(*arrays)
    else:
        gru.clip_grad_norm({"w": pick(rng, junk(rng), any_array(rng, 3, 2))}, junk(rng))


def call_stateless(rng: Rng) -> None:
    layer = pick(
        rng, gru.Last(), gru.Mean(), gru.Max(), gru.Dropout(0.5), gru.Activation("softmax"),
        gru.Linear(INPUT, 2, seed=0), gru.Embedding(INPUT, 2, seed=0),
    )  # fmt: skip
    if rng.random() < 0.3:
        kind = pick(rng, gru.Linear, gru.Embedding, gru.Dropout, gru.Activation)
        odd = pick(rng, junk(rng), 0, -1, 2**62, 3)
        kind(*([odd] if kind in (gru.Dropout, gru.Activation) else [odd, junk(rng)]))
    else:
        y = pick(rng, layer, layer.forward)(any_x(rng), lengths=any_lengths(rng))
        layer.backward(pick(rng, junk(rng), y[1] if isinstance(y, tuple) else None), any_x(rng))


CALLS: list[Callable[[Rng], None]] = [
    call_layer, call_layer, call_layer, call_backward, call_function, call_stream,
    call_constructor, call_parameters, call_fit, call_fit, call_predict, call_model, call_files,
    call_loss, call_loss, call_runtime, call_stateless,
]  # fmt: skip
MAY_RAISE: dict[Callable[[Rng], None], tuple[type[Exception], ...]] = {
    call_files: (OSError, RuntimeError),  # a damaged file is a RuntimeError
}


def run(count: int, seed: int, *, log: bool = False) -> tuple[int, int]:
    """How many of the calls returned, and how many raised what they may."""
    raised = 0
    warnings.filterwarnings("ignore", message="dropout acts between stacked layers")
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        call = CALLS[i % len(CALLS)]
        if log:
            print(f"call {i}: {call.__name__}, seed ({seed}, {i})", file=sys.stderr, flush=True)
        with Refusal(*MAY_RAISE.get(call, ())) as refusal:
            call(rng)
        raised += refusal.raised
    return count - raised, raised


if __name__ == "__main__":
    returned, raised = run(int(sys.argv[1]), int(sys.argv[2]), log=True)
    print(f"{returned + raised} calls: {returned} returned, {raised} raised")
