"""Engine gradients against complex-step derivatives of the reference, at every ISA level."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from cases import (
    Case,
    Data,
    as_state,
    as_tuple,
    assert_same_bits,
    cases,
    data,
    function_arguments,
    functions,
    make_layer,
    options,
    problem,
    widened,
)
from derivatives import Slopes, assert_slopes, slopes_of
from reference import Array

# Small arrays are checked entry by entry, larger ones by sample: see derivatives.directions.
CASES = list(cases(525, seed=2, large=0.0)) + list(cases(70, seed=3, large=0.35))


@cache
def slopes(case: Case, dtype: str) -> Slopes:
    return slopes_of(problem(case, dtype), case.seed)


def engine_gradients(case: Case, d: Data) -> dict[str, Array]:
    """Under the reference's names; a backward repeated gives the same bits."""
    spec = case.spec
    call = {"state": as_state(d.state), **d.where}
    if spec.direction == "reverse":
        _, train, backward = functions(spec)
        arguments = function_arguments(spec, d.params)
        _, _, tape = train(d.x, **arguments, **call, **options(spec), reverse=True)
        found = backward(tape, d.dy, as_state(d.dstate))
        assert set(found) == {*arguments, "x", "state"}
        grads = {name: found[argument] for name, argument in zip(d.params, arguments, strict=True)}
        dx, dstate = found["x"], found["state"]
    else:
        layer = make_layer(spec, d.params)
        _, _, tape = layer.forward(d.x, **call)
        dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
        assert list(grads) == list(layer.parameters)
        again = layer.backward(tape, d.dy, as_state(d.dstate))
        assert_same_bits(again[0], dx, "dx again")
        assert_same_bits(again[1], dstate, "dstate again")
        for name, grad in again[2].items():
            assert_same_bits(grad, grads[name], f"{name} again")
    states = {f"state{i}": s for i, s in enumerate(as_tuple(dstate))}
    return {**grads, "x": dx, **states}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(case: Case, isa: str) -> None:
    p = problem(case, "float64")
    found = engine_gradients(case, data(case, "float64"))
    assert_slopes(found, slopes(case, "float64"))
    assert np.all(found["x"][~p.valid] == 0)


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_float32_gradients(case: Case, isa: str) -> None:
    """Against the float64 engine on the same numbers: 1e-5 of the largest entry, or of one."""
    wanted = wide_gradients(case)
    for name, grad in engine_gradients(case, data(case, "float32")).items():
        assert grad.dtype == np.float32
        scale = max(1.0, float(np.abs(wanted[name]).max(initial=0)))
        worst = float(np.abs(grad - wanted[name]).max(initial=0))
        assert worst <= 1e-5 * scale, f"{name}: off by {worst}, values up to {scale}"


@cache
def wide_gradients(case: Case) -> dict[str, Array]:
    """Float64 gradients of the engine on the numbers of float32."""
    return engine_gradients(case, widened(data(case, "float32")))
