"""Refuses numbers that are not finite, or too large, naming the first; knows no data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gru._types import Array

__all__ = ["cast", "check_batch", "check_finite", "check_range"]

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
    for label, part in _labelled(values, name):
        if part.dtype.kind == "f":
            _check_all(part, label, f"{name} must be finite", np.isfinite)


def check_range(values: Array | Sequence[Array], name: str, dtype: np.dtype[Any]) -> None:
    """Refuse numbers that are infinite when cast to a narrower type.

    Raises
    ------
    ValueError
        Naming the first index that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> check_range(np.array([1.0, 1e300]), "y", np.dtype("float32"))
    Traceback (most recent call last):
    ...
    ValueError: y must fit float32, got 1e+300 at y[1]
    """
    if dtype.kind != "f":
        return

    def fits(block: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(np.isfinite(block.astype(dtype)) | ~np.isfinite(block))

    for label, part in _labelled(values, name):
        if part.dtype.kind == "f" and part.dtype.itemsize > dtype.itemsize:
            _check_all(part, label, f"{name} must fit {dtype}", fits)


def cast(name: str, values: Array, dtype: np.dtype[Any]) -> Array:
    """Cast numbers; those that would become infinite are refused as in :func:`check_range`.

    Examples
    --------
    >>> import numpy as np
    >>> cast("X", np.array([1.5]), np.dtype("float32"))
    array([1.5], dtype=float32)
    """
    try:
        with np.errstate(over="raise"):
            return values.astype(dtype, copy=False)
    except FloatingPointError:
        check_range(values, name, dtype)
        raise


def _labelled(values: Array | Sequence[Array], name: str) -> list[tuple[str, Array]]:
    if isinstance(values, np.ndarray):
        return [(name, values)]
    return [(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _check_all(part: Array, label: str, wanted: str, good: Callable[[Array], Array]) -> None:
    """Refuse an array with a number that is not good, looking at some rows at a time."""
    part = np.atleast_1d(part)
    rows = max(BLOCK // max(part[:1].size, 1), 1)
    for first in range(0, len(part), rows):
        block = part[first : first + rows]
        found = good(block)
        if not found.all():
            row, *rest = (int(i) for i in np.argwhere(~found)[0])
            where = ", ".join(map(str, (first + row, *rest)))
            raise ValueError(f"{wanted}, got {block[(row, *rest)]} at {label}[{where}]")


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
