"""The contract of arrays, tapes, freezing and threads: what never changes a bit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gru
from calls import call_of, made
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    FORMS,
    Data,
    all_of,
    as_state,
    as_tuple,
    assert_all_same,
    assert_same_bits,
    name_of,
    strided,
)
from reference import Array

# --- layouts of arrays ----------------------------------------------------------------------------


def negative(a: Array) -> Array:
    flip = tuple(slice(None, None, -1) for _ in a.shape)
    return np.ascontiguousarray(a[flip])[flip]


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw[1:].view(a.dtype).reshape(a.shape)


def transposed(a: Array) -> Array:
    axes = tuple(range(a.ndim))[::-1]
    return np.ascontiguousarray(a.transpose(axes)).transpose(axes)


LAYOUTS = [np.asfortranarray, strided, negative, read_only, unaligned, transposed]


@pytest.mark.parametrize("layout", LAYOUTS)
@EVERY_DTYPE
@pytest.mark.parametrize("form", [FORMS[0], FORMS[3], FORMS[4]], ids=name_of)
def test_any_layout_gives_the_same_bits(
    form: dict[str, Any], dtype: str, layout: Callable[[Array], Array]
) -> None:
    layer, d = made(form, dtype)
    assert d.state is not None
    assert d.mask is not None
    odd = Data(
        d.params,
        layout(d.x),
        tuple(layout(s) for s in d.state),
        None,
        layout(d.mask),
        layout(d.dy),
        tuple(layout(s) for s in d.dstate),
    )
    wanted = all_of(layer, d)
    assert_all_same(all_of(layer, odd), wanted)
    y, state = layer(odd.x, **call_of(odd))
    assert_all_same([y, *as_tuple(state)], wanted[: 1 + len(d.state)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_functions_take_weights_in_any_layout(layout: Callable[[Array], Array]) -> None:
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 4), (15, 4), (15, 5), (15,), (15,))
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
    y, _ = gru.gru_forward(*arrays)
    y_odd, _ = gru.gru_forward(*(layout(a) for a in arrays))
    assert_same_bits(y_odd, y)


@pytest.mark.parametrize("integer", ["int8", "int32", "int64", "uint8", ">i4"])
def test_lengths_may_be_of_any_integer_type(integer: str) -> None:
    layer, d = made(FORMS[0], padding="lengths")
    assert d.lengths is not None
    wanted = all_of(layer, d)
    assert_all_same(all_of(layer, d, lengths=d.lengths.astype(integer)), wanted)
    assert_all_same(all_of(layer, d, lengths=d.lengths.tolist()), wanted)


@EVERY_FORM
def test_inputs_are_never_changed_and_results_are_fresh(form: dict[str, Any]) -> None:
    layer, d = made(form)
    assert d.state is not None
    assert d.mask is not None
    given = [d.x, *d.state, d.mask, d.dy, *d.dstate, *d.params.values()]
    mutable = Data(
        d.params,
        d.x.copy(),
        tuple(s.copy() for s in d.state),
        None,
        d.mask.copy(),
        d.dy.copy(),
        tuple(s.copy() for s in d.dstate),
    )
    assert mutable.state is not None
    assert mutable.mask is not None
    results = [*all_of(layer, mutable), layer(mutable.x, **call_of(mutable))[0]]
    parameters = list(layer.parameters.values())
    handed = [mutable.x, *mutable.state, mutable.mask, mutable.dy, *mutable.dstate]
    for a, w in zip(handed + parameters, given, strict=True):
        assert_same_bits(a, w, "input")
    again = all_of(layer, mutable)
    for result in results:
        assert result.flags.writeable
        assert not any(np.shares_memory(result, a) for a in handed + parameters + again)


def test_the_callers_floating_point_mode_is_restored() -> None:
    layer, d = made(FORMS[0])
    all_of(layer, d)
    layer(d.x, **call_of(d))
    tiny = np.full(3, 1e-40, np.float32)
    assert np.all(tiny * np.float32(0.5) > 0)


def test_subnormal_inputs_count_as_zero() -> None:
    layer, d = made(FORMS[0])
    tiny = np.full_like(d.x, 1e-40)
    y, _ = layer(tiny, **call_of(d))
    y_zero, _ = layer(np.zeros_like(d.x), **call_of(d))
    assert_same_bits(y, y_zero)


# --- tapes ----------------------------------------------------------------------------------------


@EVERY_FORM
@EVERY_DTYPE
def test_two_tapes_live_side_by_side(form: dict[str, Any], dtype: str) -> None:
    layer, d = made(form, dtype)
    other = np.flip(d.x, 0)
    alone = []
    for x in (d.x, other):
        _, _, tape = layer.forward(x, **call_of(d))
        alone.append(layer.backward(tape, d.dy)[0])
    tapes = [layer.forward(x, **call_of(d))[2] for x in (d.x, other)]
    for tape, dx in list(zip(tapes, alone, strict=True))[::-1] * 2:
        assert_same_bits(layer.backward(tape, d.dy)[0], dx)


@EVERY_FORM
@pytest.mark.parametrize("freeze", [False, True])
def test_parameters_may_change_between_forward_and_backward(
    form: dict[str, Any], freeze: bool
) -> None:
    layer, d = made(form)
    wanted = all_of(layer, d)
    y, state, tape = layer.forward(d.x, **call_of(d))
    for value in layer.parameters.values():
        value *= 3
    if freeze:
        layer.freeze()
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    found = [y, *as_tuple(state), dx, *as_tuple(dstate), *grads.values()]
    assert_all_same(found, wanted)


@EVERY_FORM
def test_the_tape_keeps_x_state_and_mask(form: dict[str, Any]) -> None:
    layer, d = made(form)
    wanted = all_of(layer, d)
    assert d.state is not None
    assert d.mask is not None
    x, mask, state = d.x.copy(), d.mask.copy(), tuple(s.copy() for s in d.state)
    y, final, tape = layer.forward(x, as_state(state), mask=mask)
    x[...] = 7
    mask[...] = True
    for s in state:
        s[...] = 7
    y_kept = y.copy()
    y[...] = 7
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    found = [y_kept, *as_tuple(final), dx, *as_tuple(dstate), *grads.values()]
    assert_all_same(found, wanted)


def test_a_tape_outlives_its_layer_and_says_its_size() -> None:
    layer, d = made(FORMS[0])
    _, _, tape = layer.forward(d.x, **call_of(d))
    del layer
    assert tape.nbytes > d.x.nbytes


@pytest.mark.parametrize(
    ("layer", "most"),
    [(gru.GRU, 5), (gru.LSTM, 6), (gru.RNN, 2)],
    ids=["gru", "lstm", "rnn"],
)
def test_what_a_tape_saves(layer: Any, most: int) -> None:
    """At most so many numbers a step, row and unit (of whole vectors), and x."""
    x = np.ones((3, 20, 16), np.float32)
    _, _, tape = layer(16, 64, seed=0).forward(x)
    assert tape.nbytes - x.nbytes <= most * 4 * 3 * 20 * 64


# --- live and frozen parameters -------------------------------------------------------------------


def test_an_edit_is_seen_by_the_next_call() -> None:
    layer, d = made(FORMS[0])
    view = layer.parameters["weight_ih_l0"]
    y, _ = layer(d.x)
    view *= 2
    y_edited, _ = layer(d.x)
    assert not np.array_equal(y_edited, y)
    np.testing.assert_array_equal(layer.parameters["weight_ih_l0"], view)
    view /= 2
    assert_same_bits(layer(d.x)[0], y)
    layer.parameters["weight_ih_l0"] = view * 2
    assert_same_bits(layer(d.x)[0], y_edited)


def test_freezing_leaves_older_views_behind() -> None:
    layer, d = made(FORMS[0])
    older = layer.parameters["weight_ih_l0"]
    kept = older.copy()
    y, _ = layer(d.x)
    layer.freeze()
    older[...] = 0
    assert_same_bits(layer(d.x)[0], y)
    assert_same_bits(layer.forward(d.x)[0], y)
    assert_same_bits(layer.parameters["weight_ih_l0"], kept)
    layer.unfreeze()
    older[...] = 1
    assert_same_bits(layer(d.x)[0], y)


def test_editing_a_frozen_layer_raises() -> None:
    layer, d = made(FORMS[0])
    layer.freeze()
    layer.freeze()
    for name, value in layer.parameters.items():
        assert not value.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            value.flags.writeable = True
        with pytest.raises(ValueError, match=name):
            layer.parameters[name] = np.zeros_like(value)
    y, _ = layer(d.x)
    layer.unfreeze()
    layer.parameters["weight_ih_l0"][...] *= 2
    assert not np.array_equal(layer(d.x)[0], y)


@EVERY_FORM
def test_a_view_outlives_its_layer(form: dict[str, Any]) -> None:
    layer, d = made(form)
    view = layer.parameters["weight_ih_l0"]
    layer.freeze()
    frozen = layer.parameters["weight_ih_l0"]
    del layer
    assert_same_bits(view, d.params["weight_ih_l0"])
    assert_same_bits(frozen, d.params["weight_ih_l0"])


# --- other threads --------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["inference", "training"])
def test_python_runs_while_the_engine_does(work: str) -> None:
    """A thread that only ticks goes on ticking inside one long call."""
    layer = gru.GRU(256, 256, seed=0)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    x = np.zeros((8, 100, 256), np.float32)
    ticker = threading.Thread(target=tick)
    ticker.start()
    counted, seconds = 0, 0.0
    while seconds < 0.3:  # the longest call so far
        x = np.concatenate([x, x], axis=1)
        if work == "inference":
            before, start = ticks, time.perf_counter()
            layer(x)
            counted, seconds = ticks - before, time.perf_counter() - start
        else:
            _, _, tape = layer.forward(x)
            dy = np.zeros_like(x)
            before, start = ticks, time.perf_counter()
            layer.backward(tape, dy)
            counted, seconds = ticks - before, time.perf_counter() - start
    done.set()
    ticker.join()
    assert counted >= 10  # a held GIL lets through one or two, at the edges of the call


@EVERY_FORM
def test_one_layer_serves_many_threads(form: dict[str, Any]) -> None:
    layer, d = made(form)
    layer.freeze()
    wanted = all_of(layer, d)
    found: list[list[Array]] = []

    def work() -> None:
        for _ in range(20):
            found.append(all_of(layer, d))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 80
    for results in found:
        assert_all_same(results, wanted)
