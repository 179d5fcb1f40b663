"""Layer normalisation inside the GRU: equations, gradients, the public layer, model files."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    EVERY_DTYPE,
    Case,
    as_state,
    assert_same_bits,
    data,
    problem,
)
from derivatives import assert_slopes
from gru import _core
from masks import ALL, Rates, core_layer, inference_extras
from normed import (
    EVERY_CASE,
    EVERY_FORM,
    EVERY_RATES,
    NONE,
    SOME_CASES,
    assert_close,
    case_of,
    exact_and_sway,
    slopes,
    spec_of,
    wanted,
)
from passes import (
    assert_all_bits,
    engine,
)
from reference import Spec

# --- the equations --------------------------------------------------------------------------------


@EVERY_CASE
def test_float64_is_the_reference(case: Case, isa: str) -> None:
    """Outputs, final states and the gradients of everything, gains included."""
    d = data(case, "float64")
    found = engine(core_layer(case.spec, d.params, NONE), d)
    p, y, final = wanted(case, "float64", False)
    assert_close(found["y"], y, "y")
    assert_close(found["final0"], final, "final state")
    assert_slopes(found, slopes(case, False), 1e-9)
    assert not found["y"][~p.valid].any()
    assert not found["x"][~p.valid].any()


@SOME_CASES
def test_regularised_float64_is_the_reference(case: Case, isa: str) -> None:
    """Recurrent dropout comes before the product with U, zoneout after the step."""
    d = data(case, "float64")
    found = engine(core_layer(case.spec, d.params, ALL), d, case.seed)
    _, y, final = wanted(case, "float64", True)
    assert_close(found["y"], y, "y")
    assert_close(found["final0"], final, "final state")
    assert_slopes(found, slopes(case, True), 1e-9)


@SOME_CASES
def test_float32(case: Case, isa: str) -> None:
    """Outputs against the reference, gradients against the float64 engine on the same numbers."""
    d = data(case, "float32")
    found = engine(core_layer(case.spec, d.params, NONE), d)
    exact, sway = exact_and_sway(case)
    _, y, final = wanted(case, "float32", False)
    assert_close(found["y"], y, "y", sway["y"])
    assert_close(found["final0"], final, "final state", sway["final0"])
    for name, value in found.items():
        assert value.dtype == np.float32
        # Backward takes like from like where few units are nearly equal: beside what rounded
        # arguments do, it magnifies its own roundings, up to 1 / sqrt(epsilon) times each.
        largest = max(1.0, float(np.abs(exact[name]).max(initial=0)))
        few = 2 <= case.spec.hidden_size <= 5 and name not in ("y", "final0")
        own = 2.0**-24 * 1e-5**-0.5 * largest if few else 0.0
        assert_close(value, exact[name], name, sway[name] + own)


@SOME_CASES
@EVERY_DTYPE
def test_inference_takes_the_mean_of_zoneout(case: Case, dtype: str, isa: str) -> None:
    d, p = data(case, dtype), problem(case, dtype)
    core = core_layer(case.spec, d.params, ALL)
    y, final = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
    extras = inference_extras(case.spec, ALL, case.batch, case.steps)
    y_ref, (final_ref,) = reference.run(p.spec, p.params, p.x, p.state, p.valid, extras)
    assert_close(y, y_ref, "y")
    assert_close(final, final_ref, "final state")


@EVERY_FORM
@EVERY_DTYPE
def test_one_unit_has_nothing_but_its_biases(form: dict[str, Any], dtype: str, isa: str) -> None:
    """A lone number less its mean is 0: neither x nor weights nor gains show or learn."""
    case = case_of(form, hidden=1)
    d = data(case, dtype)
    found = engine(core_layer(case.spec, d.params, NONE), d)
    other = replace(d, x=d.x * 3 + 1)
    assert_same_bits(engine(core_layer(case.spec, d.params, NONE), other)["y"], found["y"])
    for name, value in found.items():
        if name == "x" or name.startswith(("weight", "norm")):
            assert not value.any(), name
    assert found["bias_ih_l0"].any()


@EVERY_FORM
@EVERY_DTYPE
def test_scale_and_shift_of_a_side_do_not_show(form: dict[str, Any], dtype: str, isa: str) -> None:
    """Of W by a power of two, as long as epsilon is small: the mathematics of normalisation."""
    case = Case(spec_of(form, 16, "forward", 1), 4, 6, "full", False, seed=5)
    d = data(case, dtype)
    large = {name: np.array(value) for name, value in d.params.items()}
    large["weight_ih_l0"] *= 2**14
    larger = {name: np.array(value) for name, value in large.items()}
    larger["weight_ih_l0"] *= 4
    shifted = {name: np.array(value) for name, value in large.items()}
    shifted["weight_ih_l0"] += 2.0**13  # the same row for each unit: W x moves by one number
    y = core_layer(case.spec, large, NONE).forward(d.x)[0]
    close = 1e-8 if dtype == "float64" else 2e-5
    for changed in (larger, shifted):
        again = core_layer(case.spec, changed, NONE).forward(d.x)[0]
        np.testing.assert_allclose(again, y, rtol=0, atol=close)


@SOME_CASES
@EVERY_DTYPE
def test_trace_gives_the_gates(case: Case, dtype: str, isa: str) -> None:
    d, p = data(case, dtype), problem(case, dtype)
    core = core_layer(case.spec, d.params, NONE)
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    seen = core.trace(*call)
    directions = len(case.spec.reverses)
    shape = (case.batch, case.steps, case.spec.num_layers * directions, case.spec.hidden_size)
    expected = {name: np.zeros(shape) for name in "rznh"}
    reference.run(p.spec, p.params, p.x, p.state, p.valid, seen=expected)
    assert list(seen) == list("rznh")
    for name, value in seen.items():
        assert value.dtype == dtype
        sway = exact_and_sway(case)[1]["y"] if dtype == "float32" else 0.0
        assert_close(value, expected[name], name, sway)
        assert not value[~p.valid].any(), name
    y = core.forward(*call)[0]
    assert_same_bits(seen["h"][:, :, -directions:].reshape(y.shape), y)


# --- the public layer -----------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["uniform", "orthogonal", "glorot"])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_and_their_first_values(init: str, bias: bool) -> None:
    layer = gru.GRU(3, 4, 2, bidirectional=True, bias=bias, layer_norm=True, init=init, seed=1)
    plain = gru.GRU(3, 4, 2, bidirectional=True, bias=bias, init=init, seed=1)
    shapes = {name: value.shape for name, value in layer.parameters.items()}
    spec = Spec("gru", 3, 4, 2, "both", bias, layer_norm=True)
    assert list(shapes.items()) == list(spec.shapes.items())
    assert shapes["norm_ih_l0"] == shapes["norm_hh_l1_reverse"] == (12,)
    for name, value in layer.parameters.items():
        if name.startswith("norm"):
            assert np.all(value == 1), name
        else:
            assert_same_bits(value, plain.parameters[name], name)  # gains draw no number


def test_the_option_is_shown_and_fixed() -> None:
    layer = gru.GRU(3, 4, layer_norm=True)
    assert repr(layer) == "GRU(3, 4, layer_norm=True)"
    assert layer.layer_norm is True
    assert gru.GRU(3, 4).layer_norm is False
    assert repr(gru.GRU(3, 4, layer_norm=False)) == "GRU(3, 4)"
    with pytest.raises(AttributeError, match="layer_norm is fixed"):
        layer.layer_norm = False


@pytest.mark.parametrize("value", [1, 0, "yes", None, 0.5])
def test_what_is_no_flag_is_refused_by_name(value: Any) -> None:
    shown = re.escape(repr(value))
    with pytest.raises(TypeError, match=f"^layer_norm must be True or False, got {shown}$"):
        gru.GRU(3, 4, layer_norm=value)
    fields: Any = {"kind": "gru", "input_size": 3, "hidden_size": 4, "layer_norm": value}
    with pytest.raises(TypeError, match="layer_norm must be"):
        _core.Layer32(fields)


@pytest.mark.parametrize("kind", [gru.LSTM, gru.RNN])
def test_other_cells_have_no_such_option(kind: Any) -> None:
    with pytest.raises(TypeError, match="layer_norm"):
        kind(3, 4, layer_norm=True)


# --- model files ----------------------------------------------------------------------------------


def model_of(dtype: str = "float32", **options: Any) -> gru.Sequential:
    """Numbers of its own in every parameter, gains too."""
    layer = gru.GRU(3, 5, 2, bidirectional=True, dtype=dtype, seed=1, **options)
    model = gru.Sequential([layer, gru.Linear(10, 2, dtype=dtype, seed=2)])
    rng = np.random.default_rng(1)
    for block in model.blocks().values():
        block[...] = 0.7 * rng.normal(size=block.shape)
    return model


def architecture_of(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return json.loads(header["__metadata__"]["architecture"])  # type: ignore[no-any-return]


@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_files_and_pickles_give_the_same_bits(
    form: dict[str, Any], dtype: str, rates: Rates, tmp_path: Path, isa: str
) -> None:
    model = model_of(dtype, layer_norm=True, **form, **rates)
    model.save(tmp_path / "m")
    assert architecture_of(tmp_path / "m")[0]["layer_norm"] is True
    x = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(dtype)
    y, tape = model.forward(x, seed=9)
    wanted = model.backward(tape, y)
    for again in (gru.load(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert repr(again) == repr(model)
        for name, value in model.parameters.items():
            assert_same_bits(again.parameters[name], value, name)
        assert_same_bits(again(x), model(x))
        y_again, tape = again.forward(x, seed=9)
        assert_same_bits(y_again, y)
        assert_all_bits(again.backward(tape, y), wanted, "gradient")


@EVERY_FORM
def test_a_plain_file_has_no_such_field(form: dict[str, Any], tmp_path: Path) -> None:
    """So an older engine reads it."""
    model_of(layer_norm=False, **form).save(tmp_path / "off")
    model_of(**form).save(tmp_path / "plain")
    assert "layer_norm" not in architecture_of(tmp_path / "plain")[0]
    assert (tmp_path / "off").read_bytes() == (tmp_path / "plain").read_bytes()


@EVERY_DTYPE
@pytest.mark.parametrize("reset_after", [True, False])
def test_the_other_convention_is_negated_weights_and_biases(
    dtype: str, reset_after: bool, isa: str
) -> None:
    """Of the z rows; gains stay: norm(-a) = -norm(a)."""
    of: dict[str, Any] = {"layer_norm": True, "reset_after": reset_after}
    keep, new = (model_of(dtype, update_gate=gate, **of) for gate in ("keep", "new"))
    for name, value in new.layers[0].parameters.items():
        if not name.startswith("norm"):
            value[5:10] *= -1
    x = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(dtype)
    assert_same_bits(new(x), keep(x))
