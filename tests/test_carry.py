"""States carried from one call of a model to the next: bits, gradients, format and errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gru
from cases import EVERY_DTYPE, EVERY_FORM, as_tuple, assert_same_bits
from masks import seed_in_model
from reference import Array

KINDS = {"gru": gru.GRU, "lstm": gru.LSTM, "rnn": gru.RNN}
BATCH, STEPS, TOKENS = 5, 17, 9
CUTS = ([0, 17], [0, 1, 2, 3, 17], [0, 6, 6, 11, 17], list(range(18)))


def recurrent(form: dict[str, Any], *sizes: int, dtype: str, **more: Any) -> Any:
    rest = {name: value for name, value in form.items() if name != "cell"}
    return KINDS[form["cell"]](*sizes, **rest, **more, dtype=dtype, seed=sum(sizes))


def model_of(name: str, form: dict[str, Any], dtype: str) -> gru.Sequential:
    of: dict[str, Any] = {"dtype": dtype}
    layers: dict[str, Callable[[], list[Any]]] = {
        "alone": lambda: [recurrent(form, 3, 6, **of)],
        "stack": lambda: [recurrent(form, 3, 6, 3, dropout=0.3, **of)],
        "regularised": lambda: [
            recurrent(form, 3, 6, 2, input_dropout=0.2, recurrent_dropout=0.3, zoneout=0.4, **of)
        ],
        "several": lambda: [
            gru.Linear(3, 5, seed=1, **of),
            recurrent(form, 5, 6, 2, **of),
            gru.Activation("tanh"),
            gru.Dropout(0.4),
            gru.LSTM(6, 4, zoneout=0.3, seed=2, **of),
            gru.Linear(4, 2, seed=3, **of),
        ],
        "tokens": lambda: [
            gru.Embedding(TOKENS, 4, seed=1, **of),
            recurrent(form, 4, 6, **of),
            gru.Linear(6, TOKENS, seed=2, **of),
            gru.Activation("softmax"),
        ],
        "last": lambda: [
            gru.GRU(3, 4, seed=5, **of),
            recurrent(form, 4, 6, 2, **of),
            gru.Last(),
            gru.Linear(6, 2, seed=2, **of),
        ],
        "last alone": lambda: [
            recurrent(form, 3, 6, 2, zoneout=0.3, **of),
            gru.Last(),
            gru.Linear(6, 2, seed=2, **of),
        ],
        "wide head": lambda: [  # wider than what it pools
            recurrent(form, 3, 6, **of),
            gru.Last(),
            gru.Linear(6, 80, seed=2, **of),
            gru.Activation("tanh"),
            gru.Linear(80, 2, seed=3, **of),
        ],
        "mean": lambda: [recurrent(form, 3, 6, **of), gru.Mean()],
        "max": lambda: [recurrent(form, 3, 6, **of), gru.Activation("relu"), gru.Max()],
    }
    return gru.Sequential(layers[name]())


EVERY_STEP = ("alone", "stack", "regularised", "several", "tokens")
POOLED = ("last", "last alone", "wide head", "mean", "max")
WHERE = ("full", "lengths", "holes")


def input_of(model: gru.Sequential, dtype: str, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if model.input_dtype.kind == "i":
        return rng.integers(0, TOKENS, (BATCH, STEPS))
    return rng.normal(size=(BATCH, STEPS, 3)).astype(dtype)


def where_of(padding: str) -> dict[str, Array]:
    if padding == "lengths":
        return {"lengths": np.array([17, 0, 5, 1, 12])}
    if padding == "holes":
        return {"mask": np.random.default_rng(4).random((BATCH, STEPS)) < 0.6}
    return {}


def pieces(x: Array, where: dict[str, Array], cuts: list[int]) -> Iterator[tuple[Array, Any]]:
    """Parts of a batch in time, and which of their steps count."""
    for begin, end in pairwise(cuts):
        part: dict[str, Array] = {}
        if "lengths" in where:
            part["lengths"] = np.clip(where["lengths"] - begin, 0, end - begin)
        if "mask" in where:
            part["mask"] = where["mask"][:, begin:end]
        yield x[:, begin:end], part


def assert_states(actual: list[Any], wanted: list[Any]) -> None:
    assert isinstance(actual, list)
    assert isinstance(wanted, list)
    for a, w in zip(actual, wanted, strict=True):
        assert isinstance(a, tuple) == isinstance(w, tuple)
        assert_same_bits(a, w)


def random_state(model: gru.Sequential, dtype: str) -> list[Any]:
    """One entry a recurrent layer, as ``carry`` gives them."""
    rng = np.random.default_rng(8)
    _, state = model.carry(input_of(model, dtype))

    def noise(a: Array) -> Array:
        return rng.normal(size=a.shape).astype(dtype)

    return [tuple(map(noise, s)) if isinstance(s, tuple) else noise(s) for s in state]


# --- pieces and the whole -------------------------------------------------------------------------


@pytest.mark.parametrize("padding", WHERE)
@pytest.mark.parametrize("name", EVERY_STEP)
@EVERY_FORM
@EVERY_DTYPE
def test_pieces_are_the_whole(form: dict[str, Any], dtype: str, name: str, padding: str) -> None:
    model, where = model_of(name, form, dtype), where_of(padding)
    x = input_of(model, dtype)
    plain = model(x, **where)
    for first in (None, random_state(model, dtype)):
        whole, final = model.carry(x, first, **where)
        if first is None:
            assert_same_bits(whole, plain)
        for cuts in CUTS:
            state, parts = first, []
            for part, there in pieces(x, where, cuts):
                y, state = model.carry(part, state, **there)
                parts.append(y)
            assert_same_bits(np.concatenate(parts, axis=1), whole, f"cut at {cuts}")
            assert state is not None
            assert_states(state, final)


@EVERY_FORM
def test_levels(form: dict[str, Any], isa: str) -> None:
    model = model_of("several", form, "float32")
    x = input_of(model, "float32")
    whole, final = model.carry(x)
    first, state = model.carry(x[:, :7])
    rest, state = model.carry(x[:, 7:], state)
    assert_same_bits(np.concatenate([first, rest], axis=1), whole)
    assert_states(state, final)


@pytest.mark.parametrize("padding", WHERE)
@pytest.mark.parametrize("name", POOLED)
@EVERY_FORM
@EVERY_DTYPE
def test_a_pool_is_of_the_piece(form: dict[str, Any], dtype: str, name: str, padding: str) -> None:
    """Layer by layer the same bits; so a sequence without a step in the piece pools to 0."""
    model, where = model_of(name, form, dtype), where_of(padding)
    x = input_of(model, dtype)
    assert_same_bits(model.carry(x, **where)[0], model(x, **where))
    state = random_state(model, dtype)
    by_layer = list(state)
    for part, there in pieces(x, where, [0, 6, 11, 17]):
        y, state = model.carry(part, state, **there)
        value, at = part, 0
        for layer in model.layers:
            if isinstance(layer, (gru.GRU, gru.LSTM, gru.RNN)):
                value, by_layer[at] = layer(value, by_layer[at], **there)
                at += 1
            else:
                value = layer(value, **there) if value.ndim == 3 else layer(value)
        assert_same_bits(y, value)
        assert_states(state, by_layer)


@pytest.mark.parametrize("name", [*EVERY_STEP, "last"])
@EVERY_FORM
def test_a_stream_and_a_call_hand_over_to_each_other(form: dict[str, Any], name: str) -> None:
    model = model_of(name, form, "float32")
    x = input_of(model, "float32")
    whole, final = model.carry(x)
    _, state = model.carry(x[:, :6])
    stream = model.stream(BATCH)
    stream.state = state
    assert_states(stream.state, state)
    for t in range(6, 11):
        stream.step(x[:, t])
    y, state = model.carry(x[:, 11:], stream.state)
    assert_same_bits(y, whole if name == "last" else whole[:, 11:].copy())
    assert_states(state, final)


def test_states_are_the_callers_own() -> None:
    """What goes in is not written to, and what comes out stays as it is."""
    model = model_of("several", {"cell": "lstm"}, "float32")
    x, given = input_of(model, "float32"), random_state(model, "float32")
    before = [np.array(array) for entry in given for array in as_tuple(entry)]
    _, first = model.carry(x, given)
    kept = [np.array(array) for entry in first for array in as_tuple(entry)]
    model.carry(x, first)
    after = [array for entry in given + first for array in as_tuple(entry)]
    for array, wanted in zip(after, before + kept, strict=True):
        assert_same_bits(array, wanted)
    assert_same_bits(model.carry(x, tuple(given))[0], model.carry(x, given)[0])


def test_a_model_without_a_state_carries_an_empty_list() -> None:
    model = gru.Sequential([gru.Linear(3, 2, seed=0)])
    x = np.ones((1, 2, 3), np.float32)
    y, state = model.carry(x, [])
    assert state == []
    assert_same_bits(y, model(x))


# --- training -------------------------------------------------------------------------------------


def by_layer(
    model: gru.Sequential,
    x: Array,
    state: list[Any] | None,
    where: Any,
    seed: int,
    dy: Array | None,
) -> tuple[Array, list[Any], dict[str, Array]]:
    """Forward and backward of the engine's layers, one after the other."""
    value, finals, tapes = x, [], []
    for i, layer in enumerate(model.layers):
        core = layer.core(model.dtype)
        stateful, timed = "num_layers" in layer.spec, value.ndim == 3 or i == 0
        first = None if state is None or not stateful else state[len(finals)]
        there = where if timed else {}
        inner = seed_in_model(seed, i)
        value, final, tape = core.forward_train(value, first, **there, seed=inner)
        if stateful:
            finals.append(final)
        tapes.append(tape)
    y, gradient = value, dy
    found = {}
    for i in reversed(range(len(tapes))):
        core = model.layers[i].core(model.dtype)
        dx, _, block = core.backward(tapes[i], y if gradient is None else gradient)
        gradient = dx
        found.update({f"{i}.{name}": view for name, view in core.views(block).items()})
    return y, finals, found


@pytest.mark.parametrize("padding", WHERE)
@pytest.mark.parametrize("name", [*EVERY_STEP, *POOLED])
@EVERY_FORM
@EVERY_DTYPE
def test_gradients_are_those_layer_by_layer(
    form: dict[str, Any], dtype: str, name: str, padding: str
) -> None:
    """With the masks of every layer's own seed; a recurrent layer before Last too."""
    model, where = model_of(name, form, dtype), where_of(padding)
    x, seed = input_of(model, dtype), 2**63 + 11
    for first in (None, random_state(model, dtype)):
        y, state, tape = model.forward_carry(x, first, **where, seed=seed)
        found = model.backward(tape, y)
        y_wanted, state_wanted, wanted = by_layer(model, x, first, where, seed, None)
        assert_same_bits(y, y_wanted)
        assert_states(state, state_wanted)
        assert found.keys() == wanted.keys() == model.parameters.keys()
        for key, value in found.items():
            assert_same_bits(value, wanted[key], key)
        if first is None:
            y_plain, tape = model.forward(x, **where, seed=seed)
            assert_same_bits(y_plain, y)
            for key, value in model.backward(tape, y).items():
                assert_same_bits(value, wanted[key], key)


@pytest.mark.parametrize("name", ["alone", "tokens", "several"])
@EVERY_FORM
def test_truncated_gradients_stop_at_the_cut(form: dict[str, Any], name: str) -> None:
    """The gradient of a piece is that of a batch which starts there with this state."""
    model = model_of(name, form, "float64")
    x = input_of(model, "float64")
    _, state = model.carry(x[:, :9])
    y, _, tape = model.forward_carry(x[:, 9:], state, seed=3)
    found = model.backward(tape, np.ones_like(y))
    y_again, _, wanted = by_layer(model, x[:, 9:], state, {}, 3, np.ones_like(y))
    assert_same_bits(y, y_again)
    for key, value in found.items():
        assert_same_bits(value, wanted[key], key)


@pytest.mark.parametrize("name", ["several", "last"])
@EVERY_FORM
def test_within_a_memory_limit(form: dict[str, Any], name: str) -> None:
    model = model_of(name, form, "float32")
    x = np.random.default_rng(0).normal(size=(2, 9000, 3)).astype(np.float32)
    state = [
        tuple(a[:2] for a in s) if isinstance(s, tuple) else s[:2]
        for s in random_state(model, "float32")
    ]
    y, final, whole = model.forward_carry(x, state, seed=5)
    least = model.core().least_memory(2, 9000)  # how much the whole takes depends on the lanes
    y_less, final_less, less = model.forward_carry(x, state, seed=5, memory_limit=least)
    assert less.nbytes < whole.nbytes
    assert_same_bits(y_less, y)
    assert_states(final_less, final)
    wanted = model.backward(whole, y)
    for key, value in model.backward(less, y).items():
        assert_same_bits(value, wanted[key], key)


def test_each_call_draws_its_own_masks() -> None:
    models = [gru.Sequential([gru.GRU(3, 8, zoneout=0.5, seed=0)], seed=4) for _ in range(2)]
    x = np.ones((2, 9, 3), np.float32)
    (a, b), (c, d) = ([m.forward_carry(x)[0] for _ in range(2)] for m in models)
    assert_same_bits(a, c)
    assert_same_bits(b, d)
    assert not np.array_equal(a, b)


def test_memory_that_was_given_back_is_not_read() -> None:
    """The two tests of layers one by one again, with a malloc that overwrites what it frees."""
    chosen = "pool_is_of_the_piece or gradients_are_those"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    perturbed = {**os.environ, "MALLOC_PERTURB_": "165"}  # of glibc; others ignore it
    done = subprocess.run([*command, "-k", chosen], env=perturbed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


# --- errors ---------------------------------------------------------------------------------------


def two() -> gru.Sequential:
    return gru.Sequential([gru.GRU(3, 4, 2, seed=0), gru.LSTM(4, 5, seed=1), gru.Linear(5, 2)])


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


GOOD = zeros(2, 2, 4)
PAIR = (zeros(2, 1, 5), zeros(2, 1, 5))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (GOOD, TypeError, "state must be a list, one entry a recurrent layer, got an array of"),
        ("ab", TypeError, "state must be a list, one entry a recurrent layer, got 'ab'"),
        ({0: GOOD}, TypeError, "state must be a list, one entry a recurrent layer, got dict"),
        ([GOOD], ValueError, "state must hold 2 entries, one a recurrent layer, got 1"),
        ([GOOD, PAIR, PAIR], ValueError, "state must hold 2 entries, .*got 3"),
        ([None, PAIR], TypeError, r"state\[0\] must be an array or a pair, got None"),
        ([], ValueError, "state must hold 2 entries, one a recurrent layer, got 0"),
        ([PAIR, GOOD], (TypeError, ValueError), r"state\[0\] must be one array"),
        ([GOOD, GOOD], (TypeError, ValueError), r"state\[1\] must .*pair"),
        (
            [zeros(2, 1, 4), PAIR],
            ValueError,
            r"state\[0\] must have shape .*\(2, 2, 4\), got \(2, 1, 4\)",
        ),
        (
            [zeros(3, 2, 4), PAIR],
            ValueError,
            r"state\[0\] must have shape .*\(2, 2, 4\), got \(3, 2, 4\)",
        ),
        ([GOOD, (zeros(2, 1, 5), zeros(2, 1, 4))], ValueError, r"state.*got \(2, 1, 4\)"),
        ([GOOD, (zeros(2, 1, 5),)], (TypeError, ValueError), r"state\[1\] must .*pair"),
        (
            [zeros(2, 2, 4, dtype=np.float64), PAIR],
            TypeError,
            r"state\[0\] must have dtype float32, got float64",
        ),
    ],
)
def test_a_state_that_does_not_fit(state: Any, error: Any, message: str) -> None:
    model, x = two(), zeros(2, 3, 3)
    for call in (model.carry, model.forward_carry):
        with pytest.raises(error, match=message):
            call(x, state)


@pytest.mark.parametrize("first", [True, False])
def test_backward_in_time_nothing_can_be_carried(first: bool) -> None:
    layers = [gru.GRU(3, 3), gru.LSTM(3, 3, bidirectional=True)]
    i, model = (0, gru.Sequential(layers[1:])) if first else (1, gru.Sequential(layers))
    for call in (model.carry, model.forward_carry):
        with pytest.raises(ValueError, match=rf"forward in time, but layers\[{i}\] .*'both'"):
            call(zeros(1, 2, 3))


def test_other_arguments_are_checked_as_in_a_plain_call() -> None:
    model = two()
    for call in (model.carry, model.forward_carry):
        with pytest.raises(ValueError, match=r"x must have shape"):
            call(zeros(2, 3, 4))
        with pytest.raises(ValueError, match=r"lengths\[1\] must be from 0 to 3"):
            call(zeros(2, 3, 3), lengths=[1, 4])
        with pytest.raises(TypeError, match="x must have dtype float32, got float64"):
            call(zeros(2, 3, 3, dtype=np.float64))
    with pytest.raises(ValueError, match="seed must"):
        model.forward_carry(zeros(2, 3, 3), seed=-1)
