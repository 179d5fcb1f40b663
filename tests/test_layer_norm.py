"""Layer normalisation inside the GRU: equations, gradients, what must not show, model files."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    EVERY_DTYPE,
    Case,
    Data,
    as_state,
    assert_same_bits,
    cases,
    data,
    name_of,
    problem,
    widened,
)
from derivatives import Slopes, assert_slopes, slopes_of
from gru import _core
from masks import Rates, core_layer, inference_extras, training_extras
from reference import Array, Extras, Problem, Spec

FORMS: list[dict[str, Any]] = [
    {"reset_after": after, "update_gate": update}
    for after in (True, False)
    for update in ("keep", "new")
]
EVERY_FORM = pytest.mark.parametrize("form", FORMS, ids=name_of)
NONE: Rates = {}
ALL: Rates = {"dropout": 0.3, "input_dropout": 0.25, "recurrent_dropout": 0.4, "zoneout": 0.35}
EVERY_RATES = pytest.mark.parametrize("rates", [NONE, ALL], ids=["plain", "regularised"])
CLOSE = {"float64": 1e-12, "float32": 1e-5}


def normed(count: int, seed: int, *, large: float) -> list[Case]:
    """GRUs of one and two layers in every direction; a lone reverse direction has two as well."""
    grus = (case for case in cases(count, seed=seed, large=large) if case.spec.cell == "gru")
    return [
        replace(case, spec=replace(case.spec, layer_norm=True, num_layers=1 + i // 4 % 2))
        for i, case in enumerate(grus)
    ]


CASES = normed(126, 51, large=0.0) + normed(14, 54, large=0.4)
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
SOME_CASES = pytest.mark.parametrize("case", CASES[::3], ids=str)


def spec_of(
    form: dict[str, Any], hidden: int = 5, direction: str = "both", layers: int = 2
) -> Spec:
    return Spec("gru", 3, hidden, num_layers=layers, direction=direction, layer_norm=True, **form)


def case_of(form: dict[str, Any], hidden: int = 5, padding: str = "mask") -> Case:
    return Case(spec_of(form, hidden), 4, 6, padding, True, seed=78)


def engine(core: Any, d: Data, seed: int = 0, limit: int = 0) -> dict[str, Array]:
    """Outputs, states and gradients of a training pass."""
    y, final, tape = core.forward_train(
        d.x, as_state(d.state), **d.where, seed=seed, memory_limit=limit
    )
    dx, dstate, block = core.backward(tape, d.dy, as_state(d.dstate))
    return {"y": y, "final": final, "x": dx, "state0": dstate, **core.views(block)}


def assert_all_bits(found: dict[str, Array], wanted: dict[str, Array], what: str = "") -> None:
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert_same_bits(value, wanted[name], f"{name} {what}")


def assert_close(value: Array, wanted: Array, what: str, sway: float = 0.0) -> None:
    """Of the largest entry, or of one; ``sway`` is what rounding of the arguments alone does."""
    assert value.shape == wanted.shape
    worst = float(np.abs(value - wanted).max(initial=0))
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    allowed = CLOSE[str(value.dtype)] * scale + 8 * sway
    assert worst <= allowed, f"{what}: off by {worst}, allowed {allowed}"


@cache
def exact_and_sway(case: Case) -> tuple[dict[str, Array], dict[str, float]]:
    """The float64 engine on the numbers of float32, and how far it moves when they are changed in
    their last place: of a few units that happen to be nearly equal the normalisation magnifies
    the rounding, up to 300 times."""
    d = widened(data(case, "float32"))
    core = core_layer(case.spec, d.params, NONE)
    exact, moved = engine(core, d), dict.fromkeys(("y", "final", "x", "state0", *d.params), 0.0)
    rng = np.random.default_rng(case.seed)

    def nudged(a: Array) -> Array:
        return a * (1 + 2.0**-23 * rng.choice([-1.0, 1.0], a.shape))

    for _ in range(4):
        params = {name: nudged(value) for name, value in d.params.items()}
        state = None if d.state is None else tuple(nudged(s) for s in d.state)
        other = replace(d, x=nudged(d.x), state=state)
        for name, value in engine(core_layer(case.spec, params, NONE), other).items():
            moved[name] = max(moved[name], float(np.abs(value - exact[name]).max(initial=0)))
    return exact, moved


def extras_of(case: Case, rates: Rates) -> Extras | None:
    if not rates:
        return None
    return training_extras(case.spec, rates, case.seed, case.batch, case.steps)


@cache
def wanted(case: Case, dtype: str, regularised: bool) -> tuple[Problem, Array, Array]:
    p = replace(problem(case, dtype), extras=extras_of(case, ALL if regularised else NONE))
    y, (final,) = reference.run(p.spec, p.params, p.x, p.state, p.valid, p.extras)
    return p, y, final


@cache
def slopes(case: Case, regularised: bool) -> Slopes:
    return slopes_of(wanted(case, "float64", regularised)[0], case.seed)


# --- the equations --------------------------------------------------------------------------------


@EVERY_CASE
def test_float64_is_the_reference(case: Case, isa: str) -> None:
    """Outputs, final states and the gradients of everything, gains included."""
    d = data(case, "float64")
    found = engine(core_layer(case.spec, d.params, NONE), d)
    p, y, final = wanted(case, "float64", False)
    assert_close(found["y"], y, "y")
    assert_close(found["final"], final, "final state")
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
    assert_close(found["final"], final, "final state")
    assert_slopes(found, slopes(case, True), 1e-9)


@SOME_CASES
def test_float32(case: Case, isa: str) -> None:
    """Outputs against the reference, gradients against the float64 engine on the same numbers."""
    d = data(case, "float32")
    found = engine(core_layer(case.spec, d.params, NONE), d)
    exact, sway = exact_and_sway(case)
    _, y, final = wanted(case, "float32", False)
    assert_close(found["y"], y, "y", sway["y"])
    assert_close(found["final"], final, "final state", sway["final"])
    for name, value in found.items():
        assert value.dtype == np.float32
        # Backward takes like from like where few units are nearly equal: beside what rounded
        # arguments do, it magnifies its own roundings, up to 1 / sqrt(epsilon) times each.
        largest = max(1.0, float(np.abs(exact[name]).max(initial=0)))
        few = 2 <= case.spec.hidden_size <= 5 and name not in ("y", "final")
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


# --- what must not show ---------------------------------------------------------------------------

WIDE = {"slices": (17, 20, 40, "both"), "a team": (1, 12, 256, "forward")}


@pytest.mark.parametrize("size", WIDE)
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_threads_do_not_show(
    form: dict[str, Any], dtype: str, rates: Rates, size: str, threads: None
) -> None:
    """Nor frozen weights: where slices of the batch are spread, and where units of one are."""
    batch, steps, hidden, direction = WIDE[size]
    spec = replace(spec_of(form, hidden, direction), input_size=9)
    d = data(Case(spec, batch, steps, "mask", True, seed=3), dtype)
    core = core_layer(spec, d.params, rates)
    plan = core.plan(batch, steps, None, d.mask, True, 2)
    assert plan["threads"] == 2
    assert plan["members"] == (1 if size == "slices" else 2)
    gru.set_num_threads(1)
    alone = engine(core, d, seed=8)
    plain = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
    core.freeze()
    for count in (2, 3):
        gru.set_num_threads(count)
        assert_all_bits(engine(core, d, seed=8), alone, f"on {count} threads")
        again = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
        assert_same_bits(again, plain, f"plain call, {count} threads")


@pytest.mark.parametrize(
    "change",
    [
        lambda x, lengths: (x[:3], lengths[:3]),
        lambda x, lengths: (x[:1], lengths[:1]),
        lambda x, lengths: (np.pad(x, ((0, 0), (0, 7), (0, 0)), constant_values=9), lengths),
        lambda x, lengths: (np.concatenate([x, x]), np.concatenate([lengths, lengths[::-1]])),
        lambda x, lengths: (x, np.concatenate([lengths[:2], [0, 8, 1]])),
    ],
    ids=["fewer", "one", "padded", "more", "other lengths"],
)
@pytest.mark.parametrize("hidden", [2, 5, 19, 32])
@EVERY_FORM
@EVERY_DTYPE
def test_the_rest_of_the_batch_does_not_show(
    form: dict[str, Any],
    dtype: str,
    hidden: int,
    change: Callable[[Array, Array], tuple[Array, Array]],
    isa: str,
) -> None:
    case = case_of(form, hidden, "full")
    core = core_layer(case.spec, data(case, dtype).params, NONE)
    x = np.random.default_rng(1).normal(size=(5, 8, 3)).astype(dtype)
    lengths = np.array([3, 8, 5, 0, 8])
    y, _, tape = core.forward_train(x, lengths=lengths)
    dx, _, _ = core.backward(tape, y)
    changed_x, changed_lengths = change(x, lengths)
    changed_y, _, tape = core.forward_train(changed_x, lengths=changed_lengths)
    changed_dx, _, _ = core.backward(tape, changed_y)
    for b in range(min(len(x), len(changed_x))):
        if lengths[b] == changed_lengths[b]:
            valid = slice(lengths[b])
            assert_same_bits(changed_y[b, valid].copy(), y[b, valid].copy(), f"y of {b}")
            assert_same_bits(changed_dx[b, valid].copy(), dx[b, valid].copy(), f"dx of {b}")


@SOME_CASES
@EVERY_DTYPE
def test_training_and_frozen_calls_are_the_plain_call(case: Case, dtype: str, isa: str) -> None:
    d = data(case, dtype)
    core = core_layer(case.spec, d.params, {"input_dropout": 0.0, "zoneout": 0.0})
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    plain, trained = core.forward(*call), core.forward_train(*call)
    assert_same_bits(trained[:2], plain)
    core.freeze()
    assert_same_bits(core.forward(*call), plain)
    assert_same_bits(core.forward_train(*call)[:2], plain)


@pytest.mark.parametrize("hidden", [1, 2, 21, 64])
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_a_stream_is_the_plain_call(
    form: dict[str, Any], dtype: str, rates: Rates, hidden: int, isa: str
) -> None:
    """Frozen or not, alone or in a model."""
    layer = gru.GRU(3, hidden, 2, layer_norm=True, **rates, **form, dtype=dtype, seed=4)
    model = gru.Sequential([layer, gru.Linear(hidden, 2, dtype=dtype, seed=1)])
    x = np.random.default_rng(5).normal(size=(3, 7, 3)).astype(dtype)
    for _ in range(2):
        y, state = layer(x)
        of_model = model(x)
        stream, whole = layer.stream(3), model.stream(3)
        for t in range(7):
            assert_same_bits(stream.step(x[:, t]), y[:, t].copy())
            assert_same_bits(whole.step(x[:, t]), of_model[:, t].copy())
        assert_same_bits(stream.state, state)
        model.freeze()


WITHIN = {  # padding, batch, steps, hidden, direction
    "one sequence": ("full", 1, 40, 9, "forward"),
    "lengths": ("lengths", 5, 21, 6, "both"),
    "holes": ("mask", 6, 25, 17, "both"),
    "chunks": ("mask", 9, 150, 5, "reverse"),
}


@pytest.mark.parametrize("name", WITHIN)
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_a_memory_limit_does_not_show(
    form: dict[str, Any], dtype: str, rates: Rates, name: str, isa: str
) -> None:
    padding, batch, steps, hidden, direction = WITHIN[name]
    spec = spec_of(form, hidden, direction)
    d = data(Case(spec, batch, steps, padding, True, seed=9), dtype)
    core = core_layer(spec, d.params, rates)
    with pytest.raises(ValueError, match="memory_limit must be at least") as caught:
        engine(core, d, 5, 1)
    least = int(re.findall(r"at least (\d+) bytes", str(caught.value))[0])
    assert_all_bits(engine(core, d, 5, least), engine(core, d, 5), "within the least limit")
    with pytest.raises(ValueError, match=f"at least {least} bytes .*got {least - 1}$"):
        engine(core, d, 5, least - 1)


@pytest.mark.parametrize("case", CASES, ids=str)
@EVERY_DTYPE
def test_v3_and_v4_give_the_same_bits(case: Case, dtype: str, restore_isa: None) -> None:
    if not {"v3", "v4"} <= set(gru.isa_levels()):
        pytest.skip("this CPU or build has not both")
    d = data(case, dtype)
    core, found = core_layer(case.spec, d.params, NONE), []
    for level in ("v3", "v4"):
        gru.set_isa(level)
        found.append(engine(core, d))
    assert_all_bits(found[1], found[0], "v4")


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
