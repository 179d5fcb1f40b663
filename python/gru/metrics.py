"""Numbers that people read while a model trains; knows no model and no loss function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gru._types import Array
from gru.rows import checked, select, valid_rows

__all__ = ["METRICS", "USUAL_METRIC", "Metric", "accuracy", "mean_absolute_error"]

Metric = Callable[..., float]


def accuracy(prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None) -> float:
    """Return the share of rows whose class is right.

    Parameters
    ----------
    prediction : ndarray
        Logits (B, K) or (B, T, K).
    target : array_like
        Integer classes (B,) or (B, T); or, for logits of independent yes/no questions, 0 or 1 in
        the prediction's shape (a last axis of 1 may be missing).
    lengths, mask : array_like, optional
        Which steps count; one or neither.

    Returns
    -------
    float
        In [0, 1]; nan if no row counts.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([[2.0, 1.0], [0.0, 3.0]]), [0, 0])
    0.5
    """
    target = np.asarray(target)
    prediction = checked(prediction)
    if target.shape == prediction.shape or prediction.shape[-1] == 1:
        right = (prediction > 0) == (target.reshape(prediction.shape) > 0.5)
    else:
        right = prediction.argmax(axis=-1) == target
    return _mean(right, prediction, lengths, mask)


def mean_absolute_error(
    prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None
) -> float:
    """Return the mean of ``|prediction - target|``; arguments as in :func:`gru.losses.mae`.

    Examples
    --------
    >>> import numpy as np
    >>> mean_absolute_error(np.array([[1.0], [3.0]]), [0.0, 0.0])
    2.0
    """
    prediction = checked(prediction)
    error = np.abs(prediction - np.asarray(target).reshape(prediction.shape))
    return _mean(error, prediction, lengths, mask)


def _mean(values: Array, prediction: Array, lengths: Any, mask: Any) -> float:
    chosen = select(values, valid_rows(prediction, lengths, mask), prediction.ndim - 1)
    return float(chosen.mean()) if chosen.size else float("nan")


METRICS: dict[str, Metric] = {"accuracy": accuracy, "mae": mean_absolute_error}
# What is shown for a loss when nothing else is asked for.
USUAL_METRIC = {
    "cross_entropy": "accuracy",
    "binary_cross_entropy": "accuracy",
    "mse": "mae",
    "mae": "mae",
    "huber": "mae",
}
