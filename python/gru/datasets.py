"""Data to try a network on: one recorded set that ships with the package, and made-up tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gru import check
from gru._types import Array

__all__ = ["JapaneseVowels", "adding", "copy", "japanese_vowels"]


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


def adding(count: int, steps: int, seed: int | None = 0) -> tuple[Array, Array]:
    """Make sequences whose two marked numbers are to be added: a test of memory.

    Each step holds a number from U(0, 1) and a mark; one step in each half is marked, and the
    marked numbers are to be added. The task is Hochreiter and Schmidhuber's [1]_ in the form
    that later papers use [2]_. To answer 1 always gives a mean squared error of 1/6, the variance
    of the sum of two such numbers.

    Parameters
    ----------
    count, steps : int
        Sequences, at least 0, and steps of each, at least 2.
    seed : int or None
        Of the numbers and marks; with None they differ each time.

    Returns
    -------
    X : ndarray of float32
        Shape (count, steps, 2): number and mark.
    y : ndarray of float32
        Shape (count, 1): the sum of the two marked numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument is no integer or too small.

    References
    ----------
    .. [1] S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997)
       1735-1780, experiment 4.
    .. [2] M. Arjovsky, A. Shah and Y. Bengio, "Unitary evolution recurrent neural networks",
       ICML 2016, section 5.2.

    Examples
    --------
    >>> import gru
    >>> X, y = gru.datasets.adding(100, 50, seed=1)
    >>> bool(((X[:, :, 0] * X[:, :, 1]).sum(axis=1) == y[:, 0]).all())
    True
    """
    count, steps = check.integer("count", count, 0), check.integer("steps", steps, 2)
    rng = np.random.default_rng(check.seed(seed))
    numbers = rng.random((count, steps), dtype=np.float32)
    rows, half = np.arange(count), steps // 2
    first, second = rng.integers(0, half, count), rng.integers(half, steps, count)
    marks = np.zeros_like(numbers)
    marks[rows, first] = marks[rows, second] = 1.0
    total = numbers[rows, first] + numbers[rows, second]
    return np.stack([numbers, marks], axis=2), total[:, None]


def copy(
    count: int, delay: int, seed: int | None = 0, *, length: int = 10, symbols: int = 8
) -> tuple[Array, Array]:
    """Make sequences whose first symbols are to be repeated after a delay: a test of memory.

    With K data symbols 0 .. K-1, the blank K and the delimiter K+1, a sequence of S =
    delay + 2 length steps reads: ``length`` symbols drawn uniformly, ``delay - 1`` blanks, the
    delimiter, ``length`` blanks. The target is blank for ``length + delay`` steps and then repeats
    the symbols in order. This is the copying memory problem of Arjovsky et al. [1]_, whose T is
    ``delay``; their sizes are the defaults. A network without memory does best if it answers
    blank, and at the end any symbol: a cross entropy of ``length log(symbols) / S`` a step.

    Parameters
    ----------
    count, delay : int
        Sequences, at least 0, and steps from the last symbol to the delimiter, at least 1.
    seed : int or None
        Of the symbols; with None they differ each time.
    length, symbols : int
        Symbols to remember, and how many there are to choose from (K); each at least 1.

    Returns
    -------
    X : ndarray of float32
        Shape (count, S, K + 2): one-hot. ``X.argmax(axis=2)`` are the integers for an embedding.
    y : ndarray of int64
        Shape (count, S): classes 0 .. K, one a step.

    Raises
    ------
    TypeError, ValueError
        If an argument is no integer or too small.

    References
    ----------
    .. [1] M. Arjovsky, A. Shah and Y. Bengio, "Unitary evolution recurrent neural networks",
       ICML 2016, section 5.1.

    Examples
    --------
    >>> import gru
    >>> X, y = gru.datasets.copy(1, 3, seed=0, length=2, symbols=4)
    >>> X.argmax(axis=2).tolist(), y.tolist()  # 4 is blank, 5 the delimiter
    ([[3, 2, 4, 4, 5, 4, 4]], [[4, 4, 4, 4, 4, 3, 2]])
    """
    count, delay = check.integer("count", count, 0), check.integer("delay", delay, 1)
    length, symbols = check.integer("length", length, 1), check.integer("symbols", symbols, 1)
    rng = np.random.default_rng(check.seed(seed))
    remembered = rng.integers(0, symbols, (count, length))
    blank, delimiter = symbols, symbols + 1
    y = np.full((count, delay + 2 * length), blank, np.int64)
    read = y.copy()
    read[:, :length] = y[:, length + delay :] = remembered
    read[:, length + delay - 1] = delimiter
    return np.eye(symbols + 2, dtype=np.float32)[read], y
