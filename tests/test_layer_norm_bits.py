"""What must not show with layer normalisation: threads, the batch, freezing, cuts, limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gru
from cases import (
    EVERY_DTYPE,
    Case,
    as_state,
    assert_same_bits,
    data,
)
from masks import Rates, core_layer
from normed import (
    CASES,
    EVERY_FORM,
    EVERY_RATES,
    NONE,
    SOME_CASES,
    case_of,
    spec_of,
)
from passes import (
    EVERY_OTHER_BATCH,
    Change,
    assert_all_bits,
    assert_other_batch_does_not_show,
    engine,
)

WIDE = {"slices": (17, 20, 40, "both"), "a team": (1, 12, 256, "forward")}


@pytest.mark.parametrize("size", WIDE)
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_threads_do_not_show(
    form: dict[str, Any], dtype: str, rates: Rates, size: str, threads: None
) -> None:
    """Nor frozen weights: where slices of the batch are spread, and where units of one are."""
    batch, steps, hidden, direction = WIDE[size]
    spec = replace(spec_of(form, hidden, direction), input_size=9)
    d = data(Case(spec, batch, steps, "mask", True, seed=3), dtype)
    core = core_layer(spec, d.params, rates)
    plan = core.plan(batch, steps, None, d.mask, True, 2)
    assert plan["threads"] == 2
    assert plan["members"] == (1 if size == "slices" else 2)
    gru.set_num_threads(1)
    alone = engine(core, d, seed=8)
    plain = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
    core.freeze()
    for count in (2, 3):
        gru.set_num_threads(count)
        assert_all_bits(engine(core, d, seed=8), alone, f"on {count} threads")
        again = core.forward(d.x, as_state(d.state), d.lengths, d.mask)
        assert_same_bits(again, plain, f"plain call, {count} threads")


@EVERY_OTHER_BATCH
@pytest.mark.parametrize("hidden", [2, 5, 19, 32])
@EVERY_FORM
@EVERY_DTYPE
def test_the_rest_of_the_batch_does_not_show(
    form: dict[str, Any],
    dtype: str,
    hidden: int,
    change: Change,
    isa: str,
) -> None:
    case = case_of(form, hidden, "full")
    core = core_layer(case.spec, data(case, dtype).params, NONE)
    assert_other_batch_does_not_show(core, change, dtype)


@SOME_CASES
@EVERY_DTYPE
def test_training_and_frozen_calls_are_the_plain_call(case: Case, dtype: str, isa: str) -> None:
    d = data(case, dtype)
    core = core_layer(case.spec, d.params, {"input_dropout": 0.0, "zoneout": 0.0})
    call = (d.x, as_state(d.state), d.lengths, d.mask)
    plain, trained = core.forward(*call), core.forward_train(*call)
    assert_same_bits(trained[:2], plain)
    core.freeze()
    assert_same_bits(core.forward(*call), plain)
    assert_same_bits(core.forward_train(*call)[:2], plain)


@pytest.mark.parametrize("hidden", [1, 2, 21, 64])
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_a_stream_is_the_plain_call(
    form: dict[str, Any], dtype: str, rates: Rates, hidden: int, isa: str
) -> None:
    """Frozen or not, alone or in a model."""
    layer = gru.GRU(3, hidden, 2, layer_norm=True, **rates, **form, dtype=dtype, seed=4)
    model = gru.Sequential([layer, gru.Linear(hidden, 2, dtype=dtype, seed=1)])
    x = np.random.default_rng(5).normal(size=(3, 7, 3)).astype(dtype)
    for _ in range(2):
        y, state = layer(x)
        of_model = model(x)
        stream, whole = layer.stream(3), model.stream(3)
        for t in range(7):
            assert_same_bits(stream.step(x[:, t]), y[:, t].copy())
            assert_same_bits(whole.step(x[:, t]), of_model[:, t].copy())
        assert_same_bits(stream.state, state)
        model.freeze()


WITHIN = {  # padding, batch, steps, hidden, direction
    "one sequence": ("full", 1, 40, 9, "forward"),
    "lengths": ("lengths", 5, 21, 6, "both"),
    "holes": ("mask", 6, 25, 17, "both"),
    "chunks": ("mask", 9, 150, 5, "reverse"),
}


@pytest.mark.parametrize("name", WITHIN)
@EVERY_RATES
@EVERY_FORM
@EVERY_DTYPE
def test_a_memory_limit_does_not_show(
    form: dict[str, Any], dtype: str, rates: Rates, name: str, isa: str
) -> None:
    padding, batch, steps, hidden, direction = WITHIN[name]
    spec = spec_of(form, hidden, direction)
    d = data(Case(spec, batch, steps, padding, True, seed=9), dtype)
    core = core_layer(spec, d.params, rates)
    with pytest.raises(ValueError, match="memory_limit must be at least") as caught:
        engine(core, d, 5, 1)
    least = int(re.findall(r"at least (\d+) bytes", str(caught.value))[0])
    assert_all_bits(engine(core, d, 5, least), engine(core, d, 5), "within the least limit")
    with pytest.raises(ValueError, match=f"at least {least} bytes .*got {least - 1}$"):
        engine(core, d, 5, least - 1)


@pytest.mark.parametrize("case", CASES, ids=str)
@EVERY_DTYPE
def test_v3_and_v4_give_the_same_bits(case: Case, dtype: str, restore_isa: None) -> None:
    if not {"v3", "v4"} <= set(gru.isa_levels()):
        pytest.skip("this CPU or build has not both")
    d = data(case, dtype)
    core, found = core_layer(case.spec, d.params, NONE), []
    for level in ("v3", "v4"):
        gru.set_isa(level)
        found.append(engine(core, d))
    assert_all_bits(found[1], found[0], "v4")
