"""Checks what the pictures of answers are given: lines, intervals and times; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np

from gru import check
from gru._types import Array

__all__ = ["Band", "bands", "line", "times"]


class Band(NamedTuple):
    """An interval around predictions: its name in the legend, and its two ends (n,)."""

    name: str
    low: Array
    high: Array


def line(name: str, values: Any, count: int | None = None) -> Array:
    """Return numbers as one line; a last axis of 1 may be there."""
    found = check.numbers(name, values).astype(np.float64)
    found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if found.ndim != 1 or (count is not None and len(found) != count):
        wanted = "(n,)" if count is None else f"({count},)"
        raise ValueError(f"{name} must have shape {wanted}, got {found.shape}")
    return found


def bands(given: Any, level: Any, count: int, truth: Array | None) -> list[Band]:
    """Return the intervals, the one that is meant to hold most first."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [_band("interval", given, level, count, truth)]
    if level is not None:
        raise ValueError(f"level must be None where interval is a mapping, got {level}")
    levels = sorted(given, key=lambda share: _share("a key of interval", share), reverse=True)
    return [_band(f"interval[{x!r}]", given[x], x, count, truth) for x in levels]


def _band(name: str, given: Any, level: Any, count: int, truth: Array | None) -> Band:
    low, high = check.pair(name, given, "a pair (low, high)")
    low, high = line(f"{name}[0]", low, count), line(f"{name}[1]", high, count)
    if (low > high).any():
        raise ValueError(f"{name} must be a pair (low, high), got a low above its high")
    said = "interval" if level is None else f"{100 * _share('level', level):g} % interval"
    known = np.zeros(count, bool) if truth is None else ~np.isnan(truth)
    if truth is not None and known.any():
        inside = ((low <= truth) & (truth <= high))[known]
        said += f" (holds {100 * inside.mean():.0f} % of the truth)"
    return Band(said, low, high)


def _share(name: str, value: Any) -> float:
    if not 0 < check.number(name, value) < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
    return float(value)


def times(name: str, values: Any, count: int) -> Array:
    """Return ascending numbers, or ascending dates to the microsecond."""
    wanted = f"{name} must hold numbers, or dates without a time zone"
    found = check.array(name, values)
    if found.dtype.kind == "O":
        for entry in found.flat:
            check.instance(f"an entry of {name}", entry, (date, np.datetime64), "a date")
            if isinstance(entry, datetime) and entry.tzinfo is not None:
                raise ValueError(f"{wanted}, got {entry}")
    if found.dtype.kind in "OUM":
        try:
            found = found.astype("datetime64[us]")  # to halve a month takes a finer unit
        except ValueError:
            raise ValueError(f"{wanted} (as text 2001-12-31), got {str(found.flat[0])!r}") from None
        if np.isnat(found).any():
            raise ValueError(f"{wanted}, got NaT")
    else:
        found = check.numbers(name, found)
    if found.shape != (count,):
        raise ValueError(
            f"{name} must have shape ({count},): past and prediction, got {found.shape}"
        )
    if not (found[1:] > found[:-1]).all():
        raise ValueError(f"{name} must ascend, got a step that is not after the one before it")
    return found
