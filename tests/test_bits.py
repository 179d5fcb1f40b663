"""The bitwise contract: what a sequence gives does not depend on what surrounds it.

Not on its place, the batch, padding, holes, chunks of time or steps, threads, frozen or open
parameters, nor the layout of the arrays. Everything here compares bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gru
from cases import (
    DTYPES,
    EVERY_DTYPE,
    EVERY_FORM,
    FORMS,
    Case,
    Data,
    all_of,
    as_state,
    as_tuple,
    assert_all_same,
    assert_same_bits,
    bare_layer,
    data,
    make_layer,
    strided,
)
from conftest import LEVELS
from reference import Array, Arrays, Spec, valid_steps

BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17)  # every height of a tile, and leftovers

# (hidden units, stacked layers, direction, padding): one unit, lanes not filled, filled, overfull.
SHAPES = [
    (1, 2, "both", "lengths"),
    (5, 1, "forward", "mask"),
    (16, 1, "both", "full"),
    (17, 2, "forward", "mask"),
    (33, 1, "both", "lengths"),
    (64, 2, "both", "mask"),
]
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))


def made(
    form: dict[str, Any],
    dtype: str,
    hidden: int,
    layers: int = 1,
    direction: str = "forward",
    padding: str = "full",
    *,
    inputs: int = 5,
    batch: int = 17,
    steps: int = 6,
) -> tuple[Any, Data]:
    spec = Spec(
        **form, input_size=inputs, hidden_size=hidden, num_layers=layers, direction=direction
    )
    d = data(Case(spec, batch, steps, padding, True, seed=11), dtype)
    return make_layer(spec, d.params), d


def changed(
    d: Data, change: Callable[[Array], Array], timed: Callable[[Array], Array] | None = None
) -> Data:
    """Every array of a batch changed, and then those with an axis of time changed again."""

    def both(a: Array) -> Array:
        return change(a) if timed is None else timed(change(a))

    def each(values: Arrays | None) -> Any:
        return None if values is None else tuple(change(v) for v in values)

    return Data(
        d.params,
        both(d.x),
        each(d.state),
        None if d.lengths is None else change(d.lengths),
        None if d.mask is None else both(d.mask),
        both(d.dy),
        each(d.dstate),
    )


def of_sequences(layer: Any, d: Data) -> list[Array]:
    """What belongs to a sequence: y and state of both forwards, gradients of x and state."""
    y, state = layer(d.x, as_state(d.state), **d.where)
    count = len(as_tuple(state))
    return [y, *as_tuple(state), *all_of(layer, d)[: 2 + 2 * count]]


def has_time(i: int, count: int) -> bool:
    """Whether the i-th array of ``of_sequences`` has an axis of time; `count` arrays are a state"""
    return i in (0, 1 + count, 2 + 2 * count)


def of_each_alone(layer: Any, d: Data) -> list[Array]:
    """The same, each sequence in a call of its own, its skipped steps cut out."""
    batch, steps = d.x.shape[:2]
    valid = valid_steps(batch, steps, d.lengths, d.mask)
    found: list[Array] = []
    for b, there in enumerate(valid):
        one = changed(
            replace(d, lengths=None, mask=None),
            lambda a, b=b: a[b : b + 1],
            lambda a, there=there: a[:, there],
        )
        arrays = of_sequences(layer, one)
        count = len(one.dstate)
        for i, a in enumerate(arrays):
            rest = (steps, *a.shape[2:]) if has_time(i, count) else a.shape[1:]
            if b == 0:
                found.append(np.zeros((batch, *rest), a.dtype))
            found[i][(b, there) if has_time(i, count) else b] = a[0]
    return found


# --- places, batches and padding ------------------------------------------------------------------


@EVERY_SHAPE
@EVERY_DTYPE
@EVERY_FORM
def test_a_sequence_alone_is_the_same_at_any_place_in_any_batch(
    form: dict[str, Any], dtype: str, shape: tuple[int, int, str, str], isa: str
) -> None:
    """Open and frozen; outputs, states, and the gradients that are a sequence's own."""
    layer, d = made(form, dtype, *shape)
    alone = of_each_alone(layer, d)
    frozen, _ = made(form, dtype, *shape)
    frozen.freeze()
    rng = np.random.default_rng(3)
    for batch in BATCHES:
        order = rng.permutation(len(d.x))[:batch]
        wanted = [a[order] for a in alone]
        there = changed(d, lambda a, order=order: a[order])
        assert_all_same(of_sequences(layer, there), wanted, f"open, batch {batch}:")
        apart = changed(there, strided)
        assert_all_same(of_sequences(frozen, apart), wanted, f"frozen, batch {batch}:")


@EVERY_DTYPE
@EVERY_FORM
def test_a_sequence_may_stand_in_the_batch_many_times(
    form: dict[str, Any], dtype: str, isa: str
) -> None:
    """Copies in every place, at every step of a longer call, behind holes: one and the same."""
    layer, d = made(form, dtype, 19, 2, "both")
    one = changed(d, lambda a: a[:1])
    alone = of_sequences(layer, one)
    steps = d.x.shape[1]
    copies, length = 13, 2 * steps
    mask = np.zeros((copies, length), bool)
    rng = np.random.default_rng(8)
    for row in mask:
        row[np.sort(rng.permutation(length)[:steps])] = True

    def spread(a: Array) -> Array:
        wide = np.full((copies, length, a.shape[2]), np.nan, a.dtype)
        wide[mask] = np.broadcast_to(a[0], (copies, *a.shape[1:])).reshape(-1, a.shape[2])
        return wide

    def copied(values: Arrays | None) -> Any:
        return None if values is None else tuple(np.repeat(v, copies, 0) for v in values)

    many = Data(
        d.params,
        spread(one.x),
        copied(one.state),
        None,
        mask,
        spread(one.dy),
        copied(one.dstate),
    )
    for i, (a, w) in enumerate(zip(of_sequences(layer, many), alone, strict=True)):
        for row, there in enumerate(mask):
            found = a[row, there] if has_time(i, len(d.dstate)) else a[row]
            assert_same_bits(found[None], w, f"result {i} of copy {row}")


@EVERY_DTYPE
@EVERY_FORM
def test_the_engines_own_chunks_of_steps_do_not_show(
    form: dict[str, Any], dtype: str, isa: str
) -> None:
    """A batch of more rows than the engine takes at a time, sequences that are fewer."""
    hidden = 160 if form["cell"] == "rnn" else 64
    layer, d = made(form, dtype, hidden, padding="lengths", batch=24, steps=150)
    together = of_sequences(layer, d)
    some = np.argsort(valid_steps(24, 150, d.lengths).sum(1))[[3, 12, 23]]
    alone = of_each_alone(layer, changed(d, lambda a: a[some]))
    assert_all_same([a[some] for a in together], alone)


# --- time in pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(33, 1), (17, 2)], ids=str)
@EVERY_DTYPE
@EVERY_FORM
def test_a_sequence_cut_in_time_is_the_whole(
    form: dict[str, Any], dtype: str, shape: tuple[int, int], isa: str
) -> None:
    """The state is carried from chunk to chunk, and its gradient back."""
    layer, d = made(form, dtype, *shape, padding="mask", batch=9, steps=13)
    whole = of_sequences(layer, d)
    layer.freeze()
    count, mask = len(d.dstate), d.mask
    assert mask is not None
    for cuts in ([0, 1, 4, 9, 13], *([0, t, 13] for t in range(14))):
        pieces = [slice(a, b) for a, b in pairwise(cuts)]
        assert sum(piece.stop - piece.start for piece in pieces) == 13
        state = trained = as_state(d.state)
        y, y_train, tapes = [], [], []
        for piece in pieces:
            y_piece, state = layer(d.x[:, piece], state, mask=mask[:, piece])
            y.append(y_piece)
            y_piece, trained, tape = layer.forward(d.x[:, piece], trained, mask=mask[:, piece])
            y_train.append(y_piece)
            tapes.append(tape)
        dx: list[Array] = []
        dstate = as_state(d.dstate)
        for piece, tape in zip(pieces[::-1], tapes[::-1], strict=True):
            dx_piece, dstate, _ = layer.backward(tape, d.dy[:, piece], dstate)
            dx.insert(0, dx_piece)
        found = [
            np.concatenate(y, 1),
            *as_tuple(state),
            np.concatenate(y_train, 1),
            *as_tuple(trained),
            np.concatenate(dx, 1),
            *as_tuple(dstate),
        ]
        assert len(found) == 3 + 3 * count
        assert_all_same(found, whole, f"cut at {cuts}:")


@pytest.mark.parametrize("shape", [(1, 1), (16, 2), (33, 1)], ids=str)
@EVERY_DTYPE
@EVERY_FORM
def test_step_by_step_is_the_whole_in_any_batch(
    form: dict[str, Any], dtype: str, shape: tuple[int, int], isa: str
) -> None:
    """A stream, from where a call stopped to where another goes on; open and frozen."""
    layer, d = made(form, dtype, *shape, steps=7)
    whole = layer(d.x, as_state(d.state))
    for freeze in (False, True):
        if freeze:
            layer.freeze()
        for batch in BATCHES:
            rows = slice(len(d.x) - batch, None)
            there = changed(d, lambda a, rows=rows: a[rows])
            wanted = [a[rows] for a in (whole[0], *as_tuple(whole[1]))]
            stream = layer.stream(batch=batch)
            first, stream.state = layer(there.x[:, :2], as_state(there.state))
            steps = [stream.step(there.x[:, t]) for t in range(2, 5)]
            last, state = layer(there.x[:, 5:], stream.state)
            y = np.concatenate([first, np.stack(steps, 1), last], 1)
            assert_all_same([y, *as_tuple(state)], wanted, f"batch {batch}:")


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


def everything(layer: Any, d: Data) -> list[Array]:
    """All results: inference, training and every gradient, those of the weights as well."""
    y, state = layer(d.x, as_state(d.state), **d.where)
    return [y, *as_tuple(state), *all_of(layer, d)]


def on_one_thread(layer: Any, d: Data) -> list[Array]:
    gru.set_num_threads(1)
    return everything(layer, d)


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


# --- anything -------------------------------------------------------------------------------------


@st.composite
def any_call(draw: st.DrawFn) -> tuple[Case, str, str, int, bool, int]:
    """A case, dtype, level, number of threads, whether to freeze, and a place in the batch."""
    large = draw(st.booleans())
    direction = draw(st.sampled_from(["forward", "both"]))
    spec = Spec(
        **draw(st.sampled_from(FORMS)),
        input_size=draw(st.integers(1, 40)),
        hidden_size=draw(st.integers(128, 300) if large else st.integers(1, 70)),
        num_layers=draw(st.integers(1, 2 if large else 3)),
        direction=direction,
        bias=draw(st.booleans()),
    )
    batch = draw(st.integers(1, 6 if large else 40))
    steps = draw(st.integers(1, 12 if large else 20))
    padding = draw(st.sampled_from(["full", "lengths", "mask"]))
    case = Case(spec, batch, steps, padding, draw(st.booleans()), draw(st.integers(0, 2**20)))
    level = draw(st.sampled_from([level for level in LEVELS if level in gru.isa_levels()]))
    place = draw(st.integers(0, batch - 1))
    dtype = draw(st.sampled_from(DTYPES))
    return case, dtype, level, draw(st.integers(1, 4)), draw(st.booleans()), place


@pytest.fixture(scope="module")
def restored() -> Iterator[None]:
    """Level and threads as they were, after all examples."""
    level, count = gru.active_isa(), gru.get_num_threads()
    yield
    gru.set_isa(level)
    gru.set_num_threads(count)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=any_call())
def test_any_sequence_alone_is_the_same_in_its_batch(
    call: tuple[Case, str, str, int, bool, int], restored: None
) -> None:
    case, dtype, level, count, freeze, place = call
    gru.set_isa(level)
    d = data.__wrapped__(case, dtype)  # not kept
    layer = make_layer(case.spec, d.params)
    wanted = on_one_thread(layer, d)
    alone = of_each_alone(layer, changed(d, lambda a: a[place : place + 1]))
    if freeze:
        layer.freeze()
    gru.set_num_threads(count)
    together = of_sequences(layer, d)
    assert_all_same([a[place : place + 1] for a in together], alone, "alone:")
    assert_all_same(everything(layer, d), wanted, "on one thread:")
