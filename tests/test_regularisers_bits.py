"""What must not show with regularisers: threads, the batch, rates of zero, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    Case,
    as_state,
    assert_same_bits,
    data,
)
from masks import (
    ALL,
    core_layer,
)
from passes import (
    EVERY_OTHER_BATCH,
    Change,
    assert_all_bits,
    assert_other_batch_does_not_show,
    engine,
)
from reference import Spec
from regularised import (
    KINDS,
    case_of,
)

WIDE = {
    "many sequences": (17, 20, 40, 3),
    "one sequence": (1, 12, 256, 2),
}


@pytest.mark.parametrize("size", WIDE)
@EVERY_FORM
@EVERY_DTYPE
def test_threads_do_not_show(form: dict[str, Any], dtype: str, size: str, threads: None) -> None:
    """Where slices of the batch are spread, and where units of one sequence are."""
    batch, steps, hidden, layers = WIDE[size]
    direction = "both" if batch > 1 else "forward"
    spec = Spec(**form, input_size=9, hidden_size=hidden, num_layers=layers, direction=direction)
    d = data(Case(spec, batch, steps, "mask", True, seed=3), dtype)
    core = core_layer(spec, d.params, ALL)
    plan = core.plan(batch, steps, None, d.mask, True, 2)
    assert plan["threads"] == 2
    assert form["cell"] == "rnn" or batch > 1 or plan["members"] == 2
    gru.set_num_threads(1)
    alone = engine(core, d, seed=8)
    for count in (2, 3, 4):
        gru.set_num_threads(count)
        assert_all_bits(engine(core, d, seed=8), alone, f"on {count} threads")


@EVERY_OTHER_BATCH
@EVERY_FORM
def test_the_rest_of_the_batch_does_not_show(form: dict[str, Any], change: Change) -> None:
    case = case_of(form, "both", "full")
    core = core_layer(case.spec, data(case, "float64").params, ALL)
    assert_other_batch_does_not_show(core, change)


@EVERY_FORM
@EVERY_DTYPE
def test_rates_of_zero_are_a_layer_without(form: dict[str, Any], dtype: str, isa: str) -> None:
    case = case_of(form)
    d = data(case, dtype)
    plain, zero = (core_layer(case.spec, d.params, r) for r in ({}, dict.fromkeys(ALL, 0.0)))
    assert_all_bits(engine(zero, d, seed=2), engine(plain, d, seed=1))
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    assert_same_bits(zero.forward(*call)[0], plain.forward(*call)[0])


@EVERY_FORM
@EVERY_DTYPE
def test_a_stream_is_the_plain_call(form: dict[str, Any], dtype: str, isa: str) -> None:
    """With zoneout's mean, frozen or not, alone or in a model."""
    rng = np.random.default_rng(5)
    rest = {name: value for name, value in form.items() if name != "cell"}
    layer = KINDS[form["cell"]](3, 21, 2, **ALL, **rest, dtype=dtype, seed=4)
    model = gru.Sequential([layer, gru.Linear(21, 2, dtype=dtype, seed=1)])
    x = rng.normal(size=(3, 7, 3)).astype(dtype)
    for _ in range(2):
        y, state = layer(x)
        stream, whole = layer.stream(3), model.stream(3)
        for t in range(7):
            assert_same_bits(stream.step(x[:, t]), y[:, t].copy())
            assert_same_bits(whole.step(x[:, t]), model(x)[:, t].copy())
        assert_same_bits(stream.state, state)
        model.freeze()
