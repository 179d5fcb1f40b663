"""Refuses numbers that are not finite, naming the first; knows no data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gru._types import Array

__all__ = ["check_batch", "check_finite"]

BLOCK = 2**20  # numbers that are looked at together


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
        if part.dtype.kind == "f":
            rows = max(BLOCK // max(part[:1].size, 1), 1) if part.ndim else 1
            for first in range(0, len(part) if part.ndim else 1, rows):
                _check_block(part[first : first + rows] if part.ndim else part, name, label, first)


def _check_block(block: Array, name: str, label: str, first: int) -> None:
    if not np.isfinite(block).all():
        row, *rest = (int(i) for i in np.argwhere(~np.isfinite(block))[0])
        where = ", ".join(map(str, (first + row, *rest)))
        raise ValueError(f"{name} must be finite, got {block[(row, *rest)]} at {label}[{where}]")


def check_batch(values: Array, name: str, index: Array, window: slice | None) -> None:
    """Refuse NaN and infinities in a batch, naming the place in the whole data.

    Parameters
    ----------
    values : ndarray
        One row for each entry of ``index``.
    name : str
        What the whole is called.
    index : ndarray of int
        Where the rows are in it.
    window : slice, optional
        Which steps they are.

    Raises
    ------
    ValueError
        Naming the first number that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> check_batch(np.array([[0.0, np.inf]]), "X", np.array([7]), slice(10, 12))
    Traceback (most recent call last):
    ...
    ValueError: X must be finite, got inf at X[7, 11]
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        place = [int(index[at[0]]), *at[1:]]
        if window is not None and len(place) > 1:
            place[1] += window.start
        where = ", ".join(map(str, place))
        raise ValueError(f"{name} must be finite, got {values[at]} at {name}[{where}]")
