"""Data to try a network on: one recorded set that ships with the package, and made-up tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gru._types import Array

__all__ = ["JapaneseVowels", "adding_problem", "japanese_vowels"]


@dataclass(frozen=True)
class JapaneseVowels:
    """Utterances and their speakers; see :func:`japanese_vowels`.

    Attributes
    ----------
    X_train, X_test : list of ndarray
        270 and 370 arrays (T_i, 12), float32, 7 <= T_i <= 29.
    y_train, y_test : ndarray of int64
        Speakers 0 .. 8, shapes (270,) and (370,).
    """

    X_train: list[Array]
    y_train: Array
    X_test: list[Array]
    y_test: Array


def japanese_vowels() -> JapaneseVowels:
    """Return 640 recordings of nine men who say the Japanese vowels /ae/; the task is who speaks.

    Each step is 12 cepstral coefficients of a frame of 25.6 ms, with 6.4 ms between frames
    [1]_. From the UCI and UEA archives by way of aeon; ``data/README.md`` in the package has
    source and licence.

    Returns
    -------
    JapaneseVowels
        The archive's own split into training and test data.

    References
    ----------
    .. [1] M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using
       passing-through regions", Pattern Recognition Letters 20 (1999) 1103-1111.

    Examples
    --------
    >>> import gru
    >>> data = gru.datasets.japanese_vowels()
    >>> len(data.X_train), len(data.X_test), data.X_train[0].shape
    (270, 370, (20, 12))
    """
    with np.load(Path(__file__).parent / "data" / "japanese_vowels.npz") as stored:
        frames = (stored["frames_1e6"] / 1e6).astype(np.float32)
        lengths, speakers = stored["lengths"].astype(np.int64), stored["speakers"].astype(np.int64)
        train = int(stored["train"])
    utterances = np.split(frames, np.cumsum(lengths)[:-1])
    return JapaneseVowels(
        utterances[:train], speakers[:train], utterances[train:], speakers[train:]
    )


def adding_problem(count: int, steps: int, seed: int = 0) -> tuple[Array, Array]:
    """Make sequences whose two marked numbers are to be added: a test of memory.

    Hochreiter and Schmidhuber 1997, in the form that later papers use: each step holds a number
    from U(0, 1) and a mark; one step in each half is marked. To answer 1 always gives a mean
    squared error of 1/6.

    Parameters
    ----------
    count, steps : int
        Sequences, and steps of each (at least 2).
    seed : int
        Of the numbers and marks.

    Returns
    -------
    X : ndarray of float32
        Shape (count, steps, 2): number and mark.
    y : ndarray of float32
        Shape (count, 1): the sum of the two marked numbers.

    Raises
    ------
    ValueError
        If there are fewer than 2 steps.

    Examples
    --------
    >>> import gru
    >>> X, y = gru.datasets.adding_problem(100, 50, seed=1)
    >>> bool(((X[:, :, 0] * X[:, :, 1]).sum(axis=1) == y[:, 0]).all())
    True
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    rng = np.random.default_rng(seed)
    numbers = rng.random((count, steps), dtype=np.float32)
    rows, half = np.arange(count), steps // 2
    first, second = rng.integers(0, half, count), rng.integers(half, steps, count)
    marks = np.zeros_like(numbers)
    marks[rows, first] = marks[rows, second] = 1.0
    total = numbers[rows, first] + numbers[rows, second]
    return np.stack([numbers, marks], axis=2), total[:, None]
