"""Which rows of a prediction count, by lengths and mask; knows no loss and no metric."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gru import check
from gru._types import Array

__all__ = ["checked", "count_rows", "matched", "row_weights", "select", "valid_rows"]


def checked(prediction: Any) -> Array:
    """Return a prediction if it is one.

    Raises
    ------
    TypeError
        If it is no float32 or float64 array.
    ValueError
        If its shape is neither (B, K) nor (B, T, K).

    Examples
    --------
    >>> import numpy as np
    >>> checked(np.zeros(3))
    Traceback (most recent call last):
    ...
    ValueError: prediction must have shape (B, K) or (B, T, K), got (3,)
    """
    wanted = "a float32 or float64 array"
    found: Array = check.instance("prediction", prediction, np.ndarray, wanted)
    if found.dtype not in (np.float32, np.float64):
        raise TypeError(f"prediction must be {wanted}, got {found.dtype}")
    if found.ndim not in (2, 3):
        raise ValueError(f"prediction must have shape (B, K) or (B, T, K), got {found.shape}")
    return found


def matched(target: Any, prediction: Array) -> Array:
    """Return numbers in the prediction's shape, of which a last axis of 1 may be missing.

    Raises
    ------
    TypeError
        If the target holds no numbers.
    ValueError
        If its shape is another one.

    Examples
    --------
    >>> import numpy as np
    >>> matched([0, 1], np.zeros((2, 3)))
    Traceback (most recent call last):
    ...
    ValueError: target must have shape (2, 3) to match the prediction, got (2,)
    """
    values = check.numbers("target", target)
    shapes = [prediction.shape]
    if prediction.shape[-1:] == (1,):
        shapes.append(prediction.shape[:-1])
    if values.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(
            f"target must have shape {wanted} to match the prediction, got {values.shape}"
        )
    return values.reshape(prediction.shape)


def _steps_before(lengths: Any, batch: int, steps: int) -> Array:
    """Return the steps before each length, in the engine's terms and words."""
    found = check.array("lengths", lengths)
    if found.dtype.kind not in "iu":
        raise TypeError(f"lengths must hold integers, got dtype {found.dtype}")
    if found.shape != (batch,):
        raise ValueError(f"lengths must have shape (B,) = ({batch},), got {found.shape}")
    for b in np.flatnonzero((found < 0) | (found > steps))[:1]:
        raise ValueError(f"lengths[{b}] must be from 0 to {steps}, got {found[b]}")
    return np.asarray(np.arange(steps) < found[:, None])


def _steps_of(mask: Any, batch: int, steps: int) -> Array:
    """Return the steps that a mask lets count, in the engine's terms and words."""
    found = check.array("mask", mask)
    if found.dtype != bool:
        raise TypeError(f"mask must hold booleans, True where a step is valid, got {found.dtype}")
    if found.shape != (batch, steps):
        raise ValueError(f"mask must have shape (B, T) = {(batch, steps)}, got {found.shape}")
    return found


def valid_rows(prediction: Array, lengths: Any = None, mask: Any = None) -> Array | None:
    """Return the steps that count as bool (B, T), or ``None`` if all rows do.

    Parameters
    ----------
    prediction : ndarray
        Shape (B, K), or (B, T, K) with one row a step.
    lengths : array_like of int, optional
        Shape (B,).
    mask : array_like of bool, optional
        Shape (B, T); not together with lengths.

    Raises
    ------
    TypeError
        If lengths are no integers or the mask no booleans.
    ValueError
        If both are given, or one for a prediction without steps, or it does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> valid_rows(np.zeros((2, 3, 1)), lengths=[3, 1]).tolist()
    [[True, True, True], [True, False, False]]
    """
    if lengths is None and mask is None:
        return None
    if lengths is not None and mask is not None:
        raise ValueError("give lengths or mask, not both")
    if prediction.ndim == 2:
        raise ValueError(f"lengths and mask need a prediction (B, T, K), got {prediction.shape}")
    batch, steps, _ = prediction.shape
    return (
        _steps_of(mask, batch, steps) if lengths is None else _steps_before(lengths, batch, steps)
    )


def count_rows(prediction: Array, lengths: Any = None, mask: Any = None) -> int:
    """Return how many rows of a prediction count.

    Examples
    --------
    >>> import numpy as np
    >>> count_rows(np.zeros((2, 3, 1)), lengths=[3, 1])
    4
    """
    valid = valid_rows(prediction, lengths, mask)
    return prod(prediction.shape[:-1]) if valid is None else int(valid.sum())


def select(array: Array, valid: Array | None, axes: int) -> Array:
    """Return the rows that count, the first ``axes`` axes made one.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.arange(6).reshape(2, 3), np.array([[True, False, True], [False] * 3]), 2)
    array([0, 2])
    """
    return array.reshape(-1, *array.shape[axes:]) if valid is None else array[valid]


def row_weights(weight: Any, prediction: Array, valid: Array | None) -> Array:
    """Return the weights of the rows that count, as float64 (n,).

    Parameters
    ----------
    weight : array_like
        Shape (B,), or (B, T) for a prediction (B, T, K).
    prediction : ndarray
        Shape (B, K) or (B, T, K).
    valid : ndarray of bool or None
        As :func:`valid_rows` gives it.

    Raises
    ------
    TypeError, ValueError
        If the weights are no numbers or do not fit the prediction.

    Examples
    --------
    >>> import numpy as np
    >>> row_weights([1, 2], np.zeros((2, 2, 1)), np.array([[True, False], [True, True]]))
    array([1., 2., 2.])
    """
    outer = prediction.shape[:-1]
    weight = check.numbers("weight", weight).astype(np.float64, copy=False)
    if weight.shape not in (outer[:1], outer):
        wanted = " or ".join(map(str, dict.fromkeys([outer[:1], outer])))
        raise ValueError(
            f"weight must have shape {wanted} for a prediction {prediction.shape}, "
            f"got {weight.shape}"
        )
    weight = weight.reshape(weight.shape + (1,) * (len(outer) - weight.ndim))
    return select(np.broadcast_to(weight, outer), valid, len(outer))
