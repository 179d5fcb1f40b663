"""Cuts series into frames, what was known and what comes, and scales each; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.data import check_finite

__all__ = ["Frames", "Framing", "Series", "joined"]

LARGEST = 1e140  # so that the squares of a million steps can be added up
SMALLEST = 0.1  # of a series' deviation: a calm stretch must not blow up what follows it


class Series:
    """One or many series as a list, which remembers how they came.

    Parameters
    ----------
    y : array_like or sequence of array_like
        Shape (T,): one series. (T, S), such as a data frame: a series a column. A list of arrays
        (T_i,): many, of different lengths.
    name : str
        What errors call it.

    Raises
    ------
    TypeError, ValueError
        If it is something else, not finite, or larger than can be squared.

    Examples
    --------
    >>> import numpy as np
    >>> Series(np.zeros((50, 3))).kind, len(Series([[1, 2, 3], [4, 5]]).values)
    ('columns', 2)
    """

    def __init__(self, y: Any, name: str = "y") -> None:
        if isinstance(y, (list, tuple)) and y and np.ndim(y[0]) == 1:
            self.kind = "list"
            self.values = [_numbers(f"{name}[{i}]", item) for i, item in enumerate(y)]
            for i, item in enumerate(self.values):
                if item.ndim != 1:
                    raise ValueError(f"{name}[{i}] must have shape (T,), got {item.shape}")
        else:
            array = _numbers(name, y)
            if array.ndim not in (1, 2) or not array.size:
                raise ValueError(
                    f"{name} must have shape (T,) or (T, S), or be a list of arrays (T,), "
                    f"got {array.shape}"
                )
            self.kind = "one" if array.ndim == 1 else "columns"
            self.values = [np.ascontiguousarray(column) for column in np.atleast_2d(array.T)]
        check_finite(self.values if self.kind == "list" else array, name)
        largest = max(float(np.abs(values).max(initial=0.0)) for values in self.values)
        if largest > LARGEST:
            raise ValueError(f"{name} must hold numbers of at most {LARGEST}, got {largest}")

    def like(self, results: list[Array]) -> Any:
        """Return one result a series in the container that the series came in."""
        if self.kind == "list":
            return results
        return results[0] if self.kind == "one" else np.stack(results, axis=1)

    def exogenous(self, exog: Any, steps: list[int], name: str = "exog") -> list[Array]:
        """Return what is known besides each series, shapes (steps, E); none of it has E = 0.

        Parameters
        ----------
        exog : array_like or sequence of array_like, or None
            One series: (T,) or (T, E). Columns: the same, for all of them, or (T, S, E). A list:
            one array (T_i,) or (T_i, E) a series.
        steps : list of int
            T of each series.
        name : str
            What errors call it.
        """
        if exog is None:
            return [np.zeros((count, 0)) for count in steps]
        if self.kind == "list":
            if not isinstance(exog, (list, tuple)) or len(exog) != len(steps):
                raise ValueError(f"{name} must be a list of {len(steps)} arrays, one a series")
            parts = [_numbers(f"{name}[{i}]", item) for i, item in enumerate(exog)]
        else:
            array = _numbers(name, exog)
            each = self.kind == "columns" and array.ndim == 3 and array.shape[1] == len(steps)
            parts = [array[:, i] if each else array for i in range(len(steps))]
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
        for part, count in zip(parts, steps, strict=True):
            if part.ndim != 2 or len(part) != count or part.shape[1] != parts[0].shape[1]:
                raise ValueError(
                    f"{name} must have one row (E,) a step, {count}, got shape {part.shape}"
                )
            check_finite(part, name)
        return parts


def _numbers(name: str, values: Any) -> Array:
    return check.numbers(name, values).astype(np.float64)


@dataclass(frozen=True)
class Frames:
    """Frames of W known steps and H to come, scaled so that they are alike.

    Attributes
    ----------
    x : ndarray
        Shape (n, W + H, 2 + lags + E). Channels: the series (0 where it is to come), whether the
        step is to come, the series some steps before, what else is known.
    base : ndarray
        Shape (n, H): the simple forecast, in the series' own units.
    scale : ndarray
        Shape (n, 1): the deviation of the known steps.
    """

    x: Array
    base: Array
    scale: Array


@dataclass(frozen=True)
class Framing:
    """How frames are cut.

    Every frame is brought to mean 0 and deviation 1 by its own known steps (as in Kim et al. 2022,
    "Reversible instance normalization"), so that level and spread of the series may change over
    time and differ between series. What is to be learnt is how far the truth lies from a simple
    forecast: the last season again where the first of ``lags`` is a season, else the last value.

    Attributes
    ----------
    window, horizon : int
        Steps that are seen, and steps to come (W, H).
    lags : tuple of int
        How many steps before each step the series is also shown. Where that is not known yet, it
        is the last known value at a multiple of the lag.

    Examples
    --------
    >>> import numpy as np
    >>> framing = Framing(window=4, horizon=2, lags=(2,))
    >>> frames = framing.cut(np.array([1.0, 3.0, 1.0, 3.0, 1.0, 3.0]), np.zeros((8, 0)), [6])
    >>> frames.base.tolist(), frames.scale.tolist()
    ([[1.0, 3.0]], [[1.0]])
    >>> frames.x[0, :, 0].tolist(), frames.x[0, :, 2].tolist()
    ([-1.0, 1.0, -1.0, 1.0, 0.0, 0.0], [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    """

    window: int
    horizon: int
    lags: tuple[int, ...]

    @property
    def first(self) -> int:
        """The smallest number of steps that must be known."""
        return max((self.window, *self.lags))

    def cut(self, values: Array, exog: Array, origins: Any, horizon: int | None = None) -> Frames:
        """Cut one frame at each origin.

        Parameters
        ----------
        values : ndarray
            One series, shape (T,). What comes after an origin does not show in its frame.
        exog : ndarray
            Shape (T', E), T' at least the last origin + H.
        origins : array_like of int
            Steps that are known, from :attr:`first` to T each, shape (n,).
        horizon : int, optional
            H, where it is not :attr:`horizon`.
        """
        steps = np.arange(self.horizon if horizon is None else horizon)
        origin = np.asarray(origins)[:, None]
        before = origin + np.arange(-self.window, 0)
        known = values[before]
        mean, scale = known.mean(axis=1, keepdims=True), self._scale(known, values, origin)
        shown = np.hstack([(known - mean) / scale, np.zeros((len(origin), len(steps)))])
        coming = np.hstack([np.zeros_like(before), np.ones((len(origin), len(steps)), int)])
        channels = [shown, coming]
        seasons = [self._again(values, origin, steps, lag) for lag in self.lags]
        for lag, season in zip(self.lags, seasons, strict=True):
            past = np.where(before >= lag, values[np.maximum(before - lag, 0)], mean)
            channels.append((np.hstack([past, season]) - mean) / scale)
        known_too = exog[np.hstack([before, origin + steps])]
        x = np.concatenate([np.stack(channels, axis=2), known_too], axis=2)
        base = seasons[0] if seasons else np.repeat(known[:, -1:], len(steps), axis=1)
        return Frames(x, base, scale)

    @staticmethod
    def _again(values: Array, origin: Array, steps: Array, lag: int) -> Array:
        """Return the last values that are known a multiple of ``lag`` before the steps to come."""
        return np.asarray(values[origin + steps - lag * (steps // lag + 1)])

    @staticmethod
    def _scale(known: Array, values: Array, origin: Array) -> Array:
        """Return the deviation of each frame, not far below that of the series so far."""
        moved = values - values[0]
        mean, square = (np.cumsum(moved**power)[origin - 1] / origin for power in (1, 2))
        so_far = np.sqrt(np.maximum(square - mean**2, 0.0))
        scale = np.maximum(known.std(axis=1, keepdims=True), SMALLEST * so_far)
        # What rounding alone makes of a constant is no deviation.
        noise = 1e-12 * np.abs(known).max(axis=1, keepdims=True)
        return np.where(scale > noise, scale, 1.0)


def joined(frames: Sequence[Frames]) -> Frames:
    """Put the frames of several series into one batch.

    Examples
    --------
    >>> import numpy as np
    >>> frames = Framing(2, 1, ()).cut(np.arange(9.0), np.zeros((9, 0)), [4, 5])
    >>> joined([frames, frames]).x.shape
    (4, 3, 2)
    """
    return Frames(
        np.concatenate([part.x for part in frames]),
        np.concatenate([part.base for part in frames]),
        np.concatenate([part.scale for part in frames]),
    )
