"""The bitwise contract: what a sequence gives does not depend on what surrounds it.

Not on its place, the batch, padding, holes, chunks of time or steps, frozen or open parameters, nor
the layout of the arrays; threads are in test_bits_threads.py. Everything here compares bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gru
from bits import (
    BATCHES,
    EVERY_SHAPE,
    changed,
    everything,
    has_time,
    made,
    of_each_alone,
    of_sequences,
    on_one_thread,
)
from cases import (
    DTYPES,
    EVERY_DTYPE,
    EVERY_FORM,
    FORMS,
    Case,
    Data,
    as_state,
    as_tuple,
    assert_all_same,
    assert_same_bits,
    data,
    make_layer,
    strided,
)
from conftest import LEVELS
from reference import Array, Arrays, Spec, valid_steps

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
