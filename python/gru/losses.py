"""Losses and their gradients with respect to the prediction; knows no model.

Every loss takes ``prediction`` (B, K), or (B, T, K) with one row a step, and returns
``(value, gradient)``: the mean over all rows that count, as a float, and its gradient, of the
prediction's shape and dtype (0 at rows that do not count). ``lengths`` (B,) and ``mask`` (B, T)
say which steps count; give one or neither. ``weight``, (B,) or (B, T), makes the mean a weighted
one: the sum of ``weight * loss`` over the sum of ``weight``. If no row counts, value and gradient
are 0.
The values are those of PyTorch's ``reduction="mean"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gru import _core, check
from gru._types import Array
from gru.rows import checked, matched, row_weights, select, valid_rows

__all__ = ["LOSSES", "Loss", "binary_cross_entropy", "cross_entropy", "huber", "mae", "mse"]

Loss = Callable[..., tuple[float, Array]]
# Rows (n, K) and their targets -> loss of each row (n,), gradient (n, K): an array of its own.
RowLoss = Callable[[Array, Array], tuple[Array, Array]]


def _reduce(values: Array, slopes: Array, weight: Array | None) -> tuple[float, Array]:
    """Return the mean of rows, which is 0 if nothing counts, and its gradient."""
    if weight is None:
        share = 1.0 / max(len(values), 1)
        slopes *= share  # in place: a language model has megabytes of them
        return float(np.add.reduce(values, dtype=np.float64)) * share, slopes
    total = weight.sum()
    shares = weight / total if total else np.zeros(len(values))
    slopes = (slopes * shares[:, None]).astype(slopes.dtype)
    return float(values.astype(np.float64) @ shares), slopes


def _mean(
    rows: RowLoss,
    prediction: Array,
    target: Any,
    fit: Callable[[Any, Array], Array],
    which: tuple[Any, Any, Any],
) -> tuple[float, Array]:
    """Reduce a loss of rows to its mean; targets at rows that do not count are never read.

    ``fit`` checks a target against its prediction.
    """
    lengths, mask, weight = which
    target = fit(target, checked(prediction))
    valid = valid_rows(prediction, lengths, mask)
    axes = prediction.ndim - 1
    chosen = select(prediction, valid, axes)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows as inf or nan
        values, slopes = rows(chosen, select(target, valid, axes))
        shares = None if weight is None else row_weights(weight, prediction, valid)
        value, slopes = _reduce(values, slopes, shares)
    if valid is None:
        return value, slopes.reshape(prediction.shape)
    gradient = np.zeros_like(prediction)
    gradient[valid] = slopes
    return value, gradient


def _numbers(target: Any, prediction: Array) -> Array:
    """Return the target with the prediction's shape and dtype; a last axis of 1 may be missing."""
    with np.errstate(over="ignore"):  # it shows as a loss of inf
        return matched(target, prediction).astype(prediction.dtype, copy=False)


def mse(
    prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None, weight: Any = None
) -> tuple[float, Array]:
    """Mean squared error, ``(p - t)^2``.

    Parameters
    ----------
    prediction : ndarray
        Shape (B, K) or (B, T, K), float32 or float64.
    target : array_like
        Of the prediction's shape; a last axis of 1 may be missing.
    lengths, mask, weight : array_like, optional
        Which rows count and how much; see :mod:`gru.losses`. Not lengths and mask together.

    Returns
    -------
    value : float
        The mean over rows and features.
    gradient : ndarray
        Of the prediction's shape and dtype.

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If a shape does not fit, or lengths and mask are both given.

    Examples
    --------
    >>> import numpy as np, gru
    >>> value, gradient = gru.losses.mse(np.array([[1.0], [2.0]]), [0.0, 0.0])
    >>> value, gradient.tolist()
    (2.5, [[1.0], [2.0]])
    """

    def rows(p: Array, t: Array) -> tuple[Array, Array]:
        d = p - t
        return (d * d).mean(axis=1), 2.0 * d / p.shape[1]

    return _mean(rows, prediction, target, _numbers, (lengths, mask, weight))


def mae(
    prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None, weight: Any = None
) -> tuple[float, Array]:
    """Mean absolute error, ``|p - t|``; the gradient at 0 is 0. Arguments as in :func:`mse`.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.losses.mae(np.array([[1.0], [-3.0]]), [0.0, 0.0])[0]
    2.0
    """

    def rows(p: Array, t: Array) -> tuple[Array, Array]:
        d = p - t
        return np.abs(d).mean(axis=1), np.sign(d) / p.shape[1]

    return _mean(rows, prediction, target, _numbers, (lengths, mask, weight))


def huber(
    prediction: Array,
    target: Any,
    *,
    delta: float = 1.0,
    lengths: Any = None,
    mask: Any = None,
    weight: Any = None,
) -> tuple[float, Array]:
    """Huber's loss (1964): ``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``.

    Arguments as in :func:`mse`; ``delta`` is above 0.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.losses.huber(np.array([[1.0], [-3.0]]), [0.0, 0.0])[0]
    1.5
    """
    if not check.number("delta", delta) > 0:
        raise ValueError(f"delta must be above 0, got {delta}")

    def rows(p: Array, t: Array) -> tuple[Array, Array]:
        d = p - t
        slope = np.clip(d, -delta, delta)
        return (slope * (d - 0.5 * slope)).mean(axis=1), slope / p.shape[1]

    return _mean(rows, prediction, target, _numbers, (lengths, mask, weight))


def _classes(target: Any, prediction: Array) -> Array:
    """Return the target as integers, one a row of the prediction."""
    outer = prediction.shape[:-1]
    values = check.array("target", target)
    if values.dtype.kind not in "iu":
        raise TypeError(f"target must hold integer classes, got {values.dtype}")
    if values.shape != outer:
        raise ValueError(
            f"target must have shape {outer}, one class a row of the prediction, got {values.shape}"
        )
    return values


def cross_entropy(
    prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None, weight: Any = None
) -> tuple[float, Array]:
    """Cross entropy of softmax(prediction) with integer classes: ``logsumexp(p) - p[class]``.

    Parameters
    ----------
    prediction : ndarray
        Logits (B, K) or (B, T, K), float32 or float64.
    target : array_like of int
        Classes 0 .. K-1, shape (B,) or (B, T); any number at steps that do not count.
    lengths, mask, weight : array_like, optional
        Which rows count and how much; see :mod:`gru.losses`. Not lengths and mask together.

    Returns
    -------
    value : float
        The mean over rows, in nats.
    gradient : ndarray
        ``(softmax(p) - onehot) / rows``, of the prediction's shape and dtype.

    Raises
    ------
    TypeError
        If the target does not hold integers, or another dtype does not fit.
    ValueError
        If a shape does not fit, lengths and mask are both given, or a class lies outside 0 .. K-1.

    Examples
    --------
    >>> import numpy as np, gru
    >>> value, gradient = gru.losses.cross_entropy(np.array([[1e4, 0.0], [0.0, 0.0]]), [0, 1])
    >>> round(value, 6), gradient.tolist()
    (0.346574, [[0.0, 0.0], [0.25, -0.25]])
    """

    def rows(p: Array, t: Array) -> tuple[Array, Array]:
        wrong = (t < 0) | (t >= p.shape[1])
        if wrong.any():
            raise ValueError(
                f"target must lie in 0 .. {p.shape[1] - 1} for a prediction of {p.shape[1]} "
                f"classes, got {t[wrong][0]}"
            )
        at = np.arange(len(p)), t
        slopes = p - p.max(axis=1, keepdims=True)  # the one array of p's size, changed in place
        own = slopes[at]
        np.exp(slopes, out=slopes)
        total = slopes.sum(axis=1)
        slopes /= total[:, None]
        slopes[at] -= 1.0
        return np.log(total) - own, slopes

    return _mean(rows, prediction, target, _classes, (lengths, mask, weight))


def binary_cross_entropy(
    prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None, weight: Any = None
) -> tuple[float, Array]:
    """Cross entropy of sigmoid(prediction) with targets in [0, 1], from logits.

    ``max(p, 0) - p t + log(1 + exp(-|p|))``. Arguments as in :func:`mse`.

    Examples
    --------
    >>> import numpy as np, gru
    >>> value, gradient = gru.losses.binary_cross_entropy(np.array([[1e4], [0.0]]), [1, 0])
    >>> round(value, 6), gradient.tolist()
    (0.346574, [[0.0], [0.25]])
    """

    def rows(p: Array, t: Array) -> tuple[Array, Array]:
        if ((t < 0) | (t > 1)).any():
            raise ValueError("target must lie in [0, 1]")
        values = np.maximum(p, 0) - p * t + np.log1p(np.exp(-np.abs(p)))
        slopes = _core.sigmoid(np.ascontiguousarray(p)) - t
        return values.mean(axis=1), slopes / p.shape[1]

    return _mean(rows, prediction, target, _numbers, (lengths, mask, weight))


LOSSES: dict[str, Loss] = {
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}
