"""Batches: order, padding, casting, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gru.data import WINDOW, Dataset, Sequences, batches, check_finite, pad

F32 = np.dtype("float32")


def test_padding() -> None:
    padded, lengths = pad([np.ones((2, 3)), np.ones((0, 3)), np.ones((4, 3))])
    assert padded.shape == (3, 4, 3)
    assert lengths.tolist() == [2, 0, 4]
    assert padded.sum(axis=(1, 2)).tolist() == [6, 0, 12]


@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000])
def test_every_sequence_is_in_one_batch(count: int) -> None:
    steps = np.random.default_rng(0).integers(1, 50, count)
    for rng in (None, np.random.default_rng(1)):
        order = list(batches(steps, 7, rng))
        assert sorted(i for index in order for i in index) == list(range(count))
        assert sum(len(index) < 7 for index in order) <= 1


def test_batches_hold_like_lengths() -> None:
    steps = np.random.default_rng(0).integers(1, 1000, 7 * WINDOW * 10)
    spread = [np.ptp(steps[index]) for index in batches(steps, 7, np.random.default_rng(1))]
    assert np.mean(spread) < 1000 / WINDOW * 2
    assert np.ptp([steps[index].mean() for index in batches(steps, 7)]) > 900


def test_the_order_follows_from_the_generator() -> None:
    steps = np.arange(100) % 9

    def order(seed: int) -> list[int]:
        return [i for index in batches(steps, 8, np.random.default_rng(seed)) for i in index]

    assert order(1) == order(1) != order(2)


def test_equal_lengths_are_just_shuffled() -> None:
    order = np.concatenate(list(batches(np.full(50, 3), 7, np.random.default_rng(4))))
    assert order.tolist() != list(range(50))


def test_cutting_dense_and_ragged() -> None:
    X = np.arange(24.0).reshape(4, 3, 2)
    lengths = np.array([3, 1, 2, 0])
    dense = Sequences(X, F32, lengths=lengths)
    ragged = Sequences([X[i, :n] for i, n in enumerate(lengths)], F32)
    index = np.array([2, 0])
    a, b = dense.take(index), ragged.take(index)
    assert a.x.dtype == b.x.dtype == F32
    assert a.lengths.tolist() == b.lengths.tolist() == [2, 3]
    assert np.array_equal(a.x[0, :2], b.x[0, :2])
    assert dense.steps.tolist() == ragged.steps.tolist() == lengths.tolist()
    masked = Sequences(X, F32, mask=np.arange(3) < lengths[:, None])
    assert masked.steps.tolist() == lengths.tolist()


def test_targets_of_each_kind() -> None:
    X = [np.zeros((n, 2)) for n in (3, 1)]
    index = np.array([1, 0])
    assert Dataset(Sequences(X, F32), [4, 5]).take(index).y.tolist() == [5, 4]
    assert Dataset(Sequences(X, F32), [[1.0], [2.0]]).take(index).y.tolist() == [[2.0], [1.0]]
    steps = Dataset(Sequences(X, F32), [[7, 8, 9], [6]]).take(index).y
    assert steps.tolist() == [[6, 0, 0], [7, 8, 9]]
    dense = Dataset(Sequences(np.zeros((2, 3, 2)), F32), np.ones((2, 3, 1)))
    assert dense.take(index).y.shape == (2, 3, 1)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        (np.array([[0.0, 1.0], [np.inf, np.nan]]), r"got inf at X\[1, 0\]"),
        ([np.zeros((2, 1)), np.array([[0.0], [np.nan]])], r"got nan at X\[1\]\[1, 0\]"),
        ([np.zeros(1), np.array([-np.inf])], r"got -inf at X\[1\]\[0\]"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(values: Any, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        check_finite(values, "X")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Sequences([np.zeros((2, 3)), np.zeros((2, 4))], F32),
            r"X\[1\] .*\(T, 3\), got \(2, 4\)",
        ),
        (lambda: Sequences([np.zeros(3)], F32), r"X\[0\] must have shape \(T, I\), got \(3,\)"),
        (lambda: Sequences([np.zeros((2, 3))], F32, lengths=[2]), "go with an array X"),
        (lambda: Sequences(np.zeros((2, 3, 1)), F32, lengths=[2]), "lengths must have one row"),
        (
            lambda: Sequences(np.zeros((2, 3, 1)), F32, mask=np.ones((1, 3))),
            "mask must have one row",
        ),
        (
            lambda: Dataset(Sequences(np.zeros((2, 3, 1)), F32), [1]),
            "one entry a sequence, 2, got 1",
        ),
        (
            lambda: list(batches(np.ones(3), 0)),
            "batch_size must be an integer of at least 1, got 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
