"""Arrays and ragged lists, with targets and weights, from which batches are cut; knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.batching import WINDOW, batches, cut, entries, pad
from gru.counting import counting
from gru.finite import cast, check_batch, check_finite, check_range
from gru.weights import ClassWeights, sample_weights

__all__ = [
    "WINDOW",
    "Batch",
    "Dataset",
    "Sequences",
    "batches",
    "check_finite",
    "on_disk",
    "pad",
    "streams",
]

LARGE = 2**28  # bytes from which on an array is cast batch by batch


@dataclass(frozen=True)
class Batch:
    """Inputs of one call of a model, with their targets, and the targets' weights, if any."""

    x: Array
    lengths: Array | None
    mask: Array | None
    y: Array | None = None
    weight: Array | None = None


def on_disk(array: Array) -> bool:
    """Whether an array is a view of a mapped file.

    Examples
    --------
    >>> import numpy as np
    >>> on_disk(np.zeros(3))
    False
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap)


def _cast(values: Any, dtype: np.dtype[Any], name: str) -> Array:
    """Check the kind of numbers and cast them, unless that is better done batch by batch."""
    array = check.numbers(name, values)
    if dtype.kind in "iu" and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers for an embedding, got {array.dtype}")
    if on_disk(array) or (array.dtype != dtype and array.nbytes >= LARGE):
        return array
    return cast(name, array, dtype)


def _targets(name: str, y: Any) -> Array:
    """Return targets as an array of numbers."""
    found = check.array(name, y)
    if found.dtype.kind in "USO":
        raise TypeError(
            f"{name} must hold numbers, got {found.dtype}; number the classes from 0, as "
            "gru.GRUClassifier does by itself"
        )
    return check.numbers(name, found)


class Sequences:
    """Sequences in the dtype of a model, dense or ragged, from which batches are cut.

    Parameters
    ----------
    X : array_like or sequence of array_like
        An array (B, T, I), or a list of arrays (T_i, I); for an embedding, integers (B, T) or
        (T_i,).
    dtype : numpy.dtype
        What the model takes; other numbers are cast. Mapped files (``numpy.memmap``) and arrays
        of 256 MB and more are cast batch by batch, and never copied as a whole.
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
        self.dtype = dtype
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

    @property
    def lazy(self) -> bool:
        """Whether the numbers are read, cast and checked batch by batch."""
        items = self.values if isinstance(self.values, list) else [self.values]
        return any(item.dtype != self.dtype or on_disk(item) for item in items)

    def span(self, index: Array) -> int:
        """Return the number of steps after which nothing of a batch counts."""
        if isinstance(self.values, list):
            return max((len(self.values[i]) for i in index), default=0)
        if self.mask is not None:
            return int(np.flatnonzero(self.mask[index].any(axis=0)).max(initial=-1)) + 1
        if self.lengths is not None:
            return int(self.lengths[index].max(initial=0))
        return int(self.values.shape[1])

    def take(self, index: Array, window: slice | None = None) -> Batch:
        """Cut out one batch, or some steps of it; ragged sequences are padded and get lengths."""
        if isinstance(self.values, list):
            return Batch(*pad(entries(self.values, index, window), self.dtype), None)
        with np.errstate(over="ignore"):  # what does not fit is infinite, and refused as that
            x = cut(self.values, index, window).astype(self.dtype, copy=False)
        lengths = None if self.lengths is None else self.lengths[index]
        if lengths is not None and window is not None:
            lengths = (lengths - window.start).clip(0, x.shape[1])
        return Batch(x, lengths, None if self.mask is None else cut(self.mask, index, window))


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
    class_weight : dict, str or ClassWeights, optional
        Integer class -> weight, 1 where it has none; or ``"balanced"``: n / (k * count), as in
        scikit-learn, over the targets that count. It multiplies ``sample_weight``.
    part : bool
        Whether this is a batch of more data: its ``sample_weight`` may then be 0 everywhere.

    Raises
    ------
    TypeError
        If anything is of the wrong kind; class weights need integer targets.
    ValueError
        If there are not as many targets as sequences, or anything is not finite (what is cast
        batch by batch is checked batch by batch).

    Examples
    --------
    >>> import numpy as np
    >>> inputs = Sequences(np.zeros((4, 3, 2)), np.dtype("float32"))
    >>> data = Dataset(inputs, [0, 0, 0, 1], class_weight="balanced")
    >>> len(data), data.take(np.array([0, 3])).weight.round(2).tolist()
    (4, [0.67, 2.0])
    """

    def __init__(
        self,
        sequences: Sequences,
        y: Any,
        *,
        sample_weight: Any = None,
        class_weight: Any = None,
        part: bool = False,
    ) -> None:
        y = check.several("y", y, "an array or a list of targets, one entry a sequence")
        if len(y) != len(sequences):
            raise ValueError(f"y must have one entry a sequence, {len(sequences)}, got {len(y)}")
        self.sequences = sequences
        self.y: Array | list[Array] = self._per_step(y) or _targets("y", y)
        self._lazy = sequences.lazy
        self._lazy_y = isinstance(self.y, np.ndarray) and on_disk(self.y)
        if not self._lazy:
            check_finite(sequences.values, "X")
        if not self._lazy_y:
            check_finite(self.y, "y")
            check_range(self.y, "y", sequences.dtype)
        self.sample_weight = None if sample_weight is None else self._samples(sample_weight, part)
        self.class_weight: ClassWeights | None = class_weight
        if not (class_weight is None or isinstance(class_weight, ClassWeights)):
            self.class_weight = ClassWeights.of(class_weight, counting(self, self.y))

    def _per_step(self, y: Any) -> list[Array]:
        """Targets of ragged sequences step by step, or an empty list if they are not that."""
        if not self.sequences.ragged or (isinstance(y, np.ndarray) and y.dtype != object):
            return []
        items = [_targets(f"y[{i}]", item) for i, item in enumerate(y)]
        found = [item.shape[0] if item.ndim else -1 for item in items]
        steps = self.sequences.steps.tolist()
        if found == steps:
            return items
        if min(found) >= 0 and len(set(found)) > 1:  # no vectors of one length
            i = next(i for i, (a, b) in enumerate(zip(found, steps, strict=True)) if a != b)
            raise ValueError(
                f"y[{i}] must have one target for each of the {steps[i]} steps of X[{i}], "
                f"got {found[i]}"
            )
        return []

    def _samples(self, weight: Any, part: bool) -> Array | list[Array]:
        values, steps = self.sequences.values, None
        shape: tuple[int, ...] = ()
        if self.per_step and isinstance(values, list):
            steps = [len(item) for item in values]
        elif self.per_step:
            shape = self.sequences.shape
        return sample_weights(weight, steps, len(self), shape, part=part)

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.sequences)

    @property
    def per_step(self) -> bool:
        """Whether there is a target at every step."""
        if isinstance(self.y, list):
            return True
        return not self.sequences.ragged and self.y.shape[:2] == self.sequences.shape

    def take(self, index: Array, window: slice | None = None) -> Batch:
        """Cut out one batch with its targets and their weights, or some steps of it."""
        batch = self.sequences.take(index, window)
        y = cut(self.y, index, window)
        if self._lazy:
            check_batch(batch.x, "X", index, window)
        if self._lazy_y:
            check_batch(y, "y", index, window)
        return Batch(batch.x, batch.lengths, batch.mask, y, self._weight(index, window, y))

    def _weight(self, index: Array, window: slice | None, y: Array) -> Array | None:
        samples: Array | None = None
        if self.sample_weight is not None:
            whole = isinstance(self.sample_weight, np.ndarray) and self.sample_weight.ndim == 1
            samples = cut(self.sample_weight, index, None if whole else window)
        if self.class_weight is None:
            return samples
        classes = self.class_weight(y)
        if samples is None:
            return classes
        both = max(classes.ndim, samples.ndim)
        a, b = (item.reshape(item.shape + (1,) * (both - item.ndim)) for item in (classes, samples))
        return np.asarray(a * b)


def streams(X: Any, y: Any, batch_size: int) -> tuple[Array, Array]:
    """Cut one long sequence into parallel streams, for truncated backpropagation.

    Row i of the result is the i-th part of the sequence; a rest that does not fill all rows is
    left out. With ``fit(..., batch_size=batch_size, bptt_steps=n)`` all rows advance side by side,
    n steps at a time, as language models are trained.

    Parameters
    ----------
    X : array_like
        Shape (T, I), or integers (T,) for an embedding.
    y : array_like
        Shape (T, ...): a target for each step.
    batch_size : int
        Streams, from 1 to T.

    Returns
    -------
    X, y : ndarray
        Shapes (batch_size, T // batch_size, ...): views, of a mapped file too.

    Raises
    ------
    TypeError, ValueError
        If X or y holds no numbers, they differ in length, or are shorter than ``batch_size``.

    Examples
    --------
    >>> import numpy as np
    >>> text = np.arange(8)
    >>> X, y = streams(text[:-1], text[1:], 2)
    >>> X.tolist(), y.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    inputs, targets = check.numbers("X", X), check.numbers("y", y)
    for name, array in (("X", inputs), ("y", targets)):
        if not array.ndim:
            raise ValueError(f"{name} must have steps, got shape ()")
    if len(inputs) != len(targets):
        raise ValueError(f"y must have one entry a step, {len(inputs)}, got {len(targets)}")
    rows = check.integer("batch_size", batch_size, 1, max(len(inputs), 1))
    steps = len(inputs) // rows
    x, t = (
        part[: rows * steps].reshape(rows, steps, *part.shape[1:]) for part in (inputs, targets)
    )
    return x, t
