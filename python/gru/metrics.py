"""Numbers that people read while a model trains; knows no model and no loss function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.rows import checked, matched, select, valid_rows

__all__ = ["METRICS", "USUAL_METRIC", "Metric", "SumMetric", "accuracy", "mean_absolute_error"]

Metric = Callable[..., float]
# Rows (n, K) and their targets, one a row -> sums in float64.
RowSums = Callable[[Array, Array], Array]


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
        right = (prediction > 0) == (matched(target, prediction) > 0.5)
    else:
        right = prediction.argmax(axis=-1) == _classes(target, prediction)
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
    error = np.abs(prediction - matched(target, prediction))
    return _mean(error, prediction, lengths, mask)


def _classes(target: Array, prediction: Array) -> Array:
    """Return integer classes, one a row of a prediction."""
    if target.dtype.kind not in "biu" or target.shape != prediction.shape[:-1]:
        raise ValueError(
            f"target must hold integer classes of shape {prediction.shape[:-1]}, one a row of the "
            f"prediction, got {target.dtype} and {target.shape}"
        )
    return target


def _mean(values: Array, prediction: Array, lengths: Any, mask: Any) -> float:
    chosen = select(values, valid_rows(prediction, lengths, mask), prediction.ndim - 1)
    return float(chosen.mean()) if chosen.size else float("nan")


class SumMetric:
    """A metric that follows from sums over rows, and so is exact over any number of batches.

    Called like a plain metric: ``metric(prediction, target, lengths=None, mask=None)``.

    Parameters
    ----------
    name : str
        Its ``__name__``.
    rows : callable
        ``(prediction (n, K), target (n, ...)) -> ndarray``: sums in float64 over the rows that
        count, of one shape whatever n is.
    value : callable
        The number that follows from the sums of all batches.
    merge : callable
        Makes one of the sums of two batches; adds them if not given.

    Examples
    --------
    >>> import numpy as np
    >>> round(METRICS["rmse"](np.array([[1.0], [3.0]]), [1.0, 1.0]), 3)
    1.414
    """

    def __init__(
        self,
        name: str,
        rows: RowSums,
        value: Callable[[Array], float],
        merge: Callable[[Array, Array], Array] = np.add,
    ) -> None:
        self.__name__ = name
        self._rows = rows
        self.value, self.merge = value, merge

    def sums(
        self, prediction: Array, target: Any, *, lengths: Any = None, mask: Any = None
    ) -> Array:
        """Return the sums of one batch."""
        outer, target = checked(prediction).shape[:-1], check.array("target", target)
        if target.shape[: len(outer)] != outer:
            raise ValueError(
                f"target must have one entry a row of the prediction, {outer}, got shape "
                f"{target.shape}"
            )
        valid = valid_rows(prediction, lengths, mask)
        return self._rows(select(prediction, valid, len(outer)), select(target, valid, len(outer)))

    def __call__(self, prediction: Array, target: Any, **which: Any) -> float:
        """Return the metric of one batch."""
        return self.value(self.sums(prediction, target, **which))


def _errors(prediction: Array, target: Array) -> Array:
    """Sum up each column, (2, K): squared errors, rows."""
    wanted = matched(target, prediction)
    errors = prediction.astype(np.float64, copy=False) - wanted
    squares = (errors * errors).sum(axis=0)
    return np.stack([squares, np.full(squares.shape, float(len(errors)))])


def _mse(sums: Array) -> float:
    return float(sums[0].sum() / sums[1].sum()) if sums[1].any() else float("nan")


def _rmse(sums: Array) -> float:
    return float(np.sqrt(_mse(sums)))


def _deviations(prediction: Array, target: Array) -> Array:
    """Sum up each column, (5, K): squared errors, rows, and how the targets spread.

    That is a first one, from which all deviations are taken, their mean, and the sum of their
    squares around that mean.
    """
    wanted = matched(target, prediction).astype(np.float64, copy=False)
    first = wanted[0] if len(wanted) else np.zeros(wanted.shape[1])
    moved = wanted - first  # small numbers, whatever the offset of all of them is
    mean = moved.mean(axis=0) if len(wanted) else first
    spread = ((moved - mean) ** 2).sum(axis=0)
    return np.concatenate([_errors(prediction, target), [first, mean, spread]])


def _merged(a: Array, b: Array) -> Array:
    """Join the deviations of two parts (Chan, Golub and LeVeque 1979)."""
    if not (a[1].any() and b[1].any()):
        return b if b[1].any() else a
    errors, rows = a[:2] + b[:2]
    apart = (b[2] - a[2]) + (b[3] - a[3])  # of the two means
    mean = a[3] + apart * (b[1] / rows)
    spread = a[4] + b[4] + apart * apart * (a[1] * b[1] / rows)
    return np.stack([errors, rows, a[2], mean, spread])


def _r2(sums: Array) -> float:
    """1 - squared error / squared deviation, the mean over columns; as in scikit-learn."""
    errors, rows, _, _, spread = sums
    if not rows.any():
        return float("nan")
    constant = spread == 0
    ratio = np.where(constant, errors != 0, errors / np.where(constant, 1.0, spread))
    return float((1.0 - ratio).mean())


def _confusion(prediction: Array, target: Array) -> Array:
    """Count rows by true (first axis) and predicted class; a single logit asks yes or no."""
    if prediction.shape[-1] == 1:
        guess, classes = (prediction[:, 0] > 0).astype(np.int64), 2
        truth = (target.reshape(-1) > 0.5).astype(np.int64)
    else:
        guess, classes = prediction.argmax(axis=1), prediction.shape[-1]
        truth = _classes(target, prediction)
    counts = np.bincount(truth * classes + guess, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def _f1_macro(counts: Array) -> float:
    """Return the mean of 2 tp / (2 tp + fp + fn) over the classes in truth or prediction."""
    both = counts.sum(axis=0) + counts.sum(axis=1)
    seen = both > 0
    if not seen.any():
        return float("nan")
    return float((2.0 * np.diag(counts)[seen] / both[seen]).mean())


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1_macro": SumMetric("f1_macro", _confusion, _f1_macro),
    "mae": mean_absolute_error,
    "mse": SumMetric("mse", _errors, _mse),
    "r2": SumMetric("r2", _deviations, _r2, _merged),
    "rmse": SumMetric("rmse", _errors, _rmse),
}
# Those that compare numbers, not classes.
OF_NUMBERS = {"mae", "mse", "r2", "rmse"}
# What is shown for a loss when nothing else is asked for.
USUAL_METRIC = {
    "cross_entropy": "accuracy",
    "binary_cross_entropy": "accuracy",
    "mse": "mae",
    "mae": "mae",
    "huber": "mae",
}
