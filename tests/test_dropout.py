"""Dropout as a layer and between layers: which numbers it drops, its scale, and its gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    FORMS,
    Case,
    as_state,
    assert_same_bits,
    data,
    widened,
)
from gru import _core
from masks import core_layer, factors, philox, training_extras
from passes import (
    EVERY_OTHER_BATCH,
    Change,
    assert_all_bits,
    assert_other_batch_does_not_show,
    engine,
)
from reference import Array, Spec

EVERY_FORM = pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(map(str, f.values())))
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
SEEDS = [0, 1, 2**32 + 5, 2**64 - 1]


# --- the masks, from their definition -------------------------------------------------------------


def test_philox_gives_the_published_answer() -> None:
    (words,) = philox(0, np.zeros((1, 4)))
    assert [hex(int(w)) for w in words] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


# --- the layer ------------------------------------------------------------------------------------


def core_of(rate: float, dtype: str = "float64") -> Any:
    kind = _core.Layer64 if dtype == "float64" else _core.Layer32
    return kind({"kind": "dropout", "dropout": rate})


def dropped(rate: float, shape: tuple[int, ...], seed: int, **where: Any) -> Array:
    return core_of(rate).forward_train(np.ones(shape), seed=seed, **where)[0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75, 1e-9])
@EVERY_DTYPE
def test_the_layer_multiplies_by_its_masks(dtype: str, rate: float, seed: int) -> None:
    shape, core = (5, 7, 13), core_of(rate, dtype)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, *shape)).astype(dtype)
    wanted = factors(rate, seed, 0, shape).astype(dtype)
    y, _, tape = core.forward_train(x, seed=seed)
    assert_same_bits(y, np.where(wanted, x * wanted, np.zeros((), dtype)))
    for _ in range(2):
        dx, _, gradient = core.backward(tape, dy)
        assert_same_bits(dx, np.where(wanted, dy * wanted, np.zeros((), dtype)))
        assert gradient.size == 0
    y, _, tape = core.forward_train(x[:, 0], seed=seed)
    flat = factors(rate, seed, 0, (5, 1, 13))[:, 0].astype(dtype)
    assert_same_bits(y, np.where(flat, x[:, 0] * flat, np.zeros((), dtype)))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_kept(rate: float) -> None:
    """Within five standard deviations, over all numbers and over each sequence, step and unit."""
    y = dropped(rate, (60, 50, 40), seed=11)
    kept = y != 0
    assert set(np.unique(y)) == {0.0, 1 / (1 - rate)}
    for axes in ((0, 1, 2), (1, 2), (0, 2), (0, 1)):
        share = kept.mean(axis=axes)
        samples = kept.size / share.size
        assert np.all(np.abs(share - (1 - rate)) <= 5 * (rate * (1 - rate) / samples) ** 0.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_independent(axis: int) -> None:
    kept = np.moveaxis(dropped(0.5, (60, 60, 60), seed=3) != 0, axis, 0)
    for shift in (1, 2, 4, 32):
        together = (kept[shift:] & kept[:-shift]).mean()
        assert abs(together - 0.25) <= 5 * (0.25 * 0.75 / kept[shift:].size) ** 0.5


@pytest.mark.parametrize("other", [1, 2**31, 2**32, 2**63])
def test_every_bit_of_the_seed_counts(other: int) -> None:
    a, b = (dropped(0.5, (10, 20, 30), seed) != 0 for seed in (5, 5 ^ other))
    assert 0.45 < (a == b).mean() < 0.55


def test_a_mask_depends_on_its_place_alone() -> None:
    """Neither the batch around it, nor the padding behind it, nor the width beside it shows."""
    whole = dropped(0.5, (6, 9, 10), seed=4)
    for batch, steps, width in ((1, 9, 10), (6, 3, 10), (6, 9, 3), (4, 5, 7), (6, 1, 1)):
        part = dropped(0.5, (batch, steps, width), seed=4)
        assert_same_bits(part, whole[:batch, :steps, :width].copy())
    lengths = np.array([9, 0, 3, 9, 1, 5])
    valid = reference.valid_steps(6, 9, lengths)
    holes = np.random.default_rng(0).random((6, 9)) < 0.5
    for there, where in ((valid, {"lengths": lengths}), (holes, {"mask": holes})):
        found = dropped(0.5, (6, 9, 10), seed=4, **where)
        assert_same_bits(found[there], whole[there])


@pytest.mark.parametrize("training", [False, True])
def test_steps_that_do_not_count_give_zero(training: bool) -> None:
    """As every layer says of its output, whatever stands in x there; so do their gradients."""
    x, lengths = np.full((2, 3, 4), 7.0), [3, 1]
    x[1, 2] = np.nan
    layer = gru.Dropout(0.5, seed=0)
    y = layer.forward(x, lengths=lengths)[0] if training else layer(x, lengths=lengths)
    assert np.isin(y[0], [0, 7, 14]).all()
    assert np.all(y[1, 1:] == 0)


def test_steps_that_do_not_count_have_no_gradient() -> None:
    layer = gru.Dropout(0.5, seed=0)
    _, tape = layer.forward(np.ones((2, 3, 4)), lengths=[3, 1])
    dy = np.ones((2, 3, 4))
    dy[1, 2] = np.nan
    dx, _ = layer.backward(tape, dy)
    assert np.all(dx[1, 1:] == 0)


@EVERY_DTYPE
def test_rate_zero_and_one(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 5, 9)).astype(dtype)
    for rate, factor in ((0.0, 1), (1.0, 0)):
        core = core_of(rate, dtype)
        y, _, tape = core.forward_train(x, seed=1)
        assert_same_bits(y, np.where(factor, x, np.zeros_like(x)))
        dx, _, _ = core.backward(tape, dy)
        assert_same_bits(dx, np.where(factor, dy, np.zeros_like(dy)))
        assert_same_bits(core.forward(x)[0], x)
    infinite = np.full((1, 2, 3), np.inf, dtype)
    assert not core_of(1.0, dtype).forward_train(infinite, seed=1)[0].any()


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (0, 2)])
def test_nothing_to_drop(shape: tuple[int, ...]) -> None:
    core = core_of(0.5)
    y, _, tape = core.forward_train(np.ones(shape), seed=1)
    assert y.shape == shape
    assert core.backward(tape, y)[0].shape == shape


# --- between layers -------------------------------------------------------------------------------

RATE = 0.4


def case_of(form: dict[str, Any], direction: str, padding: str = "mask") -> Case:
    spec = Spec(**form, input_size=3, hidden_size=5, num_layers=3, direction=direction)
    return Case(spec, 4, 6, padding, True, seed=21)


def stacked(spec: Spec, params: dict[str, Array], rate: float) -> Any:
    return core_layer(spec, params, {"dropout": rate})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("direction", ["forward", "both", "reverse"])
@EVERY_FORM
def test_a_stack_is_the_reference_with_masks(
    form: dict[str, Any], direction: str, seed: int, isa: str
) -> None:
    """Outputs, and slopes of every parameter, x and state along a random direction."""
    case = case_of(form, direction)
    spec, d = case.spec, data(case, "float64")
    assert d.state is not None
    valid = reference.valid_steps(case.batch, case.steps, d.lengths, d.mask)
    extras = training_extras(spec, {"dropout": RATE}, seed, case.batch, case.steps)
    found = engine(stacked(spec, d.params, RATE), d, seed)
    y, final = reference.run(spec, d.params, d.x, d.state, valid, extras)
    np.testing.assert_allclose(found["y"], y, rtol=0, atol=1e-12)
    for i, s in enumerate(final):
        np.testing.assert_allclose(found[f"final{i}"], s, rtol=0, atol=1e-12)

    states = {f"state{i}": s for i, s in enumerate(d.state)}
    inputs = {**d.params, "x": d.x, **states}
    rng = np.random.default_rng(case.seed)
    for name, value in inputs.items():
        along = rng.normal(size=value.shape)
        moved = {**inputs, name: value + 1j * reference.STEP * along}
        state = tuple(moved[key] for key in states)
        y, final = reference.run(spec, moved, moved["x"], state, valid, extras)
        loss = (y * d.dy).sum() + sum((s * ds).sum() for s, ds in zip(final, d.dstate, strict=True))
        slope = np.imag(loss) / reference.STEP
        terms = found[name] * along
        scale = max(1.0, float(np.abs(terms).sum()))
        assert abs(terms.sum() - slope) <= 1e-10 * scale, name


@EVERY_FORM
def test_float32_drops_the_same_numbers(form: dict[str, Any], isa: str) -> None:
    case = case_of(form, "both")
    d = data(case, "float32")
    found = engine(stacked(case.spec, d.params, RATE), d, seed=9)
    wide = widened(d)
    wanted = engine(stacked(case.spec, wide.params, RATE), wide, seed=9)
    for name, value in found.items():
        scale = max(1.0, float(np.abs(wanted[name]).max()))
        assert np.abs(value - wanted[name]).max() <= 1e-5 * scale, name


@EVERY_FORM
@EVERY_DTYPE
def test_threads_do_not_show(form: dict[str, Any], dtype: str, threads: None) -> None:
    """With more than 400,000 multiply-adds a thread, so that there are some."""
    spec = Spec(**form, input_size=9, hidden_size=40, num_layers=3, direction="both")
    d = data(Case(spec, 17, 20, "mask", True, seed=3), dtype)
    core = stacked(spec, d.params, RATE)
    gru.set_num_threads(1)
    wanted = engine(core, d, seed=8)
    for count in (2, 3):
        gru.set_num_threads(count)
        assert_all_bits(engine(core, d, seed=8), wanted, f"on {count} threads")


@EVERY_OTHER_BATCH
@EVERY_FORM
def test_the_rest_of_the_batch_does_not_show(form: dict[str, Any], change: Change) -> None:
    case = case_of(form, "both", "full")
    core = stacked(case.spec, data(case, "float64").params, RATE)
    assert_other_batch_does_not_show(core, change)


@EVERY_FORM
@EVERY_DTYPE
def test_inference_ignores_dropout(form: dict[str, Any], dtype: str) -> None:
    case = case_of(form, "both")
    d = data(case, dtype)
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    plain, dropping = (stacked(case.spec, d.params, rate) for rate in (0.0, 0.9))
    wanted = plain.forward(*call)
    for actual in (dropping.forward(*call), plain.forward_train(*call, seed=5)[:2]):
        assert_same_bits(actual[0], wanted[0], "y")
        assert_same_bits(actual[1], wanted[1], "state")
    assert not np.array_equal(dropping.forward_train(*call, seed=5)[0], wanted[0])


@EVERY_FORM
def test_rates_zero_and_one_between_layers(form: dict[str, Any]) -> None:
    case = case_of(form, "both")
    spec, d = case.spec, data(case, "float64")
    plain = engine(stacked(spec, d.params, 0.0), d, seed=1)
    assert_all_bits(engine(stacked(spec, d.params, 0.0), d, seed=2), plain)
    above = replace(d, dstate=tuple(np.zeros_like(ds) for ds in d.dstate))
    found = engine(stacked(spec, d.params, 1.0), above, seed=1)
    assert all(np.isfinite(value).all() for value in found.values())
    for layer in (1, 2):  # they read zeros, and nothing of dy gets through
        assert not found[f"weight_ih_l{layer}"].any()
        assert not found[f"weight_ih_l{layer}_reverse"].any()
    assert not found["x"].any()


@EVERY_FORM
def test_one_layer_alone_drops_nothing(form: dict[str, Any]) -> None:
    case = case_of(form, "both")
    spec = replace(case.spec, num_layers=1)
    d = data(replace(case, spec=spec), "float64")
    wanted = engine(stacked(spec, d.params, 0.0), d, seed=1)
    assert_all_bits(engine(stacked(spec, d.params, 0.9), d, seed=1), wanted)


def test_a_stream_ignores_dropout() -> None:
    layer = gru.GRU(3, 5, 3, dropout=0.9, seed=0)
    model = gru.Sequential([layer, gru.Dropout(0.9), gru.Linear(5, 2, seed=0)])
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    for made, y in ((layer, layer(x)[0]), (model, model(x))):
        stream = made.stream(2)
        for t in range(6):
            assert_same_bits(stream.step(x[:, t]), y[:, t].copy())


def test_layers_of_a_model_draw_masks_of_their_own() -> None:
    """Two dropouts in a row keep the product of their shares, and each seed gives other masks."""
    model = gru.Sequential([gru.Dropout(0.5), gru.Dropout(0.5)])
    x = np.ones((20, 20, 20), np.float32)
    first, _ = model.forward(x, seed=1)
    second, _ = model.forward(x, seed=2)
    for y in (first, second):
        assert abs((y != 0).mean() - 0.25) < 0.03
    assert abs(((first != 0) & (second != 0)).mean() - 0.0625) < 0.015
