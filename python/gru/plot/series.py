"""Draws forecasts of a series beside what went before and what came; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.plot import canvas
from gru.plot.given import Band, bands, line, times

__all__ = ["forecast"]

OTHERS = [c for c in canvas.COLOURS if c not in (canvas.ORANGE, canvas.BLACK)]


@canvas.documented
def forecast(
    prediction: Any,
    truth: Any = None,
    *,
    interval: Any = None,
    level: float | None = None,
    past: Any = None,
    time: Any = None,
    others: Mapping[str, Any] | None = None,
    label: str = "value",
    ax: Any = None,
) -> Any:
    """Draw predicted steps of a series with their interval, the truth, and what went before.

    Where the truth is known the legend says how far the forecast is from it.

    Parameters
    ----------
    prediction : array_like
        Shape (n,): steps 1 .. n.
    truth : array_like, optional
        Shape (n,); nan where it is not known.
    {interval}
    past : array_like, optional
        Shape (m,): steps 1-m .. 0, which the forecast goes on from.
    time : array_like, optional
        Shape (m + n,): when the steps of ``past`` and ``prediction`` are, ascending. Numbers, or
        dates without a time zone: datetime64, datetime, date, or text such as "2001-12".
    others : mapping of str to array_like, optional
        Other forecasts to compare with, such as the last season again; shapes (n,), by the names
        that the legend shows.
    label : str
        What the series is, with its unit.
    {ax}

    {drawn}

    Examples
    --------
    >>> import gru
    >>> figure = gru.plot.forecast(
    ...     [3.0, 4.0], [3.5, 9.0], interval=([2, 3], [4, 5]), past=[1, 2],
    ...     time=["2001-09", "2001-10", "2001-11", "2001-12"],
    ... )
    >>> for name in figure.axes[0].get_legend_handles_labels()[1]:
    ...     print(name)
    past
    truth
    forecast (mean absolute error 2.75)
    interval (holds 50 % of the truth)
    """
    predicted = line("prediction", prediction)
    count = len(predicted)
    known = None if truth is None else line("truth", truth, count)
    before = line("past", [] if past is None else past)
    around = bands(interval, level, count, known)
    rivals = check.instance("others", others or {}, Mapping, "a mapping of names to forecasts")
    rivals = {name: line(f"others[{name!r}]", values, count) for name, values in rivals.items()}
    x = np.arange(1 - len(before), count + 1)
    x = x if time is None else times("time", time, len(x))
    ax = canvas.axes(ax, size=(9.0, 3.6))
    _draw_past(ax, x, before, known)
    ahead = x[len(before) :]
    for (name, values), colour in zip(rivals.items(), cycle(OTHERS), strict=False):
        said = name + _error(values, known)
        ax.plot(ahead, values, color=colour, linewidth=1.2, marker=_mark(values), label=said)
    said = f"forecast{_error(predicted, known)}"
    style = {"color": canvas.ORANGE, "linewidth": 2, "zorder": 4}
    ax.plot(ahead, predicted, marker=_mark(predicted), label=said, **style)
    for i, band in enumerate(around):
        _draw_band(ax, ahead, band, min(0.25 + 0.1 * i, 0.6))
    if time is None:
        canvas.steps_axis(ax, "steps after the last known one")
    else:
        canvas.time_axis(ax, x)
    ax.set_ylabel(label)
    ax.margins(x=0.01)
    canvas.legend_above(ax)
    ax.grid(alpha=0.3)
    return ax.figure


def _draw_past(ax: Any, x: Array, before: Array, known: Array | None) -> None:
    """Draw what was known, and what came: the truth goes on from the last known step."""
    now = len(before)
    if now:
        ax.plot(x[:now], before, color=canvas.GRAY, marker=_mark(before), label="past")
    if 0 < now < len(x):
        middle = x[now - 1] + (x[now] - x[now - 1]) / 2
        ax.axvline(middle, color=canvas.GRAY, linestyle=":", linewidth=1)
    if known is not None:
        joined, at = np.concatenate([before[-1:], known]), x[max(now - 1, 0) :]
        ax.plot(at, joined, color=canvas.BLACK, marker=_mark(joined), label="truth", zorder=3)


def _draw_band(ax: Any, x: Array, band: Band, alpha: float) -> None:
    """Draw an area, or of one step a bar."""
    style = {"color": canvas.ORANGE, "alpha": alpha, "label": band.name}
    if len(x) == 1:
        ax.vlines(x, band.low, band.high, linewidth=6, **style)
    else:
        ax.fill_between(x, band.low, band.high, linewidth=0, **style)


def _error(values: Array, known: Array | None) -> str:
    """Say how far a forecast is from what is known of the truth."""
    if known is None or not np.isfinite(known - values).any():
        return ""
    return f" (mean absolute error {np.nanmean(np.abs(values - known)):.3g})"


def _mark(values: Array) -> str:
    """Return the marker: a line of one point would not show."""
    return "." if np.isfinite(values).sum() == 1 else ""
