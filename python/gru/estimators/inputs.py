"""Reads X as scikit-learn's users give it: arrays, tables, ragged lists; knows no model."""

from __future__ import annotations

from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Sequences, check_finite

__all__ = ["read_sequences", "read_series", "read_weight"]


def read_sequences(estimator: Any, X: Any, *, reset: bool) -> Array | list[Array]:
    """Return sequences as an array (B, T, I) or a list of arrays (T_i, I).

    Parameters
    ----------
    estimator : BaseEstimator
        With ``reset`` it gets ``n_features_in_``, ``n_channels_in_`` and ``n_steps_in_``; without,
        X must have as many channels, and where it was fitted on a table, a table as many columns.
    X : array_like or sequence of array_like
        An array (B, T, I); a table (B, T), T steps of one channel; or a list of arrays (T_i, I) or
        (T_i,). A list of lists of numbers of one length is a table.
    reset : bool
        Whether this is a fit.

    Raises
    ------
    TypeError, ValueError
        If X is something else, holds no numbers or any that is not finite, or does not fit.

    Examples
    --------
    >>> import gru
    >>> estimator = gru.GRUClassifier()
    >>> read_sequences(estimator, [[1, 2, 3], [4, 5]], reset=True)[1].tolist()
    [[4.0], [5.0]]
    >>> read_sequences(estimator, [[1, 2, 3], [4, 5, 6]], reset=True).shape
    (2, 3, 1)
    """
    if isinstance(X, (list, tuple)) and not len(X):
        raise ValueError("X must hold at least one sequence, got none")
    ragged = _ragged(X)
    if ragged is not None:
        parts = _list(ragged)
        _remember(estimator, parts[0].shape[1], None, reset)
        return parts
    from sklearn.utils import check_array
    from sklearn.utils.validation import validate_data

    settings = {"dtype": "numeric", "estimator": estimator, "input_name": "X"}
    shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
    if len(shape) > 3:
        raise ValueError(f"X must have shape (B, T) or (B, T, I), got {shape}")
    if len(shape) == 3:
        values: Array = check_array(X, allow_nd=True, **settings)
        if 0 in values.shape:
            raise ValueError(f"X must have at least one step and one channel, got {values.shape}")
        _remember(estimator, values.shape[2], None, reset)
        return values
    if reset or estimator.n_steps_in_ is not None:
        values = validate_data(estimator, X, reset=reset, dtype="numeric")
    else:
        values = check_array(X, **settings)
    _remember(estimator, 1, values.shape[1], reset)
    return values[:, :, None]


def read_series(estimator: Any, values: Any, name: str) -> Any:
    """Return series, or what is known besides, in the container that came, as numbers.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose input it is.
    values : array_like, sequence of array_like or None
        What :class:`gru.frames.Series` takes, which checks the rest.
    name : str
        What errors call it.

    Raises
    ------
    TypeError, ValueError
        If it is empty, sparse or holds no numbers.

    Examples
    --------
    >>> import gru
    >>> read_series(gru.GRUForecaster(), [1, 2, 3], "y")
    array([1, 2, 3])
    """
    many = isinstance(values, (list, tuple)) and any(np.ndim(item) for item in values)
    if values is None or many:
        return values
    from sklearn.utils import check_array

    return check_array(
        values,
        dtype="numeric",
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        estimator=estimator,
        input_name=name,
    )


def read_weight(sample_weight: Any, count: int) -> Array | None:
    """Return weights (B,) as float64, or ``None``.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If their shape does not fit, one is below 0 or not finite, or all are 0.

    Examples
    --------
    >>> read_weight([1, 2], 2)
    array([1., 2.])
    """
    if sample_weight is None:
        return None
    values = check.numbers("sample_weight", sample_weight).astype(np.float64)
    if values.shape != (count,):
        raise ValueError(f"sample_weight must have shape ({count},), got {values.shape}")
    check_finite(values, "sample_weight")
    if (values < 0).any():
        i = int(np.argmax(values < 0))
        raise ValueError(f"sample_weight must be at least 0, got {values[i]} at sample_weight[{i}]")
    if not values.any():
        raise ValueError("sample_weight must be above zero somewhere, got nothing but zero")
    return values


def _ragged(X: Any) -> list[Any] | None:
    """Return the entries of a list of sequences, or ``None`` where X is an array or a table."""
    if isinstance(X, np.ndarray):
        nested = X.dtype == object and X.ndim == 1 and all(np.ndim(item) for item in X)
        return list(X) if nested and len(X) else None
    if not isinstance(X, (list, tuple)) or not X:
        return None
    if all(getattr(item, "ndim", 0) for item in X):
        return list(X)
    lists = all(isinstance(item, (list, tuple)) and item for item in X)
    return list(X) if lists and len({len(item) for item in X}) > 1 else None


def _list(items: list[Any]) -> list[Array]:
    """Check the sequences of a ragged list."""
    parts = [check.numbers(f"X[{i}]", item) for i, item in enumerate(items)]
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    found = Sequences(parts, np.dtype(np.float64)).values
    for i, part in enumerate(found):
        if 0 in part.shape:
            raise ValueError(f"X[{i}] must have at least one step and one channel: {part.shape}")
    check_finite(found, "X")
    return list(found)


def _remember(estimator: Any, channels: int, columns: int | None, reset: bool) -> None:
    """Note what the estimator is fitted on, or compare with it."""
    if reset:
        estimator.n_channels_in_, estimator.n_steps_in_ = channels, columns
        if columns is None:
            estimator.n_features_in_ = channels
            vars(estimator).pop("feature_names_in_", None)  # of an earlier fit on a table
    elif channels != estimator.n_channels_in_:
        raise ValueError(  # scikit-learn's own words, as far as they go
            f"X has {channels} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_channels_in_} features as input at every step"
            + (
                ""
                if columns is None
                else f": an array (B, {columns}) is {columns} steps of one number"
            )
        )
