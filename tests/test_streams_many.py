"""Steps of many rows, which take a few blocks of units at a time: the bits of whole sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru
from test_streams import EVERY_CELL, EVERY_DTYPE, numbers, randomise

ROWS, STEPS = 70, 3  # more than a pool runs side by side; odd steps go through the weights backward


@EVERY_CELL
@EVERY_DTYPE
@pytest.mark.parametrize("hidden", [37, 141, 300])  # blocks of 4, 8 and 16 units, the last not full
def test_many_rows_have_the_bits_of_the_whole(
    cell: str, options: dict[str, Any], dtype: str, hidden: int, isa: str
) -> None:
    layers = [getattr(gru, cell)(5, hidden, dtype=dtype, **options)]
    model = randomise(gru.Sequential([*layers, gru.Linear(hidden, 3, dtype=dtype)]), hidden)
    x = numbers((ROWS, STEPS, 5), dtype)
    y = model(x)
    stream, pool = model.stream(ROWS), gru.StreamPool(model, 2 * ROWS)
    ids = [pool.open() for _ in range(ROWS)]
    for step in range(STEPS):
        np.testing.assert_array_equal(stream.step(x[:, step]), y[:, step])
        some = [row for row in range(ROWS) if step != 1 or row % 3]  # others are left out once
        got = pool.step([ids[row] for row in some], x[some, step])
        if step < 2:
            np.testing.assert_array_equal(got, y[some, step])
        else:
            kept = [row % 3 > 0 for row in some]
            np.testing.assert_array_equal(got[kept], y[some, step][kept])


def test_few_rows_and_many_in_turns(isa: str) -> None:
    """A pool's steps alternate in direction whoever takes part."""
    model = randomise(gru.Sequential([gru.GRU(4, 150)]))
    x = numbers((ROWS, 6, 4))
    y = model(x)
    pool = gru.StreamPool(model, ROWS)
    ids = np.array([pool.open() for _ in range(ROWS)])
    at = np.zeros(ROWS, int)
    for count in (ROWS, 1, 2, 64, 7, 47, ROWS, 5, 13):
        rows = np.random.default_rng(count).permutation(np.flatnonzero(at < 6))[:count]
        got = pool.step(ids[rows], x[rows, at[rows]])
        np.testing.assert_array_equal(got, y[rows, at[rows]])
        at[rows] += 1
