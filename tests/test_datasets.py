"""The data sets: the archive's own counts, and what the generators promise of their tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gru
from gru.datasets import adding, copy


def test_japanese_vowels_are_the_archives() -> None:
    data = gru.datasets.japanese_vowels()
    for X, y, counts in (
        (data.X_train, data.y_train, [30] * 9),
        (data.X_test, data.y_test, [31, 35, 88, 44, 29, 24, 40, 50, 29]),  # the archive's own list
    ):
        assert np.bincount(y).tolist() == counts
        assert len(X) == len(y) == sum(counts)
        assert all(item.dtype == np.float32 and item.shape[1] == 12 for item in X)
        assert min(map(len, X)) == 7
    assert max(map(len, data.X_test)) == 29
    np.testing.assert_array_equal(
        data.X_train[0][0, :3], np.array([1.860936, -0.207383, 0.261557], np.float32)
    )


@pytest.mark.parametrize("steps", [2, 3, 20])
def test_adding_marks_one_step_in_each_half(steps: int) -> None:
    X, y = adding(500, steps, seed=3)
    assert X.shape == (500, steps, 2)
    assert y.shape == (500, 1)
    assert X.dtype == y.dtype == np.float32
    half = steps // 2
    assert set(X[:, :, 1].ravel().tolist()) <= {0.0, 1.0}
    assert (X[:, :half, 1].sum(axis=1) == 1).all()
    assert (X[:, half:, 1].sum(axis=1) == 1).all()
    assert np.array_equal(y[:, 0], (X[:, :, 0] * X[:, :, 1]).sum(axis=1))  # the exact solution


def test_the_statistics_of_adding() -> None:
    """Five standard errors: the variance of (y-1)^2, of two uniform numbers, is 7/180."""
    count, steps = 20000, 10
    X, y = adding(count, steps, seed=1)
    numbers, marks = X[:, :, 0], X[:, :, 1]
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean() == pytest.approx(1 / 2, abs=5 * (1 / 12 / numbers.size) ** 0.5)
    assert numbers.var() == pytest.approx(1 / 12, abs=5 * (1 / 180 / numbers.size) ** 0.5)
    assert y.mean() == pytest.approx(1, abs=5 * (1 / 6 / count) ** 0.5)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, abs=5 * (7 / 180 / count) ** 0.5)
    share = 2 / steps  # each step of its half is marked alike
    assert marks.mean(axis=0) == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)


@pytest.mark.parametrize(("delay", "length", "symbols"), [(1, 1, 1), (5, 3, 4), (100, 10, 8)])
def test_copy_reads_as_defined(delay: int, length: int, symbols: int) -> None:
    X, y = copy(50, delay, seed=2, length=length, symbols=symbols)
    steps, blank, delimiter = delay + 2 * length, symbols, symbols + 1
    assert X.shape == (50, steps, symbols + 2)
    assert (X.dtype, y.dtype) == (np.float32, np.int64)
    assert (X.sum(axis=2) == 1).all()
    assert set(X.ravel().tolist()) == {0.0, 1.0}
    read = X.argmax(axis=2)
    assert (read[:, :length] < symbols).all()
    assert (read[:, length : length + delay - 1] == blank).all()
    assert (read[:, length + delay - 1] == delimiter).all()
    assert (read[:, length + delay :] == blank).all()
    assert (y[:, : length + delay] == blank).all()
    assert np.array_equal(y[:, length + delay :], read[:, :length])


def test_copy_is_the_papers_by_default_and_blind_answers_cost_what_is_said() -> None:
    count, delay = 5000, 30
    X, y = copy(count, delay)
    steps = delay + 20
    assert X.shape == (count, steps, 10)
    counts = np.bincount(y[:, -10:].ravel(), minlength=8)
    chi_squared = ((counts - counts.sum() / 8) ** 2 / (counts.sum() / 8)).sum()
    assert chi_squared < 30  # 7 degrees of freedom: exceeded once in ten thousand
    blind = np.full((count, steps, 9), -1e9)
    blind[:, :-10, 8] = 0
    blind[:, -10:, :8] = 0
    loss, _ = gru.losses.cross_entropy(blind, y)
    assert loss == pytest.approx(10 * np.log(8) / steps, rel=1e-12)


def test_a_seed_gives_the_same_task_again() -> None:
    for make in (adding, copy):
        first, again, other = make(20, 20, seed=3), make(20, 20, 3), make(20, 20, seed=4)
        fresh = make(20, 20, seed=None), make(20, 20, seed=None)
        for i in range(2):
            assert np.array_equal(first[i], again[i])
            assert not np.array_equal(first[i], other[i])
            assert not np.array_equal(fresh[0][i], fresh[1][i])


def test_no_sequences_have_their_shapes_too() -> None:
    assert [a.shape for a in adding(0, 4)] == [(0, 4, 2), (0, 1)]
    assert [a.shape for a in copy(0, 4)] == [(0, 24, 10), (0, 24)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adding(1, 1), ValueError, "steps must be an integer of at least 2, got 1"),
        (lambda: adding(-1, 9), ValueError, "count must be an integer of at least 0, got -1"),
        (lambda: adding(2.5, 9), TypeError, "count must be an integer of at least 0, got 2.5"),
        (lambda: adding(1, 9, "a"), TypeError, "seed must be None or an integer"),
        (lambda: copy(1, 0), ValueError, "delay must be an integer of at least 1, got 0"),
        (lambda: copy(True, 3), TypeError, "count must be an integer of at least 0, got True"),
        (lambda: copy(1, 3, length=0), ValueError, "length must be an integer of at least 1"),
        (lambda: copy(1, 3, symbols=0), ValueError, "symbols must be an integer of at least 1"),
        (lambda: copy(1, 3, seed=-1), ValueError, "seed must be None or an integer of at least 0"),
    ],
)
def test_what_makes_no_task_is_refused(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()
