"""Backward within a memory limit: the bits of the whole tape, and the limit's meaning."""

from __future__ import annotations

import gc
import re
from typing import Any

import numpy as np
import pytest

import gru
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    Case,
    Data,
    as_state,
    as_tuple,
    assert_same_bits,
    data,
    strided,
)
from masks import Rates, core_layer
from reference import Array, Spec

ALL: Rates = {"dropout": 0.3, "input_dropout": 0.25, "recurrent_dropout": 0.4, "zoneout": 0.35}
WITHIN = {  # direction, layers, padding, batch, steps, hidden, rates
    "one layer": ("forward", 1, "full", 3, 23, 7, {}),
    "one sequence": ("forward", 2, "full", 1, 40, 9, {"recurrent_dropout": 0.4}),
    "backward": ("reverse", 2, "mask", 4, 19, 5, {"zoneout": 0.3}),
    "lengths": ("both", 2, "lengths", 5, 21, 6, {}),
    "holes": ("both", 1, "mask", 5, 21, 17, {"zoneout": 0.3}),
    "everything": ("both", 2, "mask", 6, 25, 6, ALL),
    "chunks": ("both", 2, "mask", 9, 150, 5, ALL),  # more rows than backward takes at once
}
NEED = r"memory_limit must be at least (\d+) bytes for this call, got (\d+)"


def least_limit(forward: Any) -> int:
    """What the error of a call with a limit of one byte names."""
    with pytest.raises(ValueError, match=NEED) as caught:
        forward(1)
    found = re.search(NEED, str(caught.value))
    assert found
    assert found[2] == "1"
    return int(found[1])


def made(form: dict[str, Any], dtype: str, name: str) -> tuple[Any, Data]:
    direction, layers, padding, batch, steps, hidden, rates = WITHIN[name]
    spec = Spec(**form, input_size=4, hidden_size=hidden, num_layers=layers, direction=direction)
    d = data(Case(spec, batch, steps, padding, True, seed=9), dtype)
    return core_layer(spec, d.params, rates), d


def results(core: Any, d: Data, limit: int, x: Array | None = None) -> tuple[dict[str, Array], Any]:
    """Everything of one forward and one backward, with the gradient's way; and the tape."""
    where = {"lengths": d.lengths, "mask": d.mask, "seed": 5, "memory_limit": limit}
    y, state, tape = core.forward_train(d.x if x is None else x, as_state(d.state), **where)
    dx, dstate, block, flow = core.backward(tape, d.dy, as_state(d.dstate), True)
    named = {"y": y, "dx": dx, "gradients": block, **flow}
    named |= {f"final{i}": s for i, s in enumerate(as_tuple(state))}
    named |= {f"dstate{i}": s for i, s in enumerate(as_tuple(dstate))}
    plain = core.backward(tape, d.dy, as_state(d.dstate))
    for again, before in zip(plain, (dx, dstate, block), strict=True):
        assert_same_bits(again, before, "backward again, not traced")
    return named, tape


def assert_all_bits(found: dict[str, Array], wanted: dict[str, Array], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert_same_bits(value, wanted[name], f"{name} {what}")


@pytest.mark.parametrize("name", WITHIN)
@EVERY_FORM
@EVERY_DTYPE
def test_the_bits_are_those_of_the_whole_tape(
    form: dict[str, Any], dtype: str, name: str, isa: str
) -> None:
    core, d = made(form, dtype, name)
    wanted, whole = results(core, d, 0)
    limit = least_limit(lambda n: core.forward_train(d.x, **d.where, memory_limit=n))
    found, tape = results(core, d, limit)
    assert tape.nbytes < whole.nbytes
    assert tape.nbytes <= limit
    assert_all_bits(found, wanted, "within the least limit")
    roomy, tape = results(core, d, 2**40)
    assert tape.nbytes == whole.nbytes
    assert_all_bits(roomy, wanted, "with room")


@pytest.mark.parametrize("name", WITHIN)
@EVERY_FORM
def test_one_byte_less_than_the_least_limit_is_refused(form: dict[str, Any], name: str) -> None:
    core, d = made(form, "float32", name)

    def forward(n: int) -> Any:
        return core.forward_train(d.x, **d.where, memory_limit=n)

    limit = least_limit(forward)
    forward(limit)
    with pytest.raises(ValueError, match=f"at least {limit} bytes .*got {limit - 1}$"):
        forward(limit - 1)


@pytest.mark.parametrize("size", [(17, 40, 40, "both"), (1, 30, 256, "forward")], ids=str)
@EVERY_FORM
@EVERY_DTYPE
def test_threads_do_not_show(
    form: dict[str, Any], dtype: str, size: tuple[int, int, int, str], threads: None
) -> None:
    """Where slices of the batch are spread, and where units of one sequence are."""
    batch, steps, hidden, direction = size
    spec = Spec(**form, input_size=9, hidden_size=hidden, num_layers=2, direction=direction)
    d = data(Case(spec, batch, steps, "mask", True, seed=3), dtype)
    core = core_layer(spec, d.params, ALL)
    assert core.plan(batch, steps, None, d.mask, True, 2)["threads"] == 2
    limit = least_limit(lambda n: core.forward_train(d.x, **d.where, memory_limit=n))
    gru.set_num_threads(1)
    wanted, _ = results(core, d, 0)
    for count in (1, 2, 3):
        gru.set_num_threads(count)
        assert_all_bits(results(core, d, limit)[0], wanted, f"on {count} threads")


@EVERY_FORM
def test_levels_may_change_between_forward_and_backward(
    form: dict[str, Any], restore_isa: None
) -> None:
    """A tape runs again at the level that it was made at."""
    core, d = made(form, "float32", "everything")
    limit = least_limit(lambda n: core.forward_train(d.x, **d.where, memory_limit=n))
    for level in gru.isa_levels():
        gru.set_isa(level)
        wanted, _ = results(core, d, 0)
        where = {**d.where, "seed": 5, "memory_limit": limit}
        _, _, tape = core.forward_train(d.x, as_state(d.state), **where)
        for other in gru.isa_levels():
            gru.set_isa(other)
            dx, _, block = core.backward(tape, d.dy, as_state(d.dstate))
            assert_same_bits(dx, wanted["dx"], f"{level} then {other}")
            assert_same_bits(block, wanted["gradients"], f"{level} then {other}")


# --- what the tape points to ----------------------------------------------------------------------


@pytest.mark.parametrize("rates", [{}, ALL], ids=["plain", "regularised"])
@EVERY_FORM
def test_x_may_be_gone_or_strided(form: dict[str, Any], rates: Rates) -> None:
    """The tape keeps the caller's array alive; of one with gaps, a copy."""
    spec = Spec(**form, input_size=64, hidden_size=8, num_layers=2)
    d = data(Case(spec, 4, 300, "full", True, seed=2), "float32")
    core = core_layer(spec, d.params, rates)
    limit = least_limit(lambda n: core.forward_train(d.x, memory_limit=n))
    wanted, _ = results(core, d, 0)
    for made_again in (np.array, strided):
        x = made_again(d.x)
        _, _, tape = core.forward_train(x, as_state(d.state), seed=5, memory_limit=limit)
        del x
        gc.collect()
        rubbish = [np.full(d.x.shape, np.nan, np.float32) for _ in range(4)]
        dx, _, block = core.backward(tape, d.dy, as_state(d.dstate))
        assert_same_bits(dx, wanted["dx"])
        assert_same_bits(block, wanted["gradients"])
        del rubbish
    _, _, plain = core.forward_train(d.x, seed=5, memory_limit=limit)
    copied = d.x.nbytes <= plain.nbytes
    assert copied == bool(rates), "only input dropout needs a copy of x"


@EVERY_FORM
def test_parameters_may_change_before_backward(form: dict[str, Any]) -> None:
    """What runs again uses the weights of forward."""
    core, d = made(form, "float64", "lengths")
    limit = least_limit(lambda n: core.forward_train(d.x, **d.where, memory_limit=n))
    wanted, _ = results(core, d, 0)
    where = {**d.where, "seed": 5, "memory_limit": limit}
    _, _, tape = core.forward_train(d.x, as_state(d.state), **where)
    core.flat()[...] = 7.0
    core.freeze()
    dx, _, block = core.backward(tape, d.dy, as_state(d.dstate))
    assert_same_bits(dx, wanted["dx"])
    assert_same_bits(block, wanted["gradients"])


@EVERY_FORM
def test_little_or_nothing_to_run(form: dict[str, Any]) -> None:
    """No valid step needs no memory; a step that cannot be cut has a least limit that works."""
    core, d = made(form, "float32", "lengths")
    for x, lengths in ((d.x, np.zeros(5, int)), (d.x[:0], None), (d.x[:, :0], None)):
        y, _, tape = core.forward_train(x, lengths=lengths, memory_limit=1)
        dx, _, block = core.backward(tape, np.ones_like(y))
        assert dx.shape == x.shape
        assert not block.any()
    for steps in (1, 2, 3):
        x = d.x[:, :steps]

        def forward(n: int, x: Array = x) -> Any:
            return core.forward_train(x, memory_limit=n)

        limit = least_limit(forward)
        y, _, whole = forward(0)
        _, _, tape = forward(limit)
        for a, b in zip(core.backward(tape, y), core.backward(whole, y), strict=True):
            assert_same_bits(a, b, f"{steps} steps")
        with pytest.raises(ValueError, match=f"got {limit - 1}$"):
            forward(limit - 1)


def test_the_whole_tape_of_one_step_is_the_least() -> None:
    layer, x = gru.LSTM(4, 6), np.ones((5, 1, 4), np.float32)
    limit = least_limit(lambda n: layer.forward(x, memory_limit=n))
    with pytest.raises(ValueError, match=f"got {limit - 1}$"):
        layer.forward(x, memory_limit=limit - 1)


# --- the public interface -------------------------------------------------------------------------


def test_the_limit_as_text() -> None:
    layer = gru.GRU(3, 64, seed=0)
    x = np.random.default_rng(0).standard_normal((2, 4000, 3)).astype(np.float32)
    _, _, whole = layer.forward(x)
    assert whole.nbytes > 10_000_000
    texts = (8_000_000, "8000000", "8MB", "8 MB", "8000KB", "0.008GB", "7.6 MiB", np.int64(8e6))
    sizes = {layer.forward(x, memory_limit=text)[2].nbytes for text in texts}
    assert len(sizes) == 1
    assert sizes.pop() < 2_000_000
    assert layer.forward(x, memory_limit="1 GiB")[2].nbytes == whole.nbytes
    assert layer.forward(x, memory_limit=None)[2].nbytes == whole.nbytes


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        ("0", ValueError),
        ("", ValueError),
        ("lots", ValueError),
        ("64 megabytes", ValueError),
        ("-1MB", ValueError),
        ("1e6", ValueError),
        (1e6, TypeError),
        (True, TypeError),
        (b"64MB", TypeError),
    ],
)
def test_what_is_no_limit(value: Any, error: Any) -> None:
    layer, x = gru.GRU(3, 4), np.ones((1, 2, 3), np.float32)
    model = gru.Sequential([layer, gru.Last()])
    for forward in (layer.forward, model.forward, model.forward_carry):
        with pytest.raises(error, match=r"^memory_limit must be .*got"):
            forward(x, memory_limit=value)


def test_a_failed_call_leaves_no_mark() -> None:
    layer, x = gru.GRU(3, 4, seed=0), np.ones((1, 50, 3), np.float32)
    y = layer(x)[0]
    with pytest.raises(ValueError, match=NEED):
        layer.forward(x, memory_limit=10)
    assert_same_bits(layer.forward(x)[0], y)


def models(dtype: str) -> dict[str, gru.Sequential]:
    of: dict[str, Any] = {"dtype": dtype}
    return {
        "two and last": gru.Sequential(
            [
                gru.GRU(3, 20, 2, seed=1, **ALL, **of),
                gru.LSTM(20, 11, zoneout=0.2, seed=2, **of),
                gru.Last(),
                gru.Linear(11, 2, seed=3, **of),
            ]
        ),
        "every step": gru.Sequential(
            [
                gru.Linear(3, 6, seed=1, **of),
                gru.RNN(6, 16, bidirectional=True, seed=2, **of),
                gru.Dropout(0.3),
                gru.GRU(32, 7, 2, reset_after=False, seed=3, **of),
                gru.Linear(7, 3, seed=4, **of),
            ]
        ),
        "both ends": gru.Sequential(
            [
                gru.Embedding(9, 4, seed=1, **of),
                gru.LSTM(4, 9, 2, bidirectional=True, seed=2, **of),
                gru.Last(bidirectional=True),
            ]
        ),
    }


@pytest.mark.parametrize("name", models("float32"))
@EVERY_DTYPE
def test_models(dtype: str, name: str, isa: str) -> None:
    """The limit is for all recurrent layers together."""
    model, rng = models(dtype)[name], np.random.default_rng(0)
    x = rng.normal(size=(4, 2500, 3)).astype(dtype)
    if model.input_dtype.kind == "i":
        x = rng.integers(0, 9, (4, 2500))
    lengths = np.array([2500, 0, 1711, 5])

    def forward(n: int | None) -> Any:
        return model.forward(x, lengths=lengths, seed=7, memory_limit=n)

    limit = least_limit(forward)
    y, whole = forward(None)
    found, tape = forward(limit)
    assert_same_bits(found, y)
    assert tape.nbytes < whole.nbytes
    dy = rng.normal(size=y.shape).astype(dtype)
    wanted = model.backward(whole, dy)
    for _ in range(2):
        for key, value in model.backward(tape, dy).items():
            assert_same_bits(value, wanted[key], key)


def test_the_least_limit_of_a_model_works() -> None:
    model, x = models("float32")["two and last"], np.ones((4, 2500, 3), np.float32)
    model.forward(x, memory_limit=least_limit(lambda n: model.forward(x, memory_limit=n)))
