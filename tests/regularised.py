"""Layers with every set of rates: cases, what the engine and the reference give."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import (
    Case,
    cases,
    problem,
)
from derivatives import Slopes, slopes_of
from masks import (
    ALL,
    Rates,
    training_extras,
)
from reference import Array, Arrays, Problem, Spec

RATES: list[Rates] = [
    {"input_dropout": 0.4},
    {"recurrent_dropout": 0.5},
    {"zoneout": 0.3},
    ALL,
]
NEW = ("input_dropout", "recurrent_dropout", "zoneout")
KINDS = {"gru": gru.GRU, "lstm": gru.LSTM, "rnn": gru.RNN}
Pair = tuple[Case, Rates]


def with_rates(count: int, seed: int, *, large: float) -> list[Pair]:
    """Cases in every direction with every set of rates; a lone reverse direction has layers too."""
    found = []
    for i, case in enumerate(cases(count, seed=seed, large=large)):
        spec = case.spec
        if spec.direction == "reverse":
            spec = replace(spec, num_layers=1 + i % 2)
        has_state = case.has_state or i % 2 == 0
        found.append((replace(case, spec=spec, has_state=has_state), RATES[i // 7 % len(RATES)]))
    return found


def pair_id(value: Any) -> str:
    names = {"dropout": "D", "input_dropout": "I", "recurrent_dropout": "R", "zoneout": "Z"}
    return "".join(names[name] for name in value) if isinstance(value, dict) else str(value)


PAIRS = with_rates(140, 31, large=0.0) + with_rates(14, 32, large=0.5)
EVERY_PAIR = pytest.mark.parametrize(("case", "rates"), PAIRS, ids=pair_id)
SOME_PAIRS = pytest.mark.parametrize(("case", "rates"), PAIRS[::2], ids=pair_id)
CLOSE = {"float64": 1e-12, "float32": 2e-6}


def frozen_rates(rates: Rates) -> tuple[tuple[str, float], ...]:
    return tuple(rates.items())


@cache
def wanted(
    case: Case, dtype: str, rates: tuple[tuple[str, float], ...]
) -> tuple[Problem, Array, Arrays]:
    """The reference with the masks of the case's own seed."""
    extras = training_extras(case.spec, dict(rates), case.seed, case.batch, case.steps)
    p = replace(problem(case, dtype), extras=extras)
    return p, *reference.run(p.spec, p.params, p.x, p.state, p.valid, extras)


@cache
def slopes(case: Case, rates: tuple[tuple[str, float], ...]) -> Slopes:
    return slopes_of(wanted(case, "float64", rates)[0], case.seed)


def assert_forward(y: Array, final: Arrays, y_ref: Array, final_ref: Arrays) -> None:
    """As tests/test_forward.py: float64 relative; float32 relative only where values exceed one."""
    largest = max(float(np.abs(v).max(initial=0)) for v in (y_ref, *final_ref))
    scale = largest if y.dtype == np.float64 else max(1.0, largest)
    for value, ref in zip((y, *final), (y_ref, *final_ref), strict=True):
        assert value.shape == ref.shape
        worst = float(np.abs(value - ref).max(initial=0))
        assert worst <= CLOSE[str(y.dtype)] * scale, f"off by {worst}, values up to {scale}"


def case_of(form: dict[str, Any], direction: str = "both", padding: str = "mask") -> Case:
    spec = Spec(**form, input_size=3, hidden_size=5, num_layers=2, direction=direction)
    return Case(spec, 4, 6, padding, True, seed=77)
