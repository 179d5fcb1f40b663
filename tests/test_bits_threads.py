"""The bitwise contract of threads: however they split the work, the bytes are one thread's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gru
from bits import everything, made, of_each_alone, of_sequences, on_one_thread
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    FORMS,
    Case,
    Data,
    as_state,
    as_tuple,
    assert_all_same,
    bare_layer,
    data,
    make_layer,
)
from reference import Spec

# --- threads --------------------------------------------------------------------------------------


WORK = 2_000_000  # multiply-adds, enough for four threads


class Split:
    """A way to spread a call over threads, and where to look for a call that is spread so."""

    def __init__(
        self,
        name: str,
        counts: Sequence[int],
        holds: Callable[[gru.Plan, int], bool],
        direction: str,
        layers: int,
        shapes: Sequence[tuple[int, int, int]],
    ) -> None:
        self.name = name
        self.counts = counts
        self.holds = holds
        self.direction = direction
        self.layers = layers
        self.shapes = shapes  # batch, inputs, hidden: the cheapest first

    def __str__(self) -> str:
        return self.name

    def call(
        self, form: dict[str, Any], dtype: str, count: int, least: int = WORK
    ) -> tuple[Any, Data]:
        """A layer and a batch that are spread so over this many threads, by the engine's plan."""
        for batch, inputs, hidden in self.shapes:
            padding = "lengths" if batch > 2 else "full"
            spec = Spec(
                **form,
                input_size=inputs,
                hidden_size=hidden,
                num_layers=self.layers,
                direction=self.direction,
            )
            size = sum(int(np.prod(shape)) for shape in spec.shapes.values())
            steps = max(6, 2 * least // (size * batch))
            d = data(Case(spec, batch, steps, padding, True, seed=12), dtype)
            plan = bare_layer(spec, dtype).plan(batch, steps, **d.where, threads=count)
            if self.holds(plan, count):
                return make_layer(spec, d.params), d
        raise AssertionError(f"no call is spread over {count} threads by {self}: the last {plan}")


def slices(p: gru.Plan, n: int) -> bool:
    return (p.threads, p.slices, p.members) == (n, n, 1)


def members(p: gru.Plan, n: int) -> bool:
    return (p.threads, p.slices, p.members) == (n, 1, n)


def directions(p: gru.Plan, n: int) -> bool:
    return (p.threads, p.slices, p.members) == (2, 1, 1)


def directions_of_teams(p: gru.Plan, n: int) -> bool:
    return p.threads == n and p.slices == 1 and p.members > 1


def slices_of_teams(p: gru.Plan, n: int) -> bool:
    return p.threads == n and p.slices > 1 and p.members > 1


# Teams take two slices side by side only where there are no more units to share: few units, and
# steps made long by many inputs.
WIDE = [(2, inputs, hidden) for hidden in (3, 7, 15, 31) for inputs in (500, 1000, 2000)]
TALL = [(1, 5, hidden) for hidden in (133, 197, 259, 387)]
SPLITS = [
    Split("slices", (2, 3, 4), slices, "forward", 2, [(17, 5, 33), (33, 5, 64), (65, 5, 33)]),
    Split("members", (2, 3, 4), members, "forward", 2, TALL),
    Split("directions", (2,), directions, "both", 1, [(1, 5, 64), (2, 5, 96), (2, 5, 128)]),
    Split("directions of teams", (3, 4), directions_of_teams, "both", 1, TALL),
    Split("slices of teams", (4,), slices_of_teams, "forward", 1, WIDE),
]
EVERY_SPLIT = pytest.mark.parametrize("split", SPLITS, ids=str)


@EVERY_SPLIT
@EVERY_DTYPE
@EVERY_FORM
def test_threads_do_not_show_however_they_split_the_work(
    form: dict[str, Any], dtype: str, split: Split, isa: str, threads: None
) -> None:
    """From run to run, open and frozen; all gradients, those of the weights as well."""
    for count in split.counts:
        layer, d = split.call(form, dtype, count)
        wanted = on_one_thread(layer, d)
        gru.set_num_threads(count)
        for run in ("once", "again"):
            assert_all_same(everything(layer, d), wanted, f"{count} threads, {run}:")
        layer.freeze()
        assert_all_same(everything(layer, d), wanted, f"{count} threads, frozen:")


@EVERY_DTYPE
@EVERY_FORM
def test_threads_that_are_more_than_the_work_is_worth_do_not_show(
    form: dict[str, Any], dtype: str, isa: str, threads: None
) -> None:
    layer, d = made(form, dtype, 33, 2, "both", "mask", batch=9)
    wanted = on_one_thread(layer, d)
    for count in (2, 3, 4):
        gru.set_num_threads(count)
        assert_all_same(everything(layer, d), wanted, f"{count} threads:")


@pytest.mark.parametrize("direction", ["forward", "both"])
@EVERY_DTYPE
@EVERY_FORM
def test_sequences_without_steps_stand_beside_teams(
    form: dict[str, Any], dtype: str, direction: str, isa: str, threads: None
) -> None:
    """Ragged lengths with zeros, hidden units shared: each sequence as it is alone."""
    lengths = np.array([0, 9, 0, 4, 9])
    for hidden in (197, 259, 387):
        layer, d = made(form, dtype, hidden, 1, direction, batch=5, steps=9)
        for count in (4, 3):
            plan = layer.plan(5, 9, lengths=lengths, threads=count)
            if plan.members > 1 and plan.threads == count:
                break
        else:
            continue
        break
    else:
        pytest.fail(f"no layer is large enough: {plan}")
    ragged = replace(d, lengths=lengths)
    gru.set_num_threads(1)
    alone, wanted = of_each_alone(layer, ragged), everything(layer, ragged)
    gru.set_num_threads(count)
    assert_all_same(of_sequences(layer, ragged), alone)
    assert_all_same(everything(layer, ragged), wanted)


@pytest.mark.parametrize("lengths", [[1, 1], [0, 1]], ids=str)
@EVERY_DTYPE
@EVERY_FORM
def test_a_single_step_may_be_shared(
    form: dict[str, Any], dtype: str, lengths: list[int], isa: str, threads: None
) -> None:
    hidden = {"gru": 579, "lstm": 515, "rnn": 963}[form["cell"]]
    layer, d = made(form, dtype, hidden, batch=2, steps=1)
    once = replace(d, lengths=np.array(lengths))
    plan = layer.plan(2, 1, lengths=lengths, threads=2)
    assert (plan.threads, plan.members) == (2, 2), plan
    gru.set_num_threads(1)
    alone, wanted = of_each_alone(layer, once), everything(layer, once)
    gru.set_num_threads(2)
    assert_all_same(of_sequences(layer, once), alone)
    assert_all_same(everything(layer, once), wanted)


def seconds_of_others() -> float:
    """Processor time of this process's other threads."""
    return time.process_time() - time.thread_time()


def when_others_sleep() -> float:
    """Processor time of the other threads, once those of the last region have gone to sleep."""
    quiet, before = seconds_of_others(), -1.0
    while quiet - before > 1e-4:
        time.sleep(0.01)
        quiet, before = seconds_of_others(), quiet
    return quiet


@pytest.mark.skipif(gru.build_info()["openmp"] == "off", reason="built without threads")
@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[4], FORMS[5]], ids=str)
@EVERY_SPLIT
def test_threads_really_work(form: dict[str, Any], split: Split, threads: None) -> None:
    """The engine leaves out its threads for a while when another process has taken their core: here
    it is watched until they did work, and gave the same bits."""
    for count in split.counts:
        layer, d = split.call(form, "float32", count)
        gru.set_num_threads(1)
        wanted = everything(layer, d)
        quiet = when_others_sleep()
        gru.set_num_threads(count)
        until = time.monotonic() + 30
        while seconds_of_others() - quiet < 2e-4:
            y, state = layer(d.x, as_state(d.state), **d.where)
            assert_all_same([y, *as_tuple(state)], wanted[: 1 + len(d.dstate)])
            assert time.monotonic() < until, f"no second thread worked: {count} threads"
        worked = 0.0
        while worked < 2e-4:
            _, _, tape = layer.forward(d.x, as_state(d.state), **d.where)
            quiet = when_others_sleep()
            dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
            worked += seconds_of_others() - quiet
            found = [dx, *as_tuple(dstate), *grads.values()]
            assert_all_same(found, wanted[-len(found) :])
            assert time.monotonic() < until, f"no second thread worked backward: {count} threads"


# --- instruction sets -----------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS[:4], ids=str)
@EVERY_DTYPE
@EVERY_FORM
def test_v3_and_v4_agree_while_threads_split_the_work(
    form: dict[str, Any], dtype: str, split: Split, restore_isa: None, threads: None
) -> None:
    """Lanes, tiles and shares of hidden units differ; the bits do not. See also test_isa.py."""
    if not {"v3", "v4"} <= set(gru.isa_levels()):
        pytest.skip("this CPU or build has not both")
    count = split.counts[-1]
    for made_for, other in (("v3", "v4"), ("v4", "v3")):
        gru.set_isa(made_for)
        layer, d = split.call(form, dtype, count)
        gru.set_num_threads(count)
        found = everything(layer, d)
        gru.set_isa(other)
        assert_all_same(on_one_thread(layer, d), found, f"split at {made_for}:")
