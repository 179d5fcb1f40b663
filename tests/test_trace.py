"""What trace and backward_traced show, against the reference's equations and true derivatives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    Case,
    Data,
    as_state,
    as_tuple,
    assert_same_bits,
    cases,
    data,
    make_layer,
    options,
    problem,
    widened,
)
from masks import ALL, Rates, core_layer, training_extras
from reference import Array, Extras, Problem, Spec

NAMES = {"gru": ["r", "z", "n", "h"], "lstm": ["i", "f", "g", "o", "c", "h"], "rnn": ["n", "h"]}


def layered(count: int, seed: int, *, large: float) -> list[Case]:
    """A lone reverse direction has layers too, and every second case without has a first state."""
    found = []
    for i, case in enumerate(cases(count, seed=seed, large=large)):
        spec = case.spec
        if spec.direction == "reverse":
            spec = replace(spec, num_layers=1 + i % 2)
        found.append(replace(case, spec=spec, has_state=case.has_state or i % 2 == 0))
    return found


TRACED = layered(105, 41, large=0.0) + layered(21, 42, large=0.5)
# The derivative by every entry of every state: the cost grows with the square of steps.
FLOWS = [case for case in layered(140, 43, large=0.0) if case.batch * case.steps <= 30]


def cells(spec: Spec) -> int:
    return spec.num_layers * len(spec.reverses)


def nothing_seen(case: Case) -> dict[str, Array]:
    shape = (case.batch, case.steps, cells(case.spec), case.spec.hidden_size)
    return {name: np.zeros(shape) for name in NAMES[case.spec.cell]}


@cache
def expected(case: Case, dtype: str) -> dict[str, Array]:
    p, seen = problem(case, dtype), nothing_seen(case)
    reference.run(p.spec, p.params, p.x, p.state, p.valid, seen=seen)
    return seen


# --- trace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", TRACED, ids=str)
@EVERY_DTYPE
def test_trace(case: Case, dtype: str, isa: str) -> None:
    d, p = data(case, dtype), problem(case, dtype)
    core = core_layer(case.spec, d.params, {})
    seen = core.trace(d.x, as_state(d.state), d.lengths, d.mask)
    assert list(seen) == NAMES[case.spec.cell]
    close = 1e-12 if dtype == "float64" else 4e-6
    for name, wanted in expected(case, dtype).items():
        value = seen[name]
        assert (value.shape, value.dtype) == (wanted.shape, np.dtype(dtype))
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        assert np.abs(value - wanted).max(initial=0) <= close * scale, name
        assert not value[~p.valid].any(), f"{name} at steps that are skipped"


@pytest.mark.parametrize("case", TRACED, ids=str)
@EVERY_DTYPE
def test_the_states_are_those_of_the_call(case: Case, dtype: str) -> None:
    """Bit for bit: the last layer's h is y, and h and c after the last step are the final state."""
    d, p = data(case, dtype), problem(case, dtype)
    core = core_layer(case.spec, d.params, {"dropout": 0.5})
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    y, final = core.forward(*call)
    seen = core.trace(*call)
    directions = len(case.spec.reverses)
    assert_same_bits(seen["h"][:, :, -directions:].reshape(y.shape), y)
    for array, name in zip(as_tuple(final), "hc", strict=False):
        for b, valid in enumerate(p.valid):
            steps = np.flatnonzero(valid)
            for at in range(cells(case.spec)) if steps.size else ():
                last = steps[0 if case.spec.reverses[at % directions] else -1]
                assert_same_bits(seen[name][b, last, at].copy(), array[b, at].copy(), name)


@pytest.mark.parametrize("bias", [-700.0, -100.0, -40.0, -15.0, 15.0, 40.0])
@pytest.mark.parametrize("update_gate", ["keep", "new"])
@pytest.mark.parametrize("reset_after", [True, False])
@EVERY_DTYPE
def test_a_closed_gate_is_small_but_right(
    dtype: str, reset_after: bool, update_gate: str, bias: float, isa: str
) -> None:
    """In its own convention, not one minus the other's, in which e**-40 would be lost."""
    spec = Spec("gru", 3, 7, 2, "both", reset_after=reset_after, update_gate=update_gate)
    d = data(Case(spec, 3, 5, "mask", True, seed=5), dtype)
    biased = {name: np.array(value) for name, value in d.params.items()}
    for name, value in biased.items():
        if name.startswith("bias_ih"):
            value[7:14] = bias
    valid = reference.valid_steps(3, 5, mask=d.mask)
    z = core_layer(spec, biased, {}).trace(d.x, as_state(d.state), None, d.mask)["z"]
    wide = {name: value.astype(np.float64) for name, value in biased.items()}
    state = tuple(s.astype(np.float64) for s in d.state or ())
    seen = nothing_seen(Case(spec, 3, 5, "mask", True, seed=5))
    reference.run(spec, wide, d.x.astype(np.float64), state, valid, seen=seen)
    wanted, tiny = seen["z"], float(np.finfo(dtype).tiny)
    if dtype == "float32" and bias < -80:  # below the smallest float32: any such number will do
        assert np.all(z <= tiny)
        return
    # A pre-activation near `bias` is known to some roundings of its size, and so is z relative.
    close = 8 * float(np.finfo(dtype).eps) * max(abs(bias), 4)
    assert np.all(np.abs(z - wanted)[valid] <= close * wanted[valid])
    assert np.all(z[valid] > 0)


@EVERY_FORM
def test_training_does_not_show(form: dict[str, Any]) -> None:
    """A trace is of a plain call: nothing is dropped, zoneout's mean is taken, no seed is drawn."""
    spec = Spec(**form, input_size=3, hidden_size=5, num_layers=2, direction="both")
    case = Case(spec, 3, 6, "mask", True, seed=6)
    d = data(case, "float64")
    core = core_layer(spec, d.params, ALL)
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    y, _ = core.forward(*call)
    seen = core.trace(*call)
    assert_same_bits(seen["h"][:, :, -2:].reshape(y.shape), y)
    plain = core_layer(spec, d.params, {"zoneout": ALL["zoneout"]}).trace(*call)
    for name, value in seen.items():
        assert_same_bits(value, plain[name], name)


@EVERY_FORM
def test_threads_and_freezing_do_not_show(form: dict[str, Any], threads: None) -> None:
    spec = Spec(**form, input_size=9, hidden_size=40, num_layers=2, direction="both")
    d = data(Case(spec, 17, 20, "mask", True, seed=3), "float32")
    layer = make_layer(spec, d.params)
    assert layer.plan(17, 20, mask=d.mask, training=True, threads=2).threads == 2
    traces = []
    for count in (1, 2, 3):
        gru.set_num_threads(count)
        traces.append(layer.trace(d.x, as_state(d.state), **d.where))
        layer.freeze()
    for seen in traces[1:]:
        for name, value in seen.items():
            assert_same_bits(value, traces[0][name], name)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_nothing_to_trace(shape: tuple[int, ...]) -> None:
    seen = gru.LSTM(3, 5, 2, bidirectional=True).trace(np.zeros(shape, np.float32))
    assert {value.shape for value in seen.values()} == {(*shape[:2], 4, 5)}


def test_bad_calls() -> None:
    layer, x = gru.GRU(3, 4), np.ones((2, 5, 3), np.float32)
    with pytest.raises(ValueError, match="x must have shape"):
        layer.trace(x[..., :2])
    with pytest.raises(TypeError, match="x must have dtype float32"):
        layer.trace(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"lengths\[0\] must be from 0 to 5"):
        layer.trace(x, lengths=[6, 1])
    with pytest.raises(ValueError, match="state must have shape"):
        layer.trace(x, np.zeros((2, 2, 4), np.float32))
    with pytest.raises(TypeError, match="tape must be one that forward of this layer returned"):
        layer.backward_traced(None, x)
    with pytest.raises(ValueError, match=r"tape must come from .* this layer, got another's"):
        layer.backward_traced(gru.GRU(3, 4).forward(x)[2], None)
    _, _, tape = layer.forward(x)
    with pytest.raises(ValueError, match="dy must have shape"):
        layer.backward_traced(tape, x)


# --- the gradient's way ---------------------------------------------------------------------------


def pushed_slopes(p: Problem, at: int, which: int) -> Array:
    """dL by each number added to h (which 0) or c (1) after a step of one direction of one layer:
    (B, T, H). All entries at once, each a perturbed copy of the whole run."""
    batch, steps = p.valid.shape
    shape = (batch, steps, p.spec.hidden_size)
    size = int(np.prod(shape))
    units = np.eye(size).reshape(size, *shape)
    assert p.extras is not None
    cell = p.extras.cells[at]
    push = [np.zeros((1, *shape))] * reference.STATES[p.spec.cell]
    push[which] = 1j * reference.STEP * units
    moved = list(p.extras.cells)
    moved[at] = replace(cell, push=tuple(push))
    loss = replace(p, extras=Extras(p.extras.inputs, moved)).loss({})
    return np.broadcast_to(loss.imag / reference.STEP, units.shape[:1]).reshape(shape)


def flow_of(case: Case, d: Data, rates: Rates) -> tuple[dict[str, Array], Any, Any]:
    """The engine's flow; what is handed back beside it has the bits of a plain backward."""
    core = core_layer(case.spec, d.params, rates)
    _, _, tape = core.forward_train(d.x, as_state(d.state), **d.where, seed=case.seed)
    dstate = as_state(d.dstate)
    dx, dfirst, block, flow = core.backward(tape, d.dy, dstate, True)
    for traced, plain in zip((dx, dfirst, block), core.backward(tape, d.dy, dstate), strict=True):
        assert_same_bits(traced, plain)
    return flow, dx, dfirst


@cache
def true_slopes(case: Case, regularised: bool) -> list[Array]:
    """For h, and an LSTM's c: dL by the state after each step, (B, T, N*D, H)."""
    rates = ALL if regularised else {}
    extras = training_extras(case.spec, rates, case.seed, case.batch, case.steps)
    p = replace(problem(case, "float64"), extras=extras)
    return [
        np.stack([pushed_slopes(p, at, which) for at in range(cells(case.spec))], axis=-2)
        for which in range(reference.STATES[case.spec.cell])
    ]


@pytest.mark.parametrize("regularised", [False, True], ids=["plain", "regularised"])
@pytest.mark.parametrize("case", FLOWS, ids=str)
def test_dh_is_the_gradient_of_the_state_after_the_step(
    case: Case, regularised: bool, isa: str
) -> None:
    """By complex step on a number added to the state; for an LSTM of c and h alike."""
    flow, _, _ = flow_of(case, data(case, "float64"), ALL if regularised else {})
    names = ["dh", "dc"][: reference.STATES[case.spec.cell]]
    others = {"carried", "through"} | ({"carried_c"} if "dc" in names else set())
    assert set(flow) == {*names, *others}
    for name, wanted in zip(names, true_slopes(case, regularised), strict=True):
        scale = np.abs(wanted).max(initial=1e-300)
        assert flow[name].shape == wanted.shape
        assert np.abs(flow[name] - wanted).max(initial=0) <= 1e-10 * scale, name


def steps_of(case: Case, valid: Array, at: int) -> list[tuple[int, list[int]]]:
    """For each sequence its valid steps in the order that a direction visits them."""
    reverse = case.spec.reverses[at % len(case.spec.reverses)]
    order = slice(None, None, -1 if reverse else 1)
    return [(b, [int(t) for t in np.flatnonzero(v)[order]]) for b, v in enumerate(valid)]


@pytest.mark.parametrize("rates", [{}, ALL], ids=["plain", "regularised"])
@pytest.mark.parametrize("case", TRACED, ids=str)
@EVERY_DTYPE
def test_carried_and_through_are_what_is_handed_back(case: Case, rates: Rates, dtype: str) -> None:
    """From step to step of the top layer, and from the first step to the initial state."""
    d, p = data(case, dtype), problem(case, dtype)
    flow, _, dfirst = flow_of(case, d, rates)
    close = 1e-13 if dtype == "float64" else 2e-6
    handed = flow["carried"] + flow["through"]
    spec, directions = case.spec, len(case.spec.reverses)
    dy = d.dy.reshape(*d.dy.shape[:2], directions, spec.hidden_size)
    dh_first, dc_first = (*as_tuple(dfirst), None)[:2]

    def assert_close(actual: Array, wanted: Array, *terms: Array) -> None:
        scale = max(float(np.abs(t).max()) for t in (actual, wanted, *terms))
        assert np.abs(actual - wanted).max() <= close * scale

    for at in range(cells(spec)):
        top = at - (cells(spec) - directions)
        for b, steps in steps_of(case, p.valid, at):
            if not steps:
                continue
            parts = flow["carried"][b, steps[0], at], flow["through"][b, steps[0], at]
            assert_close(dh_first[b, at], handed[b, steps[0], at], *parts)
            if dc_first is not None:
                assert_same_bits(dc_first[b, at].copy(), flow["carried_c"][b, steps[0], at].copy())
            if top < 0:
                continue
            for before, now in pairwise(steps):
                whole = dy[b, before, top] + handed[b, now, at]
                parts = flow["carried"][b, now, at], flow["through"][b, now, at]
                assert_close(flow["dh"][b, before, at], whole, *parts)
            last = dy[b, steps[-1], top] + d.dstate[0][b, at]
            assert_close(flow["dh"][b, steps[-1], at], last)
    for name, value in flow.items():
        assert not value[~p.valid].any(), f"{name} at steps that are skipped"


@pytest.mark.parametrize("case", TRACED, ids=str)
def test_carried_is_the_update_gates_part(case: Case) -> None:
    """GRU: what keeps h times dh; an LSTM's c: f * dc; the h of an LSTM or RNN: nothing."""
    d, p = data(case, "float64"), problem(case, "float64")
    flow, _, _ = flow_of(case, d, {})
    seen = expected(case, "float64")
    if case.spec.cell == "gru":
        keep = seen["z"] if case.spec.update_gate == "keep" else 1 - seen["z"]
        wanted = {"carried": keep * flow["dh"]}
    else:
        wanted = {"carried": np.zeros_like(flow["dh"])}
    if case.spec.cell == "lstm":
        wanted["carried_c"] = seen["f"] * flow["dc"]
        slope = seen["o"] * (1 - np.tanh(seen["c"]) ** 2)
        for at in range(cells(case.spec)):
            for b, steps in steps_of(case, p.valid, at):
                later = [flow["carried_c"][b, t, at] for t in steps[1:]] + [d.dstate[1][b, at]]
                for t, back in zip(steps, later, strict=False):
                    whole = flow["dh"][b, t, at] * slope[b, t, at] + back
                    np.testing.assert_allclose(flow["dc"][b, t, at], whole, rtol=1e-12, atol=1e-12)
    for name, value in wanted.items():
        scale = max(1.0, float(np.abs(flow["dh"]).max(initial=0)))
        assert np.abs(flow[name] - value).max(initial=0) <= 1e-12 * scale, name


@EVERY_FORM
@EVERY_DTYPE
def test_the_public_layer(form: dict[str, Any], dtype: str, threads: None) -> None:
    """Named gradients, dy or dstate alone, the same bits on any number of threads and chunks."""
    kind = {"gru": gru.GRU, "lstm": gru.LSTM, "rnn": gru.RNN}[form["cell"]]
    rest = options(Spec(**form, input_size=1, hidden_size=1))
    layer = kind(9, 40, 2, bidirectional=True, **rest, dtype=dtype, seed=1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(17, 40, 9)).astype(dtype)
    mask = rng.random((17, 40)) < 0.8
    assert layer.plan(17, 40, mask=mask, training=True, threads=2).threads == 2
    y, state, tape = layer.forward(x, mask=mask)
    for dy, dstate in ((y, None), (None, state), (y, state)):
        flows = []
        for count in (1, 2, 3):
            gru.set_num_threads(count)
            dx, dfirst, gradients, flow = layer.backward_traced(tape, dy, dstate)
            plain = layer.backward(tape, dy, dstate)
            assert_same_bits(dx, plain[0])
            assert_same_bits(dfirst, plain[1])
            assert gradients.keys() == plain[2].keys() == layer.parameters.keys()
            for name, value in gradients.items():
                assert_same_bits(value, plain[2][name], name)
            flows.append(flow)
        for flow in flows[1:]:
            for name, value in flow.items():
                assert_same_bits(value, flows[0][name], name)


@EVERY_FORM
def test_float32_flows_as_float64(form: dict[str, Any], isa: str) -> None:
    spec = Spec(**form, input_size=4, hidden_size=19, num_layers=2, direction="both")
    case = Case(spec, 4, 12, "mask", True, seed=12)
    d = data(case, "float32")
    wanted, _, _ = flow_of(case, widened(d), ALL)
    for name, value in flow_of(case, d, ALL)[0].items():
        scale = max(1.0, float(np.abs(wanted[name]).max()))
        assert value.dtype == np.float32
        assert np.abs(value - wanted[name]).max() <= 1e-5 * scale, name
