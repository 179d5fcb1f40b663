"""Input dropout, recurrent dropout and zoneout: the numbers drawn, equations and gradients."""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    Case,
    as_state,
    as_tuple,
    assert_same_bits,
    data,
    options,
    problem,
    widened,
)
from derivatives import assert_slopes
from masks import (
    ALL,
    INPUT,
    RECURRENT,
    ZONE_H,
    Rates,
    core_layer,
    factors,
    inference_extras,
    kept,
    stream_of,
    training_extras,
)
from passes import engine
from reference import Spec
from regularised import (
    EVERY_PAIR,
    KINDS,
    NEW,
    RATES,
    SOME_PAIRS,
    assert_forward,
    case_of,
    frozen_rates,
    pair_id,
    slopes,
    wanted,
)

# --- the equations --------------------------------------------------------------------------------


@EVERY_PAIR
def test_training_is_the_reference_with_masks(case: Case, rates: Rates, isa: str) -> None:
    d, key = data(case, "float64"), frozen_rates(rates)
    found = engine(core_layer(case.spec, d.params, rates), d, case.seed)
    p, y, final = wanted(case, "float64", key)
    assert_forward(found["y"], tuple(found[f"final{i}"] for i in range(len(final))), y, final)
    assert_slopes(found, slopes(case, key))
    assert not found["y"][~p.valid].any()
    assert not found["x"][~p.valid].any()


@SOME_PAIRS
def test_float32(case: Case, rates: Rates, isa: str) -> None:
    d = data(case, "float32")
    found = engine(core_layer(case.spec, d.params, rates), d, case.seed)
    _, y, final = wanted(case, "float32", frozen_rates(rates))
    assert_forward(found["y"], tuple(found[f"final{i}"] for i in range(len(final))), y, final)
    wide = widened(d)
    for name, value in engine(core_layer(case.spec, wide.params, rates), wide, case.seed).items():
        scale = max(1.0, float(np.abs(value).max(initial=0)))
        assert found[name].dtype == np.float32
        assert np.abs(found[name] - value).max(initial=0) <= 1e-5 * scale, name


@EVERY_DTYPE
@SOME_PAIRS
def test_inference_takes_the_mean(case: Case, rates: Rates, dtype: str, isa: str) -> None:
    """Of zoneout; nothing is dropped. Frozen or not, with the bits of zoneout alone."""
    d, p = data(case, dtype), problem(case, dtype)
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    core = core_layer(case.spec, d.params, rates)
    y, state = core.forward(*call)
    extras = inference_extras(case.spec, rates, case.batch, case.steps)
    y_ref, final_ref = reference.run(p.spec, p.params, p.x, p.state, p.valid, extras)
    assert_forward(y, as_tuple(state), y_ref, final_ref)
    alone = core_layer(case.spec, d.params, {"zoneout": rates.get("zoneout", 0.0)})
    core.freeze()
    for again in (alone.forward(*call), core.forward(*call)):
        assert_same_bits(again[0], y, "y")
        assert_same_bits(again[1], state, "state")


@pytest.mark.parametrize("width", [1, 3, 4, 5, 8, 16, 17, 31, 63, 64, 65, 100, 129, 300])
@EVERY_DTYPE
def test_masks_can_be_read_off_the_engine(dtype: str, width: int, isa: str) -> None:
    """Through weights of one and none: each mask as its definition has it, number by number."""
    spec = Spec("rnn", width, width, nonlinearity="relu", bias=False)
    one, none = np.eye(width, dtype=dtype), np.zeros((width, width), dtype)
    batch, steps, seed = 5, 6, 2**40 + 3
    reads = {"weight_ih_l0": one, "weight_hh_l0": none}
    x = np.ones((batch, steps, width), dtype)

    core = core_layer(spec, reads, {"input_dropout": 0.5})
    mask = factors(0.5, seed, stream_of(INPUT), (batch, 1, width)).astype(dtype)
    assert_same_bits(core.forward_train(x, seed=seed)[0], np.repeat(mask, steps, axis=1))

    core = core_layer(spec, {"weight_ih_l0": none, "weight_hh_l0": one}, {"recurrent_dropout": 0.5})
    mask = factors(0.5, seed, stream_of(RECURRENT), (batch, 1, width)).astype(dtype)
    y, _, _ = core.forward_train(x[:, :2], np.ones((batch, 1, width), dtype), seed=seed)
    assert_same_bits(y, np.concatenate([mask, mask * mask], axis=1))

    core = core_layer(spec, reads, {"zoneout": 0.5})
    entered = kept(0.5, seed, stream_of(ZONE_H), (batch, steps, width))
    times = np.arange(1, steps + 1, dtype=dtype)[:, None]  # x says when; h is when it last entered
    y, _, _ = core.forward_train(x * times, seed=seed)
    assert_same_bits(y, np.maximum.accumulate(entered * times, axis=1).astype(dtype))


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
@EVERY_FORM
def test_every_bit_of_the_seed_is_in_the_masks(form: dict[str, Any], seed: int) -> None:
    case = replace(case_of(form), seed=seed % 2**32)
    d = data(case, "float64")
    found = engine(core_layer(case.spec, d.params, ALL), d, seed)
    extras = training_extras(case.spec, ALL, seed, case.batch, case.steps)
    p = problem(case, "float64")
    y, _ = reference.run(p.spec, p.params, p.x, p.state, p.valid, extras)
    np.testing.assert_allclose(found["y"], y, rtol=0, atol=1e-12)


# --- rates of one ---------------------------------------------------------------------------------


@EVERY_FORM
def test_zoneout_of_one_keeps_the_first_state(form: dict[str, Any], isa: str) -> None:
    """In training and in a plain call: nothing is learnt, the gradient goes straight back."""
    case = replace(case_of(form), spec=replace(case_of(form).spec, num_layers=1))
    spec, d, valid = case.spec, data(case, "float64"), problem(case, "float64").valid
    assert d.state is not None
    core = core_layer(spec, d.params, {"zoneout": 1.0})
    found = engine(core, d, seed=4)
    held = np.where(valid[..., None], d.state[0].reshape(case.batch, 1, -1), 0)
    assert_same_bits(found["y"], held)
    plain = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
    assert_same_bits(plain[0], held)
    for i, first in enumerate(d.state):
        assert_same_bits(found[f"final{i}"], first)
        assert_same_bits(as_tuple(plain[1])[i], first)
    for name in ("x", *spec.shapes):
        assert not found[name].any(), name
    back = (d.dy * valid[..., None]).sum(axis=1).reshape(d.dstate[0].shape) + d.dstate[0]
    np.testing.assert_allclose(found["state0"], back, rtol=0, atol=1e-13)


@EVERY_FORM
def test_recurrent_dropout_of_one_hides_the_state_from_u(form: dict[str, Any]) -> None:
    """As if U were zero; its gradient is zero, whatever finite number stands in it."""
    case = case_of(form)
    d = data(case, "float64")
    without = {
        k: np.zeros_like(v) if "_hh" in k and v.ndim == 2 else v for k, v in d.params.items()
    }
    rates = {"recurrent_dropout": 1.0}
    found = engine(core_layer(case.spec, d.params, rates), d, seed=4)
    expected = engine(core_layer(case.spec, without, {}), d, seed=4)
    for name, value in found.items():
        if name.startswith("weight_hh"):
            assert not value.any(), name
        else:
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-12, err_msg=name)


@EVERY_FORM
def test_input_dropout_of_one_hides_the_input(form: dict[str, Any]) -> None:
    case = case_of(form)
    d = data(case, "float64")
    core = core_layer(case.spec, d.params, {"input_dropout": 1.0})
    found = engine(core, replace(d, x=np.full_like(d.x, 1e300)), seed=4)
    expected = engine(core, replace(d, x=np.zeros_like(d.x)), seed=4)
    for name, value in found.items():
        assert_same_bits(value, expected[name], name)
        if name == "x" or name.startswith("weight_ih"):
            assert not value.any(), name


# --- the public layer -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("kind", KINDS.values())
def test_each_call_draws_masks_that_follow_from_the_seed(kind: Any, name: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        made = [kind(3, 8, **{name: 0.5}, seed=seed) for seed in (1, 1, 2)]
    assert not said  # unlike dropout between layers, these work in one layer
    for layer in made[1:]:
        layer._own.flat()[...] = made[0]._own.flat()
    x = np.random.default_rng(0).normal(size=(4, 9, 3)).astype(np.float32)
    first, twin, other = ([layer.forward(x)[0] for _ in range(3)] for layer in made)
    assert_same_bits(tuple(first), tuple(twin))
    different = [*first, *other]
    for i, a in enumerate(different):
        assert not any(np.array_equal(a, b) for b in different[:i])
    assert_same_bits(made[0](x)[0], made[2](x)[0])


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (-0.1, ValueError, r"from 0 to 1, got -0\.1"),
        (1.5, ValueError, r"from 0 to 1, got 1\.5"),
        (float("nan"), ValueError, r"from 0 to 1, got nan"),
        (float("inf"), ValueError, r"from 0 to 1, got inf"),
        ("0.5", TypeError, "a number, got '0.5'"),
        (None, TypeError, "a number, got None"),
        (True, TypeError, "a number, got True"),
    ],
)
@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("kind", KINDS.values())
def test_bad_rates_are_refused_by_name(
    kind: Any, name: str, value: Any, error: Any, shown: str
) -> None:
    with pytest.raises(error, match=f"^{name} must be {shown}"):
        kind(3, 4, **{name: value})


def test_rates_cannot_be_changed_and_are_shown() -> None:
    layer = gru.GRU(3, 4, input_dropout=0.25, recurrent_dropout=0.5, zoneout=0.125)
    text = "GRU(3, 4, input_dropout=0.25, recurrent_dropout=0.5, zoneout=0.125)"
    assert repr(layer) == text
    for name in NEW:
        with pytest.raises(AttributeError, match=f"{name} is fixed"):
            setattr(layer, name, 0.0)
    assert repr(gru.GRU(3, 4)) == "GRU(3, 4)"


# --- model files ----------------------------------------------------------------------------------


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """A safetensors file: its header, and the numbers behind it."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def stacked_of(form: dict[str, Any], rates: Rates) -> gru.Sequential:
    rest = {name: value for name, value in form.items() if name != "cell"}
    layer = KINDS[form["cell"]](3, 4, 2, bidirectional=True, **rest, **rates, seed=1)
    return gru.Sequential([layer, gru.Linear(8, 2, seed=2)])


@pytest.mark.parametrize("rates", [{}, *RATES], ids=pair_id)
@EVERY_FORM
def test_model_file_and_pickle_keep_the_rates(
    form: dict[str, Any], rates: Rates, tmp_path: Path
) -> None:
    model = stacked_of(form, rates)
    model.save(tmp_path / "m")
    x = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    for again in (gru.load(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert again.layers[0].spec == model.layers[0].spec
        assert repr(again) == repr(model)
        assert_same_bits(again(x), model(x))
        assert_same_bits(again.forward(x, seed=9)[0], model.forward(x, seed=9)[0])
    written = (tmp_path / "m").read_bytes()
    for name in NEW:
        assert (f'"{name}"'.encode() in written.replace(b"\\", b"")) == (name in rates)


@EVERY_FORM
def test_a_file_without_the_fields_is_what_a_layer_without_them_writes(
    form: dict[str, Any], tmp_path: Path
) -> None:
    """So a file from before they existed loads, and an older engine reads today's plain models."""
    stacked_of(form, dict.fromkeys(NEW, 0.0)).save(tmp_path / "m")
    architecture = json.loads(header_of(tmp_path / "m")[0]["__metadata__"]["architecture"])
    options_of = options(Spec(**form, input_size=3, hidden_size=4))
    assert set(architecture[0]) == {
        "kind",
        "input_size",
        "hidden_size",
        "num_layers",
        "direction",
        "bias",
        "dropout",
        *options_of,
    }
    loaded = gru.load(tmp_path / "m").layers[0]
    assert [getattr(loaded, name) for name in NEW] == [0.0] * 3
