"""Seeded random configurations of recurrent layers, their numbers and the reference's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import gru
import reference
from reference import Array, Arrays, Problem, Spec

FORMS: list[dict[str, Any]] = [
    {"cell": "gru", "reset_after": after, "update_gate": update}
    for after in (True, False)
    for update in ("keep", "new")
] + [{"cell": "lstm"}, {"cell": "rnn"}, {"cell": "rnn", "nonlinearity": "relu"}]

DTYPES = ("float32", "float64")


def name_of(form: dict[str, Any]) -> str:
    return "-".join(str(v) for v in form.values())


EVERY_FORM = pytest.mark.parametrize("form", FORMS, ids=name_of)
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)

SMALL = (1, 2, 3, 4, 5, 7, 8)
LARGE = (9, 11, 13, 15, 16, 17, 31, 33, 40)


@dataclass(frozen=True)
class Case:
    """One configuration; every number of it follows from ``seed``."""

    spec: Spec
    batch: int
    steps: int
    padding: str  # "full" | "lengths" | "mask"
    has_state: bool
    seed: int

    def __str__(self) -> str:
        s = self.spec
        form = {
            "gru": f"gru-{'after' if s.reset_after else 'before'}-{s.update_gate}",
            "lstm": "lstm",
            "rnn": f"rnn-{s.nonlinearity}",
        }[s.cell]
        sizes = f"B{self.batch}-T{self.steps}-I{s.input_size}-H{s.hidden_size}-N{s.num_layers}"
        flags = f"{'bias' if s.bias else 'nobias'}-{'state' if self.has_state else 'zero'}"
        return f"{self.seed}-{form}-{s.direction}-{sizes}-{self.padding}-{flags}"


def cases(count: int, seed: int, *, large: float) -> Iterator[Case]:
    """Every cell and form, direction and padding in turn; the rest is drawn.

    ``large`` is the share of sizes drawn from LARGE; one case in twenty has no rows or no steps.
    """
    rng = np.random.default_rng(seed)

    def size() -> int:
        return int(rng.choice(LARGE if rng.random() < large else SMALL))

    directions = ("forward", "both", "forward", "both", "reverse")
    for i in range(count):
        direction = directions[i // len(FORMS) % len(directions)]
        spec = Spec(
            **FORMS[i % len(FORMS)],
            input_size=size(),
            hidden_size=size(),
            num_layers=1 if direction == "reverse" else int(rng.integers(1, 4)),
            direction=direction,
            bias=bool(rng.random() < 0.75),
        )
        batch = int(rng.choice((17, 33))) if rng.random() < large / 4 else int(rng.integers(1, 10))
        steps = int(rng.integers(1, 24 if large else 10))
        batch = 0 if rng.random() < 0.025 else batch
        steps = 0 if rng.random() < 0.025 else steps
        padding = ("full", "lengths", "mask")[i // (len(FORMS) * len(directions)) % 3]
        yield Case(spec, batch, steps, padding, bool(rng.random() < 0.75), 1000 * seed + i)


@dataclass(frozen=True)
class Data:
    """The numbers of a case in one dtype; the arrays are read-only."""

    params: dict[str, Array]
    x: Array
    state: Arrays | None
    lengths: Array | None
    mask: Array | None
    dy: Array
    dstate: Arrays

    @property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that say which steps are valid."""
        return {"lengths": self.lengths, "mask": self.mask}


def widened(d: Data) -> Data:
    """The same numbers in float64."""

    def wide(values: Arrays | None) -> Any:
        return None if values is None else tuple(v.astype(np.float64) for v in values)

    x, dy = wide((d.x, d.dy))
    params = {name: v.astype(np.float64) for name, v in d.params.items()}
    return Data(params, x, wide(d.state), d.lengths, d.mask, dy, wide(d.dstate))


@cache
def data(case: Case, dtype: str) -> Data:
    rng = np.random.default_rng(case.seed)
    spec, batch, steps = case.spec, case.batch, case.steps
    rows = spec.num_layers * len(spec.reverses)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        values = (scale * rng.normal(size=shape)).astype(dtype)
        values.flags.writeable = False
        return values

    def state() -> Arrays:
        count = reference.STATES[spec.cell]
        return tuple(normal(batch, rows, spec.hidden_size) for _ in range(count))

    # Pre-activations of order one whatever the sizes, so that no gate saturates.
    params = {
        name: normal(*shape, scale=0.5 if len(shape) == 1 else 0.8 / np.sqrt(shape[1]))
        for name, shape in spec.shapes.items()
    }
    for name in params:
        if name.startswith("norm"):  # gains are about one
            params[name] = params[name] + params[name].dtype.type(1)
            params[name].flags.writeable = False
    lengths = mask = None
    if case.padding == "lengths":
        lengths = rng.integers(0, steps + 1, size=batch)
    elif case.padding == "mask":
        mask = rng.random((batch, steps)) < 0.7
    return Data(
        params,
        normal(batch, steps, spec.input_size),
        state() if case.has_state else None,
        lengths,
        mask,
        normal(batch, steps, len(spec.reverses) * spec.hidden_size),
        state(),
    )


@cache
def problem(case: Case, dtype: str) -> Problem:
    """The case for the reference, in float64."""
    d, spec = widened(data(case, dtype)), case.spec
    rows = spec.num_layers * len(spec.reverses)
    zeros = (np.zeros((case.batch, rows, spec.hidden_size)),) * reference.STATES[spec.cell]
    valid = reference.valid_steps(case.batch, case.steps, d.lengths, d.mask)
    state = zeros if d.state is None else d.state
    return Problem(spec, d.params, d.x, state, valid, d.dy, d.dstate)


@cache
def expected(case: Case, dtype: str) -> tuple[Array, Arrays]:
    """The reference's y and final state."""
    p = problem(case, dtype)
    return reference.run(p.spec, p.params, p.x, p.state, p.valid)


# --- the engine, behind one face whatever the cell and direction ----------------------------------


def as_state(states: Arrays | None) -> Any:
    """How the engine takes a state: one array, or the pair of an LSTM."""
    if states is None:
        return None
    return states[0] if len(states) == 1 else states


def as_tuple(state: Any) -> Arrays:
    return state if isinstance(state, tuple) else (state,)


def options(spec: Spec) -> dict[str, Any]:
    """The keyword arguments that only this cell has."""
    if spec.cell == "gru":
        norm = {"layer_norm": True} if spec.layer_norm else {}
        return {"reset_after": spec.reset_after, "update_gate": spec.update_gate, **norm}
    return {"nonlinearity": spec.nonlinearity} if spec.cell == "rnn" else {}


def bare_layer(spec: Spec, dtype: str) -> Any:
    """The layer of a forward or bidirectional spec, with parameters of its own."""
    kind = {"gru": gru.GRU, "lstm": gru.LSTM, "rnn": gru.RNN}[spec.cell]
    return kind(
        spec.input_size,
        spec.hidden_size,
        num_layers=spec.num_layers,
        bidirectional=spec.direction == "both",
        bias=spec.bias,
        dtype=dtype,
        **options(spec),
    )


def make_layer(spec: Spec, params: Mapping[str, Array]) -> Any:
    """The layer of a forward or bidirectional spec, with these parameters and their dtype."""
    layer = bare_layer(spec, str(params["weight_ih_l0"].dtype))
    assert list(layer.parameters) == list(params)
    for name, value in layer.parameters.items():
        value[...] = params[name]
    return layer


def functions(spec: Spec) -> tuple[Any, Any, Any]:
    """forward, forward_train and backward of the functional interface."""
    names = (f"{spec.cell}_forward", f"{spec.cell}_forward_train", f"{spec.cell}_backward")
    forward, train, backward = (getattr(gru, name) for name in names)
    return forward, train, backward


def function_arguments(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Parameters of a one-layer, one-direction spec under the functions' argument names."""
    return {name.removesuffix("_l0"): value for name, value in params.items()}


def all_of(layer: Any, d: Data, **where: Any) -> list[Array]:
    """Outputs, states and every gradient of one forward and backward."""
    y, state, tape = layer.forward(d.x, as_state(d.state), **(where or d.where))
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    return [y, *as_tuple(state), dx, *as_tuple(dstate), *grads.values()]


def strided(a: Array) -> Array:
    """The same numbers, with others between them."""
    wide = np.full(tuple(2 * n for n in a.shape), 9, a.dtype)
    every_other = tuple(slice(None, None, 2) for _ in a.shape)
    wide[every_other] = a
    return wide[every_other]


def assert_same_bits(actual: Any, wanted: Any, what: str = "") -> None:
    """Equal shape, dtype and bytes: -0.0 differs from 0.0, a NaN equals itself."""
    for a, w in zip(as_tuple(actual), as_tuple(wanted), strict=True):
        assert (a.shape, a.dtype) == (w.shape, w.dtype), what
        assert a.tobytes() == w.tobytes(), f"{what}: {np.sum(a != w)} of {a.size} differ"


def assert_all_same(actual: list[Array], wanted: list[Array], what: str = "result") -> None:
    for i, (a, w) in enumerate(zip(actual, wanted, strict=True)):
        assert_same_bits(a, w, f"{what} {i}")
