"""Turns arrays and ragged lists into batches: casts, checks, pads, buckets; knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.rows import select, valid_rows
from gru.weights import ClassWeights, sample_weights

__all__ = ["Batch", "Dataset", "Sequences", "batches", "check_finite", "pad"]

WINDOW = 8  # batches that are sorted by length together: short enough to keep batches random


def pad(items: Sequence[Array]) -> tuple[Array, Array]:
    """Put arrays of different lengths side by side, filled up with zeros.

    Parameters
    ----------
    items : sequence of ndarray
        Arrays (T_i, ...) that agree in all axes but the first; at least one.

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
    padded = np.zeros((len(items), int(lengths.max()), *items[0].shape[1:]), items[0].dtype)
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    return padded, lengths


def check_finite(values: Array | Sequence[Array], name: str) -> None:
    """Refuse NaN and infinities.

    Raises
    ------
    ValueError
        Naming the first index that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> check_finite(np.array([[0.0, np.nan]]), "X")
    Traceback (most recent call last):
    ...
    ValueError: X must be finite, got nan at X[0, 1]
    """
    parts: list[tuple[str, Array]] = (
        [(name, values)]
        if isinstance(values, np.ndarray)
        else [(f"{name}[{i}]", value) for i, value in enumerate(values)]
    )
    for label, part in parts:
        if part.dtype.kind in "fc" and not np.isfinite(part).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(part))[0])
            where = ", ".join(map(str, at))
            raise ValueError(f"{name} must be finite, got {part[at]} at {label}[{where}]")


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


@dataclass(frozen=True)
class Batch:
    """Inputs of one call of a model, with their targets, and the targets' weights, if any."""

    x: Array
    lengths: Array | None
    mask: Array | None
    y: Array | None = None
    weight: Array | None = None


def _cast(values: Any, dtype: np.dtype[Any], name: str) -> Array:
    array = check.numbers(name, values)
    if dtype.kind in "iu" and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers for an embedding, got {array.dtype}")
    return array.astype(dtype, copy=False)


class Sequences:
    """Sequences in the dtype of a model, dense or ragged, from which batches are cut.

    Parameters
    ----------
    X : array_like or sequence of array_like
        An array (B, T, I), or a list of arrays (T_i, I); for an embedding, integers (B, T) or
        (T_i,).
    dtype : numpy.dtype
        What the model takes; other numbers are cast.
    lengths, mask : array_like, optional
        Shapes (B,) and (B, T); only with an array.

    Raises
    ------
    TypeError
        If X holds anything but numbers, or for an embedding anything but integers.
    ValueError
        If the sequences do not agree in width, or lengths or mask in number.

    Examples
    --------
    >>> import numpy as np
    >>> data = Sequences([np.ones((2, 3)), np.ones((4, 3))], np.dtype("float32"))
    >>> data.take(np.array([1, 0])).x.shape
    (2, 4, 3)
    """

    def __init__(
        self, X: Any, dtype: np.dtype[Any], *, lengths: Any = None, mask: Any = None
    ) -> None:
        X = check.several("X", X, "an array (B, T, I) or a list of arrays (T_i, I)")
        self.ragged = not (isinstance(X, np.ndarray) and X.dtype != object)
        self.lengths = None if lengths is None else check.numbers("lengths", lengths)
        self.mask = None if mask is None else check.numbers("mask", mask)
        self.values: Array | list[Array]
        if self.ragged:
            self.values = [_cast(item, dtype, f"X[{i}]") for i, item in enumerate(X)]
            self._check_ragged(1 if dtype.kind in "iu" else 2)
        else:
            self.values = _cast(X, dtype, "X")
        for name, given in (("lengths", self.lengths), ("mask", self.mask)):
            if given is not None and given.shape[:1] != (len(self.values),):
                raise ValueError(
                    f"{name} must have one row a sequence, {len(self.values)}, "
                    f"got shape {given.shape}"
                )

    def _check_ragged(self, axes: int) -> None:
        if self.lengths is not None or self.mask is not None:
            raise ValueError("lengths and mask go with an array X; a list has its own lengths")
        for i, item in enumerate(self.values):
            width = self.values[0].shape[1:]
            if item.ndim != axes or item.shape[1:] != width:
                wanted = "(T,)" if axes == 1 else f"(T, {width[0] if len(width) == 1 else 'I'})"
                raise ValueError(f"X[{i}] must have shape {wanted}, got {item.shape}")

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(B, T)``, or ``(B,)`` of ragged sequences."""
        return (len(self),) if isinstance(self.values, list) else self.values.shape[:2]

    @property
    def steps(self) -> Array:
        """Steps of each sequence that count, shape (B,)."""
        if isinstance(self.values, list):
            return np.array([len(item) for item in self.values], dtype=np.int64)
        if self.mask is not None:
            return np.asarray(self.mask.reshape(len(self), -1).sum(axis=1))
        if self.lengths is not None:
            return self.lengths
        return np.zeros(len(self), dtype=np.int64)  # all alike

    def take(self, index: Array) -> Batch:
        """Cut out one batch; ragged sequences are padded and get lengths."""
        if isinstance(self.values, list):
            x, lengths = pad([self.values[i] for i in index])
            return Batch(x, lengths, None)
        return Batch(
            self.values[index],
            None if self.lengths is None else self.lengths[index],
            None if self.mask is None else self.mask[index],
        )


class Dataset:
    """Sequences with their targets.

    Parameters
    ----------
    sequences : Sequences
        The inputs.
    y : array_like or sequence of array_like
        One entry a sequence: a class, a number or a vector; or one row a step, as an array
        (B, T, ...) or, for ragged inputs, a list of arrays (T_i, ...).
    sample_weight : array_like or sequence of array_like, optional
        How much each target counts in the loss, at least 0: (B,), or one number a step: (B, T),
        or for ragged inputs a list of (T_i,).
    class_weight : dict or str, optional
        Integer class -> weight, 1 where it has none; or ``"balanced"``: n / (k * count), as in
        scikit-learn, over the targets that count. It multiplies ``sample_weight``.

    Raises
    ------
    TypeError
        If anything is of the wrong kind; class weights need integer targets.
    ValueError
        If there are not as many targets as sequences, or anything is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> inputs = Sequences(np.zeros((4, 3, 2)), np.dtype("float32"))
    >>> data = Dataset(inputs, [0, 0, 0, 1], class_weight="balanced")
    >>> len(data), data.take(np.array([0, 3])).weight.round(2).tolist()
    (4, [0.67, 2.0])
    """

    def __init__(
        self, sequences: Sequences, y: Any, *, sample_weight: Any = None, class_weight: Any = None
    ) -> None:
        y = check.several("y", y, "an array or a list of targets, one entry a sequence")
        if len(y) != len(sequences):
            raise ValueError(f"y must have one entry a sequence, {len(sequences)}, got {len(y)}")
        self.sequences = sequences
        self.y: Array | list[Array] = self._per_step(y) or check.numbers("y", y)
        check_finite(sequences.values, "X")
        check_finite(self.y, "y")
        self.sample_weight = None if sample_weight is None else self._samples(sample_weight)
        self.class_weight = (
            None if class_weight is None else ClassWeights.of(class_weight, self._targets())
        )

    def _per_step(self, y: Any) -> list[Array]:
        """Targets of ragged sequences step by step, or an empty list if they are not that."""
        if not self.sequences.ragged or (isinstance(y, np.ndarray) and y.dtype != object):
            return []
        items = [check.numbers(f"y[{i}]", item) for i, item in enumerate(y)]
        lengths = [item.shape[0] if item.ndim else -1 for item in items]
        return items if lengths == self.sequences.steps.tolist() else []

    def _samples(self, weight: Any) -> Array | list[Array]:
        values = self.sequences.values
        if isinstance(values, list):
            return sample_weights(weight, [len(item) for item in values], len(self), ())
        return sample_weights(weight, None, len(self), values.shape[:2])

    def _targets(self) -> list[Array]:
        """Return the targets that count."""
        if isinstance(self.y, list):
            return self.y
        if self.y.shape[:2] != self.sequences.shape:
            return [self.y]
        rows = np.broadcast_to(0.0, (*self.y.shape[:2], 0))
        return [select(self.y, valid_rows(rows, self.sequences.lengths, self.sequences.mask), 2)]

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.sequences)

    def take(self, index: Array) -> Batch:
        """Cut out one batch with its targets and their weights."""
        batch = self.sequences.take(index)
        y = _cut(self.y, index)
        return Batch(batch.x, batch.lengths, batch.mask, y, self._weight(index, y))

    def _weight(self, index: Array, y: Array) -> Array | None:
        samples = None if self.sample_weight is None else _cut(self.sample_weight, index)
        if self.class_weight is None:
            return samples
        classes = self.class_weight(y)
        if samples is None:
            return classes
        both = max(classes.ndim, samples.ndim)
        rows = (item.reshape(item.shape + (1,) * (both - item.ndim)) for item in (classes, samples))
        return np.asarray(next(rows) * next(rows))


def _cut(values: Array | list[Array], index: Array) -> Array:
    """Take the entries of a batch; ragged ones are padded."""
    return pad([values[i] for i in index])[0] if isinstance(values, list) else values[index]
