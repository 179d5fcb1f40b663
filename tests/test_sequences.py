"""Sequences keep to themselves, and steps that do not count carry the state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru
from calls import call_of, made
from cases import (
    EVERY_DTYPE,
    EVERY_FORM,
    FORMS,
    Data,
    all_of,
    as_state,
    as_tuple,
    assert_all_same,
    assert_same_bits,
)

# --- sequences keep to themselves -----------------------------------------------------------------


@EVERY_FORM
@EVERY_DTYPE
def test_nan_stays_in_its_own_sequence(form: dict[str, Any], dtype: str) -> None:
    layer, d = made(form, dtype, padding="full")
    x = d.x.copy()
    x[3, 4, 1] = np.nan
    x[5, 2, 0] = np.inf
    y, state = layer(d.x, **call_of(d))
    y_nan, state_nan = layer(x, **call_of(d))
    y_train, _, tape = layer.forward(x, **call_of(d))
    clean = [b for b in range(len(x)) if b not in (3, 5)]
    assert_same_bits(y_nan[clean], y[clean])
    assert_same_bits(y_train[clean], y[clean])
    for s_nan, s in zip(as_tuple(state_nan), as_tuple(state), strict=True):
        assert_same_bits(s_nan[clean], s[clean])
    assert np.isnan(y_nan[3, 4:]).any()
    if form.get("nonlinearity") != "relu":
        assert np.isnan(y_nan[3, 4:, 0]).all()
    dx = layer.backward(layer.forward(d.x, **call_of(d))[2], d.dy)[0]
    assert_same_bits(layer.backward(tape, d.dy)[0][clean], dx[clean])


@EVERY_FORM
@EVERY_DTYPE
def test_masked_steps_may_hold_anything(form: dict[str, Any], dtype: str) -> None:
    layer, d = made(form, dtype)
    assert d.mask is not None
    dirty = Data(
        d.params,
        np.where(d.mask[..., None], d.x, np.nan),
        d.state,
        None,
        d.mask,
        np.where(d.mask[..., None], d.dy, np.nan),
        d.dstate,
    )
    assert_all_same(all_of(layer, dirty), all_of(layer, d))


@EVERY_FORM
@EVERY_DTYPE
def test_order_of_sequences_does_not_matter(form: dict[str, Any], dtype: str) -> None:
    layer, d = made(form, dtype, padding="lengths")
    assert d.state is not None
    assert d.lengths is not None
    order = np.random.default_rng(0).permutation(len(d.x))
    shuffled = Data(
        d.params,
        d.x[order],
        tuple(s[order] for s in d.state),
        d.lengths[order],
        None,
        d.dy[order],
        tuple(s[order] for s in d.dstate),
    )
    per_sequence = 2 + 2 * len(d.state)  # the weight gradients follow
    wanted = [a[order] for a in all_of(layer, d)[:per_sequence]]
    assert_all_same(all_of(layer, shuffled)[:per_sequence], wanted)


@EVERY_FORM
@EVERY_DTYPE
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_batch_and_threads_do_not_show(
    form: dict[str, Any], dtype: str, count: int, isa: str, threads: None
) -> None:
    """A sequence alone, in a batch of 37, padded or whole: the same bits on 1 to 4 threads."""
    layer, d = made(form, dtype, batch=37, padding="lengths", direction="forward")
    assert d.state is not None
    assert d.lengths is not None
    gru.set_num_threads(count)
    y, state = layer(d.x, **call_of(d))
    layer.freeze()
    y_train, state_train, _ = layer.forward(d.x, **call_of(d))
    assert_same_bits(y_train, y)
    assert_same_bits(state_train, state)
    gru.set_num_threads(1)
    for b, length in enumerate(d.lengths):
        one = slice(b, b + 1)
        first = as_state(tuple(s[one] for s in d.state))
        y_b, state_b = layer(d.x[one, :length], first)
        assert_same_bits(y[one, :length].copy(), y_b, f"y of {b}")
        for s, s_b in zip(as_tuple(state), as_tuple(state_b), strict=True):
            assert_same_bits(s[one].copy(), s_b, f"state of {b}")
        assert not y[b, length:].any()


@EVERY_FORM
@EVERY_DTYPE
def test_gradients_do_not_depend_on_threads(
    form: dict[str, Any], dtype: str, isa: str, threads: None
) -> None:
    layer, d = made(form, dtype, batch=33, steps=40)
    gru.set_num_threads(1)
    wanted = all_of(layer, d)
    for count in (2, 3, 4):
        gru.set_num_threads(count)
        assert_all_same(all_of(layer, d), wanted)


@EVERY_FORM
@EVERY_DTYPE
@pytest.mark.parametrize("frozen", [False, True])
def test_a_stream_is_the_whole(form: dict[str, Any], dtype: str, frozen: bool, isa: str) -> None:
    layer, d = made(form, dtype, padding="full", direction="forward")
    assert d.state is not None
    if frozen:
        layer.freeze()
    y, state = layer(d.x, as_state(d.state))
    stream = layer.stream(batch=len(d.x))
    assert stream.batch == len(d.x)
    stream.state = as_state(d.state)
    out = np.empty_like(y[:, 0])
    for t in range(d.x.shape[1]):
        y_t = stream.step(d.x[:, t])
        assert_same_bits(y_t, y[:, t].copy(), f"step {t}")
    assert_same_bits(stream.state, state)

    stream.reset()
    y, state = layer(d.x)
    for t in range(d.x.shape[1]):
        stream.step(np.asfortranarray(d.x[:, t]), out=out)
        assert_same_bits(out, y[:, t].copy(), f"step {t} into out")
    before = stream.state
    stream.reset(rows=[0, 2])
    for s, s_before in zip(as_tuple(stream.state), as_tuple(before), strict=True):
        assert not s[[0, 2]].any()
        assert_same_bits(s[[1, 3, 4, 5, 6]], s_before[[1, 3, 4, 5, 6]])


def test_a_stream_keeps_the_weights_it_was_made_with() -> None:
    layer, d = made(FORMS[0], padding="full", direction="forward")
    y, _ = layer(d.x[:1])
    stream = layer.stream()
    layer.parameters["weight_ih_l0"][...] = 0
    for t in range(d.x.shape[1]):
        assert_same_bits(stream.step(d.x[:1, t]), y[:, t].copy())


def test_a_whole_run_can_be_cut_in_time() -> None:
    for form in FORMS:
        layer, d = made(form, padding="full", direction="forward")
        y, state = layer(d.x, as_state(d.state))
        y_1, between = layer(d.x[:, :5], as_state(d.state))
        y_2, final = layer(d.x[:, 5:], between)
        assert_same_bits(np.concatenate([y_1, y_2], axis=1), y)
        assert_same_bits(final, state)


# --- nothing to do --------------------------------------------------------------------------------


ODD_VALUES = [0.0, -0.0, 1e-40, -1e-40, np.nan, np.inf, -np.inf, 1e30, 1.5]


@EVERY_FORM
@EVERY_DTYPE
@pytest.mark.parametrize("empty", ["length 0", "mask", "T = 0", "B = 0"])
def test_no_steps_carry_the_state_bit_for_bit(form: dict[str, Any], dtype: str, empty: str) -> None:
    batch, steps = (0 if empty == "B = 0" else 3), (0 if empty == "T = 0" else 4)
    layer, d = made(form, dtype, batch=batch, steps=steps, padding="full")
    assert d.state is not None
    odd = tuple(np.resize(np.array(ODD_VALUES, dtype), s.shape) for s in d.state)
    where = {
        "length 0": {"lengths": np.zeros(3, int)},
        "mask": {"mask": np.zeros((3, 4), bool)},
    }.get(empty, {})
    y, state = layer(d.x, as_state(odd), **where)
    y_train, state_train, tape = layer.forward(d.x, as_state(odd), **where)
    assert y.shape == y_train.shape == (batch, steps, 38)
    assert not y.any()
    assert not y_train.any()
    assert_same_bits(state, as_state(odd))
    assert_same_bits(state_train, as_state(odd))
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    assert_same_bits(dstate, as_state(d.dstate))
    assert dx.shape == d.x.shape
    assert not dx.any()
    assert not any(grad.any() for grad in grads.values())


@EVERY_FORM
@EVERY_DTYPE
def test_a_masked_step_carries_the_state_bit_for_bit(form: dict[str, Any], dtype: str) -> None:
    """Every final state equals that of the sequence with its masked steps cut out."""
    layer, d = made(form, dtype)
    assert d.state is not None
    assert d.mask is not None
    y, state = layer(d.x, **call_of(d))
    assert not y[~d.mask].any()
    for b, there in enumerate(d.mask):
        one = slice(b, b + 1)
        y_b, state_b = layer(d.x[one, there], as_state(tuple(s[one] for s in d.state)))
        assert_same_bits(y[one, there].copy(), y_b)
        for s, s_b in zip(as_tuple(state), as_tuple(state_b), strict=True):
            assert_same_bits(s[one].copy(), s_b)
