"""Gradients through time against complex steps of the reference; memory and idle units as defined.

The reference is nudged: a small imaginary number is added to one state, either after a step
(which gives all of dL/dh_t), or only where the step carries the old state over, or only where gates
and candidate read it. Each nudge gives one part of the gradient by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import EVERY_FORM, Case, data, make_layer
from gru.diagnostics import Units, gradient_flow, half_life, units
from reference import Array, Spec, Weights, affine, gates, sigmoid

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def kept(spec: Spec, p: Weights, x: Array, h: Array) -> Array:
    """The share of the carried state that a step keeps."""
    a = affine(x, p.w, p.b_i) + affine(h, p.u, p.b_h)
    if spec.cell == "rnn":
        return np.zeros_like(h)
    if spec.cell == "lstm":
        return sigmoid(gates(a, 4)[1])
    z = sigmoid(gates(a, 3)[1])
    return z if spec.update_gate == "keep" else 1 - z


def stepped(spec: Spec, p: Weights, x: Array, state: Any, nudge: str, e: Array) -> Any:
    """One step of the reference with a nudge ``e`` at one of its places."""
    before = state[0].real
    new = list(reference.step(spec, p, x, state)[1])
    if nudge == "after":
        new[0] = new[0] + e
    elif nudge == "gates":  # a nudge of all that the step reads, less what it carries
        new[:] = reference.step(spec, p, x, (state[0] + e, *state[1:]))[1]
        if spec.cell == "gru":
            new[0] = new[0] - kept(spec, p, x, before) * e
    elif nudge == "carried" and spec.cell == "gru":
        new[0] = new[0] + kept(spec, p, x, before) * e
    elif nudge in ("memory", "carried memory"):  # of an LSTM: h' = o tanh(c') follows c'
        out = new[0] / np.tanh(new[1])
        new[1] = new[1] + (e if nudge == "memory" else kept(spec, p, x, before) * e)
        new[0] = out * np.tanh(new[1])
    return tuple(new)


def nudged(spec: Spec, d: Any, valid: Array, row: int, nudge: str) -> Array:
    """dL along a nudge of every unit at every step of one cell: (B, T, H)."""
    batch, steps = valid.shape
    size, reverses = spec.hidden_size, spec.reverses
    e = 1j * reference.STEP * np.eye(steps * size).reshape(-1, 1, steps, size)
    x = d.x
    for level, ends in enumerate(spec.suffixes()):
        outputs = []
        for place, (end, reverse) in enumerate(zip(ends, reverses, strict=True)):
            p = Weights(*(d.params[f"{n}{end}"] for n in NAMES))
            state: Any = (np.zeros((batch, size)),) * reference.STATES[spec.cell]
            y: list[Any] = [None] * steps
            for t in reversed(range(steps)) if reverse else range(steps):
                here = level * len(reverses) + place == row
                how, by = (nudge, e[:, :, t]) if here else ("", 0.0)
                new = stepped(spec, p, x[..., t, :], state, how, by)
                there = valid[:, t, None]
                state = tuple(np.where(there, n, s) for n, s in zip(new, state, strict=True))
                y[t] = np.where(there, state[0], 0)
            outputs.append(np.stack(np.broadcast_arrays(*y), axis=-2))
        x = reference.concatenate(outputs)
    slopes = (x * d.dy).sum(axis=(-2, -1)).imag / reference.STEP  # (T * H, B)
    return np.broadcast_to(slopes, (steps * size, batch)).T.reshape(batch, steps, size)


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def weighted_sum(prediction: Array, target: Array, **which: Any) -> tuple[float, Array]:
    """A loss with a gradient that is known: the target."""
    return float((prediction * target).sum()), target


def moved(at_step: Array, valid: Array, reverse: bool) -> Array:
    """What a step hands back, at the place of the state that it belongs to."""
    found = np.zeros_like(at_step)
    for b, row in enumerate(valid):
        order = np.flatnonzero(row)[:: -1 if reverse else 1]
        for state, step in pairwise(order):
            found[b, state] = at_step[b, step]
    return found


@EVERY_FORM
@pytest.mark.parametrize("padding", ["full", "lengths", "mask"])
@pytest.mark.parametrize(("layers", "direction"), [(1, "forward"), (2, "both")])
def test_every_part_is_the_derivative_along_its_way(
    form: dict[str, Any], padding: str, layers: int, direction: str
) -> None:
    spec = Spec(**form, input_size=2, hidden_size=3, num_layers=layers, direction=direction)
    case = Case(spec, 3, 6, padding, False, seed=7)
    d = data(case, "float64")
    valid = reference.valid_steps(3, 6, d.lengths, d.mask)
    layer = make_layer(spec, d.params)
    flow = gradient_flow(layer, d.x, d.dy, loss=weighted_sum, **d.where)
    top = (layers - 1) * len(spec.reverses)
    by_name = {(state.name, state.state): state for state in flow.states}
    for row in range(layers * len(spec.reverses)):
        reverse = bool(row % len(spec.reverses))
        name = f"0.l{row // len(spec.reverses)}" + "_reverse" * reverse
        h = by_name[name, "h"]
        assert (h.cell, h.reverse) == (spec.cell, reverse)
        there = np.where(valid[..., None], 1.0, 0.0)
        assert np.array_equal(h.valid, valid)

        def along(nudge: str, at: int = row, reverse: bool = reverse) -> Array:
            found = nudged(spec, d, valid, at, nudge) * there  # noqa: B023
            return found if nudge in ("after", "memory") else moved(found, valid, reverse)

        wanted = {"total": along("after"), "carried": along("carried"), "through": along("gates")}
        for part, gradient in wanted.items():
            np.testing.assert_allclose(getattr(h, part), gradient, **CLOSE, err_msg=part)
        if spec.cell != "gru":
            assert not h.carried.any()
        whole = h.carried + h.through + h.direct
        np.testing.assert_allclose(whole, h.total, rtol=1e-6, atol=1e-12)
        own = d.dy[..., 3 * (row - top) : 3 * (row - top + 1)] * there
        if row >= top:
            np.testing.assert_allclose(h.direct, own, **CLOSE)
        if spec.cell == "lstm":
            c = by_name[name, "c"]
            np.testing.assert_allclose(c.total, along("memory"), **CLOSE)
            np.testing.assert_allclose(c.carried, along("carried memory"), **CLOSE)
            np.testing.assert_allclose(c.carried + c.through + c.direct, c.total, **CLOSE)
            if row >= top:
                trace = layer.trace(d.x, **d.where)
                o, memory = trace["o"][:, :, row], trace["c"][:, :, row]
                by_output = o * (1 - np.tanh(memory) ** 2) * own
                np.testing.assert_allclose(c.direct, by_output, **CLOSE)


def model_of(kind: Any, dtype: str = "float64", size: int = 6, **options: Any) -> Any:
    layers = [kind(2, size, seed=0, dtype=dtype, **options), gru.Last()]
    return gru.Sequential([*layers, gru.Linear(size, 1, seed=1, dtype=dtype)])


@pytest.mark.parametrize(
    ("kind", "keep"), [(gru.GRU, 0.0), (gru.GRU, 3.0), (gru.GRU, 9.0), (gru.LSTM, 0), (gru.LSTM, 3)]
)
def test_in_float32_the_parts_make_the_true_gradient(kind: Any, keep: float) -> None:
    """That of float64, whose parts are those of the reference; ``keep`` opens the carrying gate.

    What goes through is a difference: its error is a part of what is carried, not of itself. (An
    LSTM's memory behind an open gate grows with every step, and float32's own rounding with it.)
    """
    exact, rounded = (model_of(kind, dtype) for dtype in ("float64", "float32"))
    rounded.layers[0].parameters["bias_ih_l0"][6:12] += keep
    for name, block in exact.blocks().items():
        block[...] = rounded.blocks()[name]
    X, y = gru.datasets.adding(8, 60, seed=0)
    true, found = (gradient_flow(m, X, y, loss="mse").memory[0] for m in (exact, rounded))
    whole = found.carried.astype(float) + found.through + found.direct
    np.testing.assert_allclose(whole, true.total, rtol=0, atol=1e-6 * np.abs(true.total).max())
    error = np.abs(found.through - true.through).max(axis=(0, 2))
    assert (error <= 1e-6 * np.abs(true.total).max(axis=(0, 2))).all()
    if keep == 9:
        assert true.norm("through")[1:].max() < 1e-3 * true.norm("carried")[1:].min()


@pytest.mark.parametrize("options", [{}, {"zoneout": 0.2}, {"recurrent_dropout": 0.3}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [gru.GRU, gru.LSTM, gru.RNN])
def test_what_is_carried_and_what_goes_through_make_the_whole(
    kind: Any, dtype: str, options: dict[str, float]
) -> None:
    """With a loss on the last step only; its own gradient there is the output layer's."""
    model = model_of(kind, dtype, **options)
    X, y = gru.datasets.adding(8, 40, seed=0)
    flow = gradient_flow(model, X, y, loss="mse")
    for state in flow.states:
        whole = state.carried + state.through
        size = np.abs(state.total[:, :-1]).max()
        assert size > 0
        np.testing.assert_allclose(whole[:, :-1], state.total[:, :-1], rtol=0, atol=1e-6 * size)
        assert not state.direct[:, :-1].any()
    if not options:
        prediction = model(X.astype(dtype))
        value, slope = gru.losses.mse(prediction, y)
        assert flow.loss == pytest.approx(value, rel=1e-6)
        h = flow.states[0]
        last = slope @ model.parameters["2.weight"]
        np.testing.assert_allclose(h.total[:, -1], last, rtol=1e-5)
        norm = np.linalg.norm(last.astype(np.float64)) / np.sqrt(8)
        assert h.norm()[0] == pytest.approx(norm, rel=1e-6)


def test_a_list_is_as_an_array_with_lengths_and_layers_are_as_a_model() -> None:
    """Also behind an embedding, and with one class a step."""
    rng = np.random.default_rng(0)
    lengths = [4, 7, 1]
    X = [rng.integers(0, 5, n) for n in lengths]
    y = [rng.integers(0, 3, n) for n in lengths]
    padded, steps = gru.data.pad(X)
    targets, _ = gru.data.pad(y)
    layers = [gru.Embedding(5, 4, seed=0), gru.GRU(4, 6, seed=0), gru.Dropout(0.0)]
    model = gru.Sequential([*layers, gru.LSTM(6, 5, seed=0), gru.Linear(5, 3, seed=0)])
    ragged, dense = (
        gradient_flow(model, X, y),
        gradient_flow(model, padded, targets, lengths=steps),
    )
    assert [s.name + s.state for s in ragged.states] == ["1.l0h", "3.l0h", "3.l0c"]
    assert [s.name + s.state for s in ragged.memory] == ["1.l0h", "3.l0c"]
    for a, b in zip(ragged.states, dense.states, strict=True):
        for part in ("total", "carried", "through", "direct"):
            assert np.array_equal(getattr(a, part), getattr(b, part))
    value, _ = gru.losses.cross_entropy(model(padded, lengths=steps), targets, lengths=steps)
    assert ragged.loss == pytest.approx(value, rel=1e-6)
    assert str(ragged).splitlines()[0] == f"loss {value:.4g}"
    assert str(ragged).splitlines()[2].startswith("1.l0 gru           h")


# --- norms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_norms_are_counted_from_the_last_step_read(reverse: bool) -> None:
    rng = np.random.default_rng(0)
    valid = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
    parts = [rng.normal(size=(3, 5, 2)) for _ in range(4)]
    state = gru.diagnostics.StateFlow("0.l0", "gru", "h", *parts, valid=valid, reverse=reverse)
    wanted = np.full((3, 4), np.nan)
    for b in range(3):
        read = np.flatnonzero(valid[b])[:: -1 if reverse else 1]
        for back, t in enumerate(read[::-1]):
            wanted[b, back] = np.linalg.norm(parts[1][b, t])
    np.testing.assert_allclose(state.norm("carried", per_sequence=True), wanted)
    together = np.sqrt(np.nanmean(wanted**2, axis=0))
    np.testing.assert_allclose(state.norm("carried"), together)


def test_the_rnn_forgets_what_the_gated_cells_carry() -> None:
    """With gates that are open: the gradient of 200 steps ago is there, in the RNN it is not."""
    X, y = gru.datasets.adding(8, 200, seed=0)
    plain, gated, memory = model_of(gru.RNN), model_of(gru.GRU), model_of(gru.LSTM)
    gated.parameters["0.bias_ih_l0"][6:12] = 7  # z near 1 keeps
    memory.parameters["0.bias_ih_l0"][6:12] = 7  # and so does f
    reach = {}
    for model in (plain, gated, memory):
        (state,) = gradient_flow(model, X, y, loss="mse").memory
        norms = state.norm()
        reach[state.cell] = state.reach()
        if state.cell != "rnn":
            assert 0.3 < norms[-1] / norms[0] < 3
    assert reach == {"gru": 199, "lstm": 199, "rnn": pytest.approx(30, abs=20)}


def test_reach_is_the_last_step_above_the_floor() -> None:
    total = np.array([0.5, 0.0, 3e-3, 1e-9, 1.0])[None, :, None]  # in time: the last one first
    state = gru.diagnostics.StateFlow(
        "0.l0", "gru", "h", total, total, total, total, np.ones((1, 5), bool)
    )
    assert state.reach() == 4
    assert replace(state, total=total * [[[0], [1], [1], [1], [1]]]).reach() == 2
    assert replace(state, total=total * [[[0], [1], [1], [1], [1]]]).reach(1e-2) == 0
    assert replace(state, total=total * 0).reach() == 0
    with pytest.raises(ValueError, match="floor must be between 0 and 1, got 2"):
        state.reach(2)


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("update_gate", ["keep", "new"])
def test_after_its_half_life_half_of_a_unit_is_left(update_gate: str) -> None:
    layer = gru.GRU(1, 2, update_gate=update_gate, seed=0, dtype="float64")
    sign = 1 if update_gate == "keep" else -1
    for value in layer.parameters.values():
        value[...] = 0
    layer.parameters["bias_ih_l0"][2:4] = np.array([2.0, 5.0]) * sign
    x = np.zeros((1, 300, 1))
    (report,) = units(layer, x)
    left, _ = layer(x, np.ones((1, 1, 2)))  # the candidate is 0: the state only decays
    steps = np.arange(1, 301)[:, None]
    np.testing.assert_allclose(left[0], 0.5 ** (steps / report.half_life), rtol=1e-9)


def test_the_half_life_of_an_lstm_is_its_memory_and_of_an_rnn_nothing() -> None:
    layer = gru.LSTM(1, 2, seed=0, dtype="float64")
    for value in layer.parameters.values():
        value[...] = 0
    layer.parameters["bias_hh_l0"][2:4] = [2.0, 5.0]
    x, zeros = np.zeros((1, 300, 1)), np.zeros((1, 1, 2))
    (report,) = units(layer, x)
    _, (_, c) = layer(x, (zeros, np.ones((1, 1, 2))))
    np.testing.assert_allclose(c[0, 0], 0.5 ** (300 / report.half_life), rtol=1e-9)
    (report,) = units(gru.RNN(1, 2, seed=0), x)
    assert report.half_life.tolist() == [0.0, 0.0]


def test_half_life_is_by_the_geometric_mean_of_steps_that_count() -> None:
    keep = np.array([[[0.5, 1.0, 0.0], [0.125, 1.0, 0.9], [0.3, 0.0, 0.9]]])
    valid = np.array([[True, True, False]])
    np.testing.assert_allclose(half_life(keep, valid), [0.5, np.inf, 0.0])
    assert np.isnan(half_life(keep, ~np.ones((1, 3), bool))).all()
    np.testing.assert_allclose(half_life(keep[..., :1]), -np.log(2) / np.log(keep[..., 0]).mean())


def test_dead_and_saturated_units() -> None:
    layer = gru.GRU(2, 3, seed=0, dtype="float64")
    for name in ("bias_ih_l0", "bias_hh_l0"):
        layer.parameters[name][...] = 0
    for name in ("weight_ih_l0", "weight_hh_l0"):
        layer.parameters[name][0::3] = 0  # the first unit of every gate reads nothing
    layer.parameters["bias_ih_l0"][2] = -20  # r of the last unit is shut
    layer.parameters["bias_ih_l0"][4] = 20  # z of the second keeps: the unit never moves
    x = np.random.default_rng(0).normal(size=(4, 30, 2))
    (report,) = units(layer, x)
    assert report.dead.tolist() == [True, True, False]
    assert {k: v.tolist() for k, v in report.saturated.items()} == {
        "r": [False, False, True],
        "z": [False, True, False],
    }
    trace = layer.trace(x)
    np.testing.assert_allclose(report.deviation, trace["h"][:, :, 0].std(axis=(0, 1)))
    share = ((trace["r"] < 0.1) | (trace["r"] > 0.9))[:, :, 0].mean(axis=(0, 1))
    np.testing.assert_allclose(report.saturation["r"], share)
    (loose,) = units(layer, x, dead_below=10, saturated_above=0.0)
    assert loose.dead.all()
    assert np.array_equal(loose.saturated["r"], share > 0)


def test_steps_that_do_not_count_are_not_seen() -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 2)).astype(np.float32)
    longer = np.concatenate([x, np.full((2, 4, 2), 50, np.float32)], axis=1)
    layer = gru.LSTM(2, 3, 2, bidirectional=True, seed=0)
    short, padded = units(layer, x), units(layer, longer, lengths=[9, 9])
    assert [report.name for report in short] == ["0.l0", "0.l0_reverse", "0.l1", "0.l1_reverse"]
    for a, b in zip(short, padded, strict=True):
        assert np.array_equal(a.half_life, b.half_life)
        assert np.array_equal(a.deviation, b.deviation)
        assert all(np.array_equal(a.saturation[g], b.saturation[g]) for g in ("i", "f", "o"))


@pytest.mark.parametrize(("nonlinearity", "gates"), [("tanh", ["n"]), ("relu", [])])
def test_a_plain_rnn_saturates_in_its_state(nonlinearity: str, gates: list[str]) -> None:
    layer = gru.RNN(1, 3, nonlinearity=nonlinearity, seed=0)
    layer.parameters["bias_ih_l0"][:] = [0, 9, -9]
    (report,) = units(layer, np.zeros((1, 20, 1)))
    assert isinstance(report, Units)
    assert list(report.saturation) == gates
    if gates:
        assert report.saturated["n"].tolist() == [False, True, True]


X3 = np.zeros((2, 3, 2))


def a_state() -> Any:
    return gradient_flow(model_of(gru.RNN), X3, [[1.0]] * 2, loss="mse").states[0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: units(3, X3), TypeError, "model must be a gru.Sequential or a gru layer, got 3"),
        (lambda: units(gru.Linear(2, 1), X3), ValueError, "model must have a recurrent layer"),
        (lambda: units(gru.GRU(2, 1), X3[:0]), ValueError, "X must hold at least one sequence"),
        (lambda: units(gru.GRU(2, 1), X3[:, :0]), ValueError, "at least one step that counts"),
        (lambda: units(gru.GRU(2, 1), X3, lengths=[0, 0]), ValueError, "at least one step that"),
        (
            lambda: units(gru.GRU(2, 1), X3 * np.nan),
            ValueError,
            r"X must be finite, got nan at X\[",
        ),
        (
            lambda: units(gru.GRU(2, 1), X3, dead_below="a"),
            TypeError,
            "dead_below must be a number",
        ),
        (lambda: units(gru.GRU(3, 1), X3), ValueError, "x must have"),
        (lambda: gradient_flow(model_of(gru.GRU), X3, [1.0]), ValueError, "y must have one entry"),
        (
            lambda: gradient_flow(model_of(gru.GRU), X3, [1.0, 2.0], loss="abs"),
            ValueError,
            "loss must be one of",
        ),
        (
            lambda: gradient_flow(model_of(gru.GRU), X3, [1.0, 2.0]),
            TypeError,
            "target must hold integer classes",
        ),
        (lambda: half_life([0.5]), ValueError, r"keep must have shape \(B, T, H\), got \(1,\)"),
        (lambda: half_life([[[2.0]]]), ValueError, r"keep must lie in \[0, 1\]"),
        (lambda: half_life([[["a"]]]), TypeError, "keep must hold numbers"),
        (lambda: half_life([[[0.5]]], [1]), ValueError, r"valid must be bool of shape \(B, T\)"),
        (
            lambda: a_state().norm("x"),
            ValueError,
            "part must be one of 'total', 'carried', 'through', 'direct', got 'x'",
        ),
    ],
)
def test_what_cannot_be_traced_is_refused(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()
