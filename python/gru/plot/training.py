"""Draws how losses and metrics change while models train; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from gru import check
from gru.history import History
from gru.plot import canvas

__all__ = ["history"]


def history(
    history: History | Mapping[str, History],
    *,
    metric: bool | None = None,
    label: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw training curves over the epochs.

    Training is drawn as a line, validation dashed with a dot at its best epoch. A loss has a
    logarithmic axis where all of its values are above 0.

    Parameters
    ----------
    history : History or mapping of str to History
        What :func:`gru.fit` returned; several runs by the names that the legend shows.
    metric : bool, optional
        Whether to draw the metric instead of the loss. If not given, both are drawn side by side
        where a metric was recorded, but into ``ax`` the loss.
    label : str, optional
        What the one axis shows, such as ``"squared error (V²)"``; the loss or the metric's name
        if not given.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    MissingError
        If matplotlib is not installed.
    TypeError
        If ``history`` holds no histories.
    ValueError
        If there is nothing to draw: no run, no epoch, or no metric.

    Examples
    --------
    >>> import gru
    >>> run = gru.History("accuracy", loss=[0.9, 0.5], metric=[0.6, 0.8], val_loss=[0.8, 0.6])
    >>> figure = gru.plot.history(run)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['loss', 'accuracy']
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [0.9, 0.5]
    """
    runs = _runs(history)
    if ax is None and metric is None and any(run.metric for run in runs.values()):
        figure = canvas.figure(size=(9.6, 3.8))
        left, right = figure.subplots(1, 2)
        _draw(left, runs, "loss", label)
        _draw(right, runs, "metric", None)
        return figure
    ax = canvas.axes(ax, size=(5.6, 3.8))
    _draw(ax, runs, "metric" if metric else "loss", label)
    return ax.figure


def _runs(given: Any) -> Mapping[str, History]:
    """Return histories by name; one alone has none."""
    wanted = "a gru.History, or a mapping of names to them"
    if isinstance(given, History):
        given = {"": given}
    for name, run in check.instance("history", given, Mapping, wanted).items():
        check.instance(f"history[{name!r}]", run, History, "a gru.History")
    if not any(len(run) for run in given.values()):
        raise ValueError("history must hold at least one epoch, got none")
    return given  # type: ignore[no-any-return]


def _draw(ax: Any, runs: Mapping[str, History], quantity: str, label: str | None) -> None:
    """Draw one quantity of all runs and name the axes."""
    lines: list[list[float]] = []
    held_out = any(getattr(run, f"val_{quantity}") for run in runs.values())
    for colour, (name, run) in zip(cycle(canvas.COLOURS), runs.items(), strict=False):
        for kind, prefix in (("training", ""), ("validation", "val_")):
            values = list(getattr(run, prefix + quantity))
            if values:
                said = ", ".join(filter(None, (name, kind if held_out or not name else "")))
                _curve(ax, values, said, colour, validation=bool(prefix))
                lines.append(values)
                if prefix and quantity == "loss":
                    best = int(np.argmin(values))
                    ax.plot(best + 1, values[best], "o", color=colour, markersize=5)
    if not lines:
        raise ValueError(f"history must hold a {quantity} to draw, got none")
    if quantity == "loss" and min(map(min, lines)) > 0:
        canvas.logarithmic(ax, np.concatenate(lines))
    canvas.steps_axis(ax, "epoch")
    names = sorted({run.metric_name or "metric" for run in runs.values()})
    ax.set_ylabel(label or ("loss" if quantity == "loss" else " / ".join(names)))
    ax.legend(frameon=False, fontsize=9)
    ax.grid(alpha=0.3)


def _curve(ax: Any, values: list[float], name: str, colour: str, *, validation: bool) -> None:
    ax.plot(
        np.arange(1, len(values) + 1),
        values,
        color=colour,
        linestyle="--" if validation else "-",
        linewidth=1.6,
        marker="." if len(values) == 1 else "",  # a line of one point would not show
        label=name,
    )
