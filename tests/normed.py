"""Layers with layer normalisation: cases, what the engine gives, how exact it must be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import reference
from cases import (
    Case,
    cases,
    data,
    name_of,
    problem,
    widened,
)
from derivatives import Slopes, slopes_of
from masks import ALL, Rates, core_layer, training_extras
from passes import engine
from reference import Array, Extras, Problem, Spec

FORMS: list[dict[str, Any]] = [
    {"reset_after": after, "update_gate": update}
    for after in (True, False)
    for update in ("keep", "new")
]
EVERY_FORM = pytest.mark.parametrize("form", FORMS, ids=name_of)
NONE: Rates = {}
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
    exact, moved = engine(core, d), dict.fromkeys(("y", "final0", "x", "state0", *d.params), 0.0)
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
