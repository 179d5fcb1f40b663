"""Layers against the reference over a random sweep of configurations, at every ISA level."""

from __future__ import annotations

import numpy as np
import pytest

from cases import (
    Case,
    as_state,
    as_tuple,
    assert_same_bits,
    cases,
    data,
    expected,
    function_arguments,
    functions,
    make_layer,
    options,
    problem,
)
from reference import Array

CASES = list(cases(630, seed=1, large=0.3))

# float64 relative; float32 absolute, relative where values grow beyond one.
TOLERANCE = {"float64": 1e-12, "float32": 2e-6}


def assert_close(actual: Array, wanted: Array, tolerance: float, scale: float, what: str) -> None:
    assert actual.shape == wanted.shape
    worst = float(np.abs(actual - wanted).max(initial=0))
    assert worst <= tolerance * scale, f"{what}: off by {worst}, values up to {scale}"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case: Case, dtype: str, isa: str) -> None:
    d, spec = data(case, dtype), case.spec
    call = {"state": as_state(d.state), **d.where}
    if spec.direction == "reverse":
        forward, train, _ = functions(spec)
        call.update(function_arguments(spec, d.params), **options(spec), reverse=True)
        y, state = forward(d.x, **call)
        trained = train(d.x, **call)
    else:
        layer = make_layer(spec, d.params)
        y, state = layer(d.x, **call)
        trained = layer.forward(d.x, **call)
        layer.freeze()
        frozen = layer(d.x, **call)
        assert_same_bits(frozen[0], y, "frozen y")
        assert_same_bits(frozen[1], state, "frozen state")
    assert_same_bits(trained[0], y, "training y")
    assert_same_bits(trained[1], state, "training state")

    y_ref, state_ref = expected(case, dtype)
    assert y.dtype == dtype
    assert np.all(y[~problem(case, dtype).valid] == 0)
    tolerance = TOLERANCE[dtype]
    largest = max(float(np.abs(v).max(initial=0)) for v in (y_ref, *state_ref))
    scale = largest if dtype == "float64" else max(1.0, largest)
    for t in range(case.steps):
        assert_close(y[:, t], y_ref[:, t], tolerance, scale, f"y at step {t}")
    for s, s_ref in zip(as_tuple(state), state_ref, strict=True):
        assert s.dtype == dtype
        assert_close(s, s_ref, tolerance, scale, "state")


SATURATING = [
    case
    for case in cases(60, seed=4, large=0.5)
    if case.spec.nonlinearity == "tanh" and case.spec.direction != "reverse"
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", SATURATING, ids=str)
def test_forward_with_saturated_gates(case: Case, dtype: str, isa: str) -> None:
    """x a thousand times larger: gates are 0 or 1 and nothing overflows."""
    d, spec = data(case, dtype), case.spec
    layer = make_layer(spec, d.params)
    y, state = layer(d.x * 1000, state=as_state(d.state), **d.where)
    assert np.all(np.isfinite(y))
    assert all(np.all(np.isfinite(s)) for s in as_tuple(state))
