"""Which sequences make a batch, and how they are laid side by side; knows no targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from gru import check
from gru._types import Array

__all__ = ["WINDOW", "batches", "cut", "entries", "pad"]

WINDOW = 8  # batches that are sorted by length together: short enough to keep batches random


def pad(items: Sequence[Array], dtype: DTypeLike | None = None) -> tuple[Array, Array]:
    """Put arrays of different lengths side by side, filled up with zeros.

    Parameters
    ----------
    items : sequence of ndarray
        Arrays (T_i, ...) that agree in all axes but the first; at least one.
    dtype : dtype, optional
        Of the result; that of the first array if not given.

    Returns
    -------
    padded : ndarray
        Shape (B, max T_i, ...).
    lengths : ndarray of int64
        Shape (B,).

    Examples
    --------
    >>> import numpy as np
    >>> padded, lengths = pad([np.array([1, 2]), np.array([3])])
    >>> padded.tolist(), lengths.tolist()
    ([[1, 2], [3, 0]], [2, 1])
    """
    lengths = np.array([len(item) for item in items], dtype=np.int64)
    padded = np.zeros(
        (len(items), int(lengths.max()), *items[0].shape[1:]), dtype or items[0].dtype
    )
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    return padded, lengths


def batches(
    steps: Array, batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[Array]:
    """Yield the indices of each batch, sequences of like length together.

    Parameters
    ----------
    steps : ndarray of int
        Length of every sequence.
    batch_size : int
        Sequences in a batch, at least 1; the last one may be smaller.
    rng : numpy.random.Generator, optional
        With it: shuffle, sort windows of eight batches by length, shuffle the batches. Without:
        sort all by length.

    Raises
    ------
    TypeError, ValueError
        If ``batch_size`` is no integer or less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> [index.tolist() for index in batches(np.array([5, 2, 9]), 2)]
    [[1, 0], [2]]
    """
    batch_size = check.integer("batch_size", batch_size, 1)
    count = len(steps)
    order = np.arange(count) if rng is None else rng.permutation(count)
    window = count if rng is None else WINDOW * batch_size
    for start in range(0, count, max(window, 1)):
        part = order[start : start + window]
        order[start : start + window] = part[np.argsort(steps[part], kind="stable")]
    starts = np.arange(0, count, batch_size)
    if rng is not None:
        rng.shuffle(starts)
    for first in starts:
        yield order[first : first + batch_size]


def entries(values: list[Array], index: Array, window: slice | None) -> list[Array]:
    """Take the entries of a batch out of a ragged list, and of these some steps.

    Examples
    --------
    >>> import numpy as np
    >>> entries([np.arange(2), np.arange(4)], np.array([1]), slice(1, 3))
    [array([1, 2])]
    """
    found = [values[i] for i in index.tolist()]
    return found if window is None else [entry[window] for entry in found]


def cut(values: Array | list[Array], index: Array, window: slice | None) -> Array:
    """Take the entries of a batch, and of these some steps; ragged ones are padded.

    Examples
    --------
    >>> import numpy as np
    >>> cut(np.arange(6).reshape(2, 3), np.array([1]), slice(1, 3)).tolist()
    [[4, 5]]
    """
    if isinstance(values, list):
        return pad(entries(values, index, window))[0]
    return values[index] if window is None else values[index, window]
