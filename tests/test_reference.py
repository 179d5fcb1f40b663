"""Tests the reference itself: PyTorch where it has the form, numbers by hand, identities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import reference
from reference import Array, Problem, Spec, run

FORMS = [
    Spec("gru", 3, 4),
    Spec("gru", 3, 4, update_gate="new"),
    Spec("gru", 3, 4, reset_after=False),
    Spec("gru", 3, 4, reset_after=False, update_gate="new"),
    Spec("lstm", 3, 4),
    Spec("rnn", 3, 4),
    Spec("rnn", 3, 4, nonlinearity="relu"),
]
STACKED = [replace(f, num_layers=2, direction="both") for f in FORMS]


def problem(spec: Spec, lengths: list[int] | None = None, mask: Any = None) -> Problem:
    rng = np.random.default_rng(7)
    batch, steps = 3, 5
    rows = spec.num_layers * len(spec.reverses)
    states = reference.STATES[spec.cell]

    def state() -> tuple[Array, ...]:
        return tuple(rng.normal(size=(batch, rows, spec.hidden_size)) for _ in range(states))

    return Problem(
        spec,
        {name: rng.normal(size=shape) for name, shape in spec.shapes.items()},
        rng.normal(size=(batch, steps, spec.input_size)),
        state(),
        reference.valid_steps(batch, steps, lengths, mask),
        rng.normal(size=(batch, steps, len(spec.reverses) * spec.hidden_size)),
        state(),
    )


# --- numbers worked by hand: W = 0, so x plays no part and the biases are the gates ---------------

LN3 = math.log(3.0)  # sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4


@pytest.mark.parametrize(
    ("reset_after", "a_n"),
    [
        (True, (1 / 4 * (1 * 1 + 2 * 2), 3 / 4 * (3 * 1 + 4 * 2))),  # r * (U_n h)
        (False, (1 * 1 / 4 + 2 * 6 / 4, 3 * 1 / 4 + 4 * 6 / 4)),  # U_n (r * h)
    ],
)
@pytest.mark.parametrize(
    ("update_gate", "keeps"), [("keep", (3 / 4, 1 / 4)), ("new", (1 / 4, 3 / 4))]
)
def test_gru_by_hand(
    reset_after: bool, a_n: tuple[float, float], update_gate: str, keeps: tuple[float, float]
) -> None:
    # r = (1/4, 3/4), z = (3/4, 1/4), h = (1, 2), U_n = (1 2; 3 4) / 8
    spec = Spec("gru", 1, 2, reset_after=reset_after, update_gate=update_gate)
    params = {
        "weight_ih_l0": np.zeros((6, 1)),
        "weight_hh_l0": np.array([[0, 0], [0, 0], [0, 0], [0, 0], [1, 2], [3, 4]]) / 8,
        "bias_ih_l0": np.array([-LN3, LN3, LN3, -LN3, 0, 0]),
        "bias_hh_l0": np.zeros(6),
    }
    y, (h,) = run(spec, params, np.zeros((1, 1, 1)), (np.array([[[1.0, 2.0]]]),))
    expected = [(1 - keeps[i]) * math.tanh(a_n[i] / 8) + keeps[i] * (1.0, 2.0)[i] for i in range(2)]
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-15)
    np.testing.assert_array_equal(h[0, 0], y[0, 0])


def test_gru_recurrent_bias_of_the_candidate_is_inside_the_reset_product() -> None:
    params = {
        "weight_ih_l0": np.zeros((3, 1)),
        "weight_hh_l0": np.zeros((3, 1)),
        "bias_ih_l0": np.array([-LN3, 0.0, 0.1]),  # r = 1/4, z = 1/2
        "bias_hh_l0": np.array([0.0, 0.0, 2.0]),
    }
    x, h = np.zeros((1, 1, 1)), (np.zeros((1, 1, 1)),)
    after, _ = run(Spec("gru", 1, 1), params, x, h)
    before, _ = run(Spec("gru", 1, 1, reset_after=False), params, x, h)
    assert after.item() == pytest.approx(math.tanh(0.1 + 2.0 / 4) / 2, rel=1e-15)
    assert before.item() == pytest.approx(math.tanh(0.1 + 2.0) / 2, rel=1e-15)


def test_gru_reads_x_and_h_by_gate_rows() -> None:
    spec = Spec("gru", 1, 1, reset_after=False, update_gate="new", bias=False)
    params = {
        "weight_ih_l0": np.array([[1.0], [2.0], [3.0]]),
        "weight_hh_l0": np.array([[0.5], [0.25], [4.0]]),
    }
    x, h = 0.2, -0.6
    r = 1 / (1 + math.exp(-(1.0 * x + 0.5 * h)))
    z = 1 / (1 + math.exp(-(2.0 * x + 0.25 * h)))
    n = math.tanh(3.0 * x + 4.0 * (r * h))
    y, _ = run(spec, params, np.full((1, 1, 1), x), (np.full((1, 1, 1), h),))
    assert y.item() == pytest.approx((1 - z) * h + z * n, rel=1e-14)


def test_lstm_by_hand() -> None:
    # i = 3/4, f = 1/4, g = tanh(1/2), o = 3/4
    params = {
        "weight_ih_l0": np.zeros((4, 1)),
        "weight_hh_l0": np.zeros((4, 1)),
        "bias_ih_l0": np.array([LN3, 0.0, 0.5, 0.0]),
        "bias_hh_l0": np.array([0.0, -LN3, 0.0, LN3]),
    }
    state = (np.full((1, 1, 1), 9.0), np.full((1, 1, 1), 2.0))
    y, (h, c) = run(Spec("lstm", 1, 1), params, np.zeros((1, 1, 1)), state)
    assert c.item() == pytest.approx(2.0 / 4 + 3 / 4 * math.tanh(0.5), rel=1e-15)
    assert h.item() == y.item() == pytest.approx(3 / 4 * math.tanh(c.item()), rel=1e-15)


@pytest.mark.parametrize(
    ("nonlinearity", "f"), [("tanh", math.tanh), ("relu", lambda a: max(a, 0))]
)
@pytest.mark.parametrize("x", [0.5, -0.5])
def test_rnn_by_hand(nonlinearity: str, f: Any, x: float) -> None:
    params = {
        "weight_ih_l0": np.array([[2.0]]),
        "weight_hh_l0": np.array([[0.5]]),
        "bias_ih_l0": np.array([0.125]),
        "bias_hh_l0": np.array([0.25]),
    }
    spec = Spec("rnn", 1, 1, nonlinearity=nonlinearity)
    y, _ = run(spec, params, np.full((1, 2, 1), x), (np.ones((1, 1, 1)),))
    first = f(2 * x + 0.5 * 1 + 0.375)
    np.testing.assert_allclose(y[0, :, 0], [first, f(2 * x + 0.5 * first + 0.375)], rtol=1e-15)


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reset_after", [True, False])
def test_update_gates_are_one_function_with_z_rows_negated(reset_after: bool) -> None:
    keep = problem(Spec("gru", 3, 4, 2, "both", reset_after=reset_after))
    negated = {name: v.copy() for name, v in keep.params.items()}
    for v in negated.values():
        v[4:8] *= -1
    y, (h,) = run(keep.spec, keep.params, keep.x, keep.state)
    y_new, (h_new,) = run(replace(keep.spec, update_gate="new"), negated, keep.x, keep.state)
    np.testing.assert_allclose(y_new, y, rtol=0, atol=1e-14)
    np.testing.assert_allclose(h_new, h, rtol=0, atol=1e-14)


@pytest.mark.parametrize("spec", FORMS)
def test_reverse_is_forward_on_flipped_steps(spec: Spec) -> None:
    p = problem(spec)
    y, state = run(spec, p.params, p.x[:, ::-1], p.state)
    y_rev, state_rev = run(replace(spec, direction="reverse"), p.params, p.x, p.state)
    np.testing.assert_array_equal(y_rev, y[:, ::-1])
    np.testing.assert_array_equal(state_rev, state)


@pytest.mark.parametrize("spec", STACKED)
def test_mask_is_deletion_of_steps(spec: Spec) -> None:
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]], bool)
    p = problem(spec, mask=mask)
    y, state = run(spec, p.params, p.x, p.state, p.valid)
    for b, there in enumerate(mask):
        one = slice(b, b + 1)
        y_b, state_b = run(spec, p.params, p.x[one, there], tuple(s[one] for s in p.state))
        np.testing.assert_allclose(y[one, there], y_b, rtol=1e-13, atol=1e-14)
        np.testing.assert_array_equal(y[b, ~there], 0)
        for s, s_b in zip(state, state_b, strict=True):
            np.testing.assert_allclose(s[one], s_b, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(state[0][1], p.state[0][1])


@pytest.mark.parametrize("spec", FORMS)
def test_complex_step_agrees_with_central_differences(spec: Spec) -> None:
    p = problem(spec, lengths=[5, 0, 3])
    rng = np.random.default_rng(3)
    for name, value in p.inputs.items():
        v = rng.normal(size=value.shape)
        slope = p.slopes(name, v[None])[0]
        ahead = p.loss({name: value + 1e-6 * v})
        behind = p.loss({name: value - 1e-6 * v})
        assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-6, abs=1e-7), name


def test_longdouble_and_float64_agree() -> None:
    p = problem(STACKED[0])
    wide = {name: v.astype(np.longdouble) for name, v in p.params.items()}
    y, _ = run(p.spec, p.params, p.x, p.state)
    y_wide, _ = run(p.spec, wide, p.x.astype(np.longdouble), p.state)
    assert y_wide.dtype == np.longdouble
    np.testing.assert_allclose(y, y_wide.astype(float), rtol=0, atol=1e-14)


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [s for s in FORMS + STACKED if s.reset_after and s.update_gate == "keep"]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
def test_against_torch(spec: Spec, bias: bool, lengths: list[int] | None) -> None:
    torch = pytest.importorskip("torch")
    spec = replace(spec, bias=bias)
    p = problem(spec, lengths)
    options = {"nonlinearity": spec.nonlinearity} if spec.cell == "rnn" else {}
    net = getattr(torch.nn, spec.cell.upper())(
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        bias=bias,
        bidirectional=spec.direction == "both",
        batch_first=True,
        dtype=torch.float64,
        **options,
    )
    net.load_state_dict({name: torch.from_numpy(v) for name, v in p.params.items()})
    leaves = {
        name: torch.from_numpy(np.swapaxes(v, 0, 1).copy() if "state" in name else v.copy())
        for name, v in p.inputs.items()
        if name not in p.params
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    states = [leaves[f"state{i}"] for i in range(len(p.state))]
    x = leaves["x"]
    if lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    y, final = net(x, states[0] if len(states) == 1 else tuple(states))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    finals = [final] if len(states) == 1 else list(final)
    loss = (y * torch.from_numpy(p.dy)).sum()
    for s, ds in zip(finals, p.dstate, strict=True):
        loss = loss + (s * torch.from_numpy(np.swapaxes(ds, 0, 1).copy())).sum()
    loss.backward()

    y_ref, final_ref = run(spec, p.params, p.x, p.state, p.valid)
    np.testing.assert_allclose(y_ref, y.detach().numpy(), rtol=1e-14, atol=1e-14)
    for s_ref, s in zip(final_ref, finals, strict=True):
        np.testing.assert_allclose(
            s_ref, np.swapaxes(s.detach().numpy(), 0, 1), rtol=1e-14, atol=1e-14
        )
    grads = {name: w.grad.numpy() for name, w in net.named_parameters()}
    for name, leaf in leaves.items():
        grad = leaf.grad.numpy()
        grads[name] = np.swapaxes(grad, 0, 1) if "state" in name else grad
    for name, grad in grads.items():
        np.testing.assert_allclose(p.gradient(name), grad, rtol=1e-11, atol=1e-12, err_msg=name)
