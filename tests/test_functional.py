"""The functions (gru_forward and its sisters) against layers and the reference."""

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
    as_tuple,
    assert_same_bits,
    data,
    function_arguments,
    functions,
    make_layer,
    options,
    problem,
)
from reference import Spec

SPECS = [Spec(**form, input_size=5, hidden_size=7) for form in FORMS]
EVERY_CASE = pytest.mark.parametrize(
    "case",
    [
        Case(replace(spec, bias=bias), 4, 9, padding, has_state, seed=i)
        for i, spec in enumerate(SPECS)
        for bias, padding, has_state in (
            (True, "full", True),
            (False, "lengths", True),
            (True, "mask", False),
        )
    ],
    ids=str,
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EVERY_CASE
def test_functions_are_a_layer_of_one(case: Case, dtype: str) -> None:
    d, spec = data(case, dtype), case.spec
    forward, train, backward = functions(spec)
    arguments = function_arguments(spec, d.params)
    call: dict[str, Any] = {"state": as_state(d.state), **d.where}
    layer = make_layer(spec, d.params)
    y, state, tape = layer.forward(d.x, **call)
    for found in (
        forward(d.x, **arguments, **call, **options(spec)),
        train(d.x, **arguments, **call, **options(spec))[:2],
    ):
        assert_same_bits(found[0], y, "y")
        assert_same_bits(found[1], state, "state")

    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    function_tape = train(d.x, **arguments, **call, **options(spec))[2]
    found = backward(function_tape, d.dy, as_state(d.dstate))
    assert set(found) == {"x", "state", *arguments}
    assert_same_bits(found["x"], dx, "dx")
    assert_same_bits(found["state"], dstate, "dstate")
    for name, argument in zip(grads, arguments, strict=True):
        assert_same_bits(found[argument], grads[name], name)


@EVERY_CASE
def test_reverse(case: Case) -> None:
    """Against the reference, and against forward on the valid steps flipped."""
    case = replace(case, spec=replace(case.spec, direction="reverse"))
    d, p = data(case, "float64"), problem(case, "float64")
    forward, train, backward = functions(case.spec)
    arguments = function_arguments(case.spec, d.params)
    call: dict[str, Any] = {"state": as_state(d.state), **options(case.spec)}
    y, state, tape = train(d.x, **arguments, **call, **d.where, reverse=True)
    y_ref, state_ref = reference.run(p.spec, p.params, p.x, p.state, p.valid)
    np.testing.assert_allclose(y, y_ref, rtol=1e-12, atol=1e-13)
    for s, s_ref in zip(as_tuple(state), state_ref, strict=True):
        np.testing.assert_allclose(s, s_ref, rtol=1e-12, atol=1e-13)
    grads = backward(tape, d.dy, as_state(d.dstate))
    for name, argument in zip(d.params, arguments, strict=True):
        np.testing.assert_allclose(grads[argument], p.gradient(name), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(grads["x"], p.gradient("x"), rtol=1e-9, atol=1e-10)

    for b, there in enumerate(p.valid):
        one = slice(b, b + 1)
        first = None if d.state is None else as_state(tuple(s[one] for s in d.state))
        flipped = d.x[one, there][:, ::-1]
        y_b, state_b = forward(flipped, **arguments, **{**call, "state": first})
        assert_same_bits(np.ascontiguousarray(y[one, there]), np.ascontiguousarray(y_b[:, ::-1]))
        for s, s_b in zip(as_tuple(state), as_tuple(state_b), strict=True):
            assert_same_bits(s[one].copy(), s_b)


def test_defaults_are_those_of_pytorch() -> None:
    rng = np.random.default_rng(0)
    x, w, u = (rng.normal(size=s) for s in ((2, 3, 4), (15, 4), (15, 5)))
    y, state = gru.gru_forward(x, w, u)
    assert (y.shape, state.shape) == ((2, 3, 5), (2, 1, 5))
    params = {"weight_ih_l0": w, "weight_hh_l0": u}
    y_ref, _ = reference.run(Spec("gru", 4, 5, bias=False), params, x)
    np.testing.assert_allclose(y, y_ref, rtol=0, atol=1e-14)
    assert_same_bits(gru.gru_forward(x, w, u, reset_after=True, update_gate="keep")[0], y)
    assert gru.lstm_forward(x, w[:12].repeat(1, 0), u[:12, :3].copy())[0].shape == (2, 3, 3)
    assert gru.rnn_forward(x, w[:3], u[:3, :3].copy())[1].shape == (2, 1, 3)


def test_gradients_left_out_are_zero() -> None:
    rng = np.random.default_rng(1)
    x, w, u = (rng.normal(size=s) for s in ((2, 3, 4), (15, 4), (15, 5)))
    y, state, tape = gru.gru_forward_train(x, w, u)
    dy, dstate = rng.normal(size=y.shape), rng.normal(size=state.shape)
    for given, zeros in (
        (gru.gru_backward(tape, dy), gru.gru_backward(tape, dy, np.zeros_like(state))),
        (gru.gru_backward(tape, None, dstate), gru.gru_backward(tape, np.zeros_like(y), dstate)),
    ):
        for name, grad in given.items():
            np.testing.assert_array_equal(grad, zeros[name], err_msg=name)


def test_a_tape_of_another_cell_is_refused() -> None:
    y, _, tape = gru.rnn_forward_train(np.ones((1, 2, 3)), np.ones((4, 3)), np.ones((4, 4)))
    with pytest.raises((ValueError, TypeError), match="tape"):
        gru.gru_backward(tape, y)
