"""Which rows of a prediction count, by lengths and mask; knows no loss and no metric."""

from __future__ import annotations

from typing import Any

import numpy as np

from gru._types import Array

__all__ = ["count_rows", "select", "valid_rows"]


def valid_rows(prediction: Array, lengths: Any = None, mask: Any = None) -> Array | None:
    """Return the steps that count as bool (B, T), or ``None`` if all rows do.

    Parameters
    ----------
    prediction : ndarray
        Shape (B, K), or (B, T, K) with one row a step.
    lengths : array_like of int, optional
        Shape (B,).
    mask : array_like of bool, optional
        Shape (B, T). A step counts if both lengths and mask allow it.

    Raises
    ------
    ValueError
        If lengths or mask are given for a prediction without steps, or do not fit it.

    Examples
    --------
    >>> import numpy as np
    >>> valid_rows(np.zeros((2, 3, 1)), lengths=[3, 1]).tolist()
    [[True, True, True], [True, False, False]]
    """
    if prediction.ndim not in (2, 3):
        raise ValueError(f"prediction must have shape (B, K) or (B, T, K), got {prediction.shape}")
    if lengths is None and mask is None:
        return None
    if prediction.ndim == 2:
        raise ValueError(f"lengths and mask need a prediction (B, T, K), got {prediction.shape}")
    batch, steps, _ = prediction.shape
    valid = np.ones((batch, steps), dtype=bool)
    if lengths is not None:
        if np.shape(lengths) != (batch,):
            raise ValueError(f"lengths must have shape ({batch},), got {np.shape(lengths)}")
        valid &= np.arange(steps) < np.asarray(lengths)[:, None]
    if mask is not None:
        if np.shape(mask) != (batch, steps):
            raise ValueError(f"mask must have shape {(batch, steps)}, got {np.shape(mask)}")
        valid &= np.asarray(mask, dtype=bool)
    return valid


def count_rows(prediction: Array, lengths: Any = None, mask: Any = None) -> int:
    """Return how many rows of a prediction count.

    Examples
    --------
    >>> import numpy as np
    >>> count_rows(np.zeros((2, 3, 1)), lengths=[3, 1])
    4
    """
    valid = valid_rows(prediction, lengths, mask)
    return int(np.prod(prediction.shape[:-1])) if valid is None else int(valid.sum())


def select(array: Array, valid: Array | None, axes: int) -> Array:
    """Return the rows that count, the first ``axes`` axes made one.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.arange(6).reshape(2, 3), np.array([[True, False, True], [False] * 3]), 2)
    array([0, 2])
    """
    return array.reshape(-1, *array.shape[axes:]) if valid is None else array[valid]
