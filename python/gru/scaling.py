"""Brings channels to mean 0 and standard deviation 1, and back; knows no model and no table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.data import check_finite
from gru.rows import select, valid_rows

__all__ = ["Scaler"]

BLOCK = 2**20  # numbers that are taken to float64 at once, so that a memmap stays on disk


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and standard deviation of each channel, the last axis of what is scaled.

    Attributes
    ----------
    mean, std : ndarray of float64
        Shape (I,); ``std`` is that of the population (divided by n), and 1 for a constant channel.

    Examples
    --------
    >>> import numpy as np
    >>> from gru.scaling import Scaler
    >>> X = [np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 5.0]])]
    >>> scaler = Scaler.of(X)
    >>> scaler.mean.tolist(), scaler.std.round(3).tolist()
    ([3.0, 5.0], [1.633, 1.0])
    >>> scaler.scale(X)[1].round(3).tolist()
    [[1.225, 0.0]]
    """

    mean: Array
    std: Array

    @classmethod
    def of(
        cls,
        X: Any,
        *,
        lengths: Any = None,
        mask: Any = None,
        weight: Any = None,
        name: str = "X",
    ) -> Scaler:
        """Measure the channels over all sequences and steps.

        Parameters
        ----------
        X : ndarray or sequence of array_like
            An array (B, T, I), or (B, I) for targets, or a list of arrays (T_i, I).
        lengths, mask : array_like, optional
            Shapes (B,) and (B, T), only with an array (B, T, I): which steps count.
        weight : array_like, optional
            Shape (B,): how much each sequence counts, at least 0; a weight of 2 is the sequence
            twice.
        name : str
            What errors call X.

        Raises
        ------
        TypeError
            If X holds anything but numbers.
        ValueError
            If a shape does not fit, a weight is below 0, no step counts, or a number is not finite
            or so large that its square is not.

        Examples
        --------
        >>> import numpy as np
        >>> from gru.scaling import Scaler
        >>> Scaler.of(np.array([[[1.0], [3.0], [9.0]]]), lengths=[2]).mean.tolist()
        [2.0]
        """
        parts = _parts(X, name)
        counting = _counting(parts, lengths, mask, weight)
        with np.errstate(over="ignore", invalid="ignore"):
            # Around a step of the data itself, what is constant comes out so, to the bit.
            around = next((rows[0] for rows, _ in _blocks(counting) if len(rows)), np.zeros(()))
            mean = around + _mean(counting, lambda rows: rows - around)
            std = np.sqrt(_mean(counting, lambda rows: (rows - mean) ** 2))
        if not np.isfinite(std).all():
            check_finite(parts, name)
            raise ValueError(f"{name} must hold numbers whose squares are finite, got larger ones")
        noise = 10 * np.finfo(np.float64).eps * np.abs(mean)  # a constant that was rounded
        return cls(mean, np.where(std <= noise, 1.0, std))

    def scale(self, X: Any) -> Any:
        """Return ``(X - mean) / std`` in the container that came: an array, or a list of arrays.

        Worked out in float64; the result is float32 where X is, else float64. Steps that do not
        count are scaled like the others.

        Raises
        ------
        TypeError, ValueError
            If X holds no numbers or has another number of channels.
        """
        return self._each(X, lambda values: (values - self.mean) / self.std)

    def unscale(self, X: Any) -> Any:
        """Return ``X * std + mean``, which undoes :meth:`scale`; arguments as there."""
        return self._each(X, lambda values: values * self.std + self.mean)

    def as_dict(self) -> dict[str, list[float]]:
        """Return plain lists, for JSON, which keeps every bit of them.

        Examples
        --------
        >>> import numpy as np
        >>> from gru.scaling import Scaler
        >>> Scaler.of(np.array([[[1.0], [3.0]]])).as_dict()
        {'mean': [2.0], 'std': [1.0]}
        """
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scaler:
        """Return the scaler that :meth:`as_dict` wrote down.

        Raises
        ------
        TypeError, ValueError
            If ``values`` is anything else.

        Examples
        --------
        >>> from gru.scaling import Scaler
        >>> Scaler.from_dict({"mean": [2.0], "std": [0.5]}).unscale([[[2.0]]])[0].tolist()
        [[3.0]]
        """
        check.instance("scaler", values, Mapping, "a dict with 'mean' and 'std'")
        if set(values) != {"mean", "std"}:
            raise ValueError(f"scaler must have the keys 'mean' and 'std', got {sorted(values)}")
        mean, std = (
            check.numbers(f"scaler[{key!r}]", values[key]).astype(np.float64)
            for key in ("mean", "std")
        )
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(
                f"scaler must have one mean and std a channel, got shapes {mean.shape}, {std.shape}"
            )
        check_finite(mean, "scaler['mean']")
        check_finite(std, "scaler['std']")
        if not (std > 0).all():
            raise ValueError(f"scaler['std'] must be above 0, got {std.min()}")
        return cls(mean, std)

    def _each(self, X: Any, change: Any) -> Any:
        parts = _parts(X)
        whole = not isinstance(parts, list)
        for i, part in enumerate([parts] if whole else parts):
            if part.shape[-1] != len(self.mean):
                name = "X" if whole else f"X[{i}]"
                raise ValueError(
                    f"{name} must have {len(self.mean)} channels in its last axis, "
                    f"got shape {part.shape}"
                )
        if whole:
            return _as_given(parts, change)
        return [_as_given(part, change) for part in parts]


def _parts(X: Any, name: str = "X") -> Any:
    """Return an array, or a list of arrays (T_i, I), of numbers and with channels."""
    if isinstance(X, np.ndarray) and X.dtype != object:
        if X.ndim not in (2, 3):
            raise ValueError(f"{name} must have shape (B, T, I) or (B, I), got {X.shape}")
        return check.numbers(name, X)
    items = check.several(name, X, "an array (B, T, I) or a list of arrays (T_i, I)")
    parts = [check.numbers(f"{name}[{i}]", item) for i, item in enumerate(items)]
    for i, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1] != parts[0].shape[-1]:
            width = parts[0].shape[1] if parts[0].ndim == 2 else "I"
            raise ValueError(f"{name}[{i}] must have shape (T, {width}), got {part.shape}")
    return parts


def _as_given(part: Array, change: Any) -> Array:
    """Work in float64, and give float32 back for float32."""
    changed = change(part.astype(np.float64, copy=False))
    return np.asarray(changed, np.float32 if part.dtype == np.float32 else np.float64)


@dataclass(frozen=True)
class _Part:
    """An array, the rows of it that count (None: all), and the weight of each entry (or None)."""

    values: Array
    valid: Array | None = None
    weight: Array | None = None


def _counting(parts: Any, lengths: Any, mask: Any, weight: Any) -> list[_Part]:
    """Put arrays and what says which of their rows count together."""
    weights = None if weight is None else _weights(weight, len(parts))
    if isinstance(parts, list) or parts.ndim == 2:
        if lengths is not None or mask is not None:
            raise ValueError("lengths and mask go with an array X of shape (B, T, I)")
        if isinstance(parts, list):
            each = [None] * len(parts) if weights is None else weights
            return [
                _Part(part, None, None if by is None else np.full(len(part), by))
                for part, by in zip(parts, each, strict=True)
            ]
        return [_Part(parts, None, weights)]
    return [_Part(parts, valid_rows(parts, lengths, mask), weights)]


def _weights(weight: Any, count: int) -> Array:
    values = check.numbers("weight", weight).astype(np.float64, copy=False)
    if values.shape != (count,):
        raise ValueError(f"weight must have shape (B,) = ({count},), got {values.shape}")
    check_finite(values, "weight")
    if (values < 0).any():
        raise ValueError(f"weight must be at least 0, got {values.min()}")
    return values


def _blocks(counting: list[_Part]) -> Iterator[tuple[Array, Array | None]]:
    """Yield the rows that count as float64 (n, I) with their weights, a bounded number at once."""
    for part in counting:
        step = max(1, BLOCK // max(1, int(np.prod(part.values.shape[1:]))))
        axes = part.values.ndim - 1
        for start in range(0, len(part.values), step):
            some = slice(start, start + step)
            values = part.values[some].astype(np.float64, copy=False)
            valid = None if part.valid is None else part.valid[some]
            weight = part.weight
            if weight is not None:
                outer = weight[some].reshape(-1, *(1,) * (axes - 1))
                weight = select(np.broadcast_to(outer, values.shape[:-1]), valid, axes)
            yield select(values, valid, axes), weight


def _mean(counting: list[_Part], of: Callable[[Array], Array]) -> Array:
    """Return the weighted mean over all rows of a function of theirs."""
    count, total = 0.0, np.zeros(())
    for rows, weight in _blocks(counting):
        count += len(rows) if weight is None else float(weight.sum())
        total = total + (of(rows).sum(axis=0) if weight is None else weight @ of(rows))
    if not count:
        raise ValueError("X must hold at least one step that counts, got none")
    return np.asarray(total / count)
