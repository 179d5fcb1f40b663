"""Layers of every form with a batch, and the arguments of its call; tests nothing."""

from __future__ import annotations

from typing import Any

from cases import (
    Case,
    Data,
    as_state,
    data,
    make_layer,
)
from reference import Spec


def spec_of(form: dict[str, Any], layers: int = 2, direction: str = "both") -> Spec:
    return Spec(**form, input_size=5, hidden_size=19, num_layers=layers, direction=direction)


def made(
    form: dict[str, Any],
    dtype: str = "float32",
    *,
    batch: int = 7,
    steps: int = 12,
    padding: str = "mask",
    **of: Any,
) -> tuple[Any, Data]:
    case = Case(spec_of(form, **of), batch, steps, padding, True, seed=5)
    d = data(case, dtype)
    return make_layer(case.spec, d.params), d


def call_of(d: Data) -> dict[str, Any]:
    return {"state": as_state(d.state), **d.where}
