"""Which targets of a data set count in the loss, looked at some sequences at a time; knows no loss.

Targets may lie in a mapped file, so they are never copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gru._types import Array
from gru.finite import BLOCK
from gru.rows import select, valid_rows

if TYPE_CHECKING:
    from gru.data import Dataset

__all__ = ["check_counting", "counting"]


def counting(data: Dataset, values: Array | list[Array]) -> Iterator[Array]:
    """Yield what belongs to the targets that count, of what all targets have.

    Parameters
    ----------
    data : Dataset
        Whose targets.
    values : ndarray or list of ndarray
        Targets, or weights of sequences or of steps.

    Yields
    ------
    ndarray
        Of some sequences, in one row; at least one array, which may be empty.

    Examples
    --------
    >>> import numpy as np
    >>> from gru.data import Dataset, Sequences
    >>> inputs = Sequences(np.zeros((2, 3, 1)), np.dtype("float32"), lengths=[1, 2])
    >>> data = Dataset(inputs, [[1, 2, 3], [4, 5, 6]])
    >>> [part.tolist() for part in counting(data, data.y)]
    [[1, 4, 5]]
    """
    for rows in _spans(data):
        yield _part(data, values, rows)


def check_counting(data: Dataset) -> None:
    """Refuse targets of which none counts: any model would be perfect.

    Raises
    ------
    ValueError
        Saying what leaves them out.

    Examples
    --------
    >>> import numpy as np
    >>> from gru.data import Dataset, Sequences
    >>> check_counting(Dataset(Sequences(np.zeros((0, 3, 1)), np.dtype("float32")), np.zeros(0)))
    Traceback (most recent call last):
    ...
    ValueError: X must leave at least one target that counts, got none
    """
    left: dict[str, bool] = {}
    for rows in _spans(data):
        total: Array = np.ones(())
        for name, weight in _each_weight(data, rows):
            total = total * weight
            left[name] = left.get(name, False) or bool(total.any())
        if all(left.values()):
            return
    name = next(name for name, some in left.items() if not some)
    raise ValueError(f"{name} must leave at least one target that counts, got none")


def _each_weight(data: Dataset, rows: slice) -> Iterator[tuple[str, Array]]:
    """Yield what decides how much targets count, and its weight of each that may."""
    inputs = data.sequences
    name = "mask" if inputs.mask is not None else "X" if inputs.lengths is None else "lengths"
    yield name, np.array(_some_target(data, rows))
    if data.sample_weight is not None:
        yield "sample_weight", _part(data, data.sample_weight, rows)
    if data.class_weight is not None:
        yield "class_weight", data.class_weight(_part(data, data.y, rows))


def _spans(data: Dataset) -> Iterator[slice]:
    """Yield which sequences are looked at together; of none, an empty slice."""
    if isinstance(data.y, list):
        block = np.cumsum([item.size for item in data.y]) // BLOCK
        edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(data)]
    else:
        rows = max(BLOCK // max(data.y[:1].size, 1), 1)
        edges = [*range(0, max(len(data), 1), rows), len(data)]
    for first, last in pairwise(edges):
        yield slice(first, last)


def _part(data: Dataset, values: Array | list[Array], rows: slice) -> Array:
    """Return what :func:`counting` yields of some sequences."""
    if isinstance(values, list):
        return np.concatenate(values[rows])
    inputs, part = data.sequences, values[rows]
    if not data.per_step:
        return part
    if part.ndim == 1:  # one weight for all steps of a sequence
        if inputs.ragged:
            return np.repeat(part, [len(item) for item in inputs.values[rows]])
        part = np.broadcast_to(part[:, None], (len(part), inputs.shape[1]))
    return select(part, _valid(data, rows), 2)


def _valid(data: Dataset, rows: slice) -> Array | None:
    """Return which steps of arrays with a target at every step count."""
    inputs = data.sequences
    lengths, mask = (None if of is None else of[rows] for of in (inputs.lengths, inputs.mask))
    shape = (rows.stop - rows.start, inputs.shape[1], 0)
    return valid_rows(np.broadcast_to(0.0, shape), lengths, mask)


def _some_target(data: Dataset, rows: slice) -> bool:
    """Whether any target counts by its step."""
    if isinstance(data.y, list):
        return any(map(len, data.y[rows]))
    valid = _valid(data, rows) if data.per_step else None
    return all(data.y[rows].shape[: 1 + data.per_step]) if valid is None else bool(valid.any())
