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

MOST_COLUMNS = 3  # of panels side by side


@canvas.documented
def history(
    history: History | Mapping[str, History],
    *,
    metric: bool | str | None = None,
    label: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw training curves over the epochs.

    Training is drawn as a line, validation dashed, its loss with a dot at the best epoch. A loss
    has a logarithmic axis where all values are above 0 and differ by a factor of 3 or more.

    Parameters
    ----------
    history : History or mapping of str to History
        What :func:`gru.fit` returned; several runs by the names that the legend shows.
    metric : bool or str, optional
        The metric to draw instead of the loss; True is the first one. If not given, the loss and
        all metrics are drawn side by side, but into ``ax`` the loss alone.
    label : str, optional
        What the one axis shows, such as ``"squared error (V²)"``; the loss or the metric's name
        if not given.
    {ax}

    {drawn}

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
    metrics = list(dict.fromkeys(name for run in runs.values() for name in _metrics(run)))
    if ax is None and metric is None:
        return _all(runs, metrics, label)
    quantity = _metric(metric, metrics) if metric else "loss"
    ax = canvas.axes(ax, size=(5.6, 3.8))
    _draw(ax, runs, quantity, label)
    return ax.figure


def _all(runs: Mapping[str, History], metrics: list[str], label: str | None) -> Any:
    """Draw the loss and all metrics, a few panels a row."""
    columns = min(1 + len(metrics), MOST_COLUMNS)
    rows = -(-(1 + len(metrics)) // columns)
    figure = canvas.figure(size=(4.8 * columns + 0.4, 3.8 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    _draw(panels[0], runs, "loss", label)
    for panel, name in zip(panels[1:], metrics, strict=False):
        _draw(panel, runs, name)
    for panel in panels[1 + len(metrics) :]:
        panel.remove()
    return figure


def _metrics(run: History, *, validation: bool = False) -> dict[str, list[float]]:
    """Return the metrics of a run that were recorded; one without a name is "metric"."""
    first, others = (run.val_metric, run.val_metrics) if validation else (run.metric, run.metrics)
    found = {run.metric_name or "metric": first, **others}
    return {name: values for name, values in found.items() if values}


def _metric(given: bool | str, known: list[str]) -> str:
    if not known:
        raise ValueError("history must hold a metric to draw, got none")
    if given is True:
        return known[0]
    name = check.text("metric", given)
    if name not in known:
        raise ValueError(f"metric must be one of {', '.join(map(repr, known))}, got {name!r}")
    return name


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


def _values(run: History, quantity: str, *, validation: bool) -> list[float]:
    if quantity == "loss":
        return list(run.val_loss if validation else run.loss)
    return _metrics(run, validation=validation).get(quantity, [])


def _draw(ax: Any, runs: Mapping[str, History], quantity: str, label: str | None = None) -> None:
    """Draw one quantity of all runs and name the axes."""
    lines: list[list[float]] = []
    held_out = any(_values(run, quantity, validation=True) for run in runs.values())
    for colour, (name, run) in zip(cycle(canvas.COLOURS), runs.items(), strict=False):
        for kind in ("training", "validation"):
            values = _values(run, quantity, validation=kind == "validation")
            if values:
                said = ", ".join(filter(None, (name, kind if held_out or not name else "")))
                _curve(ax, values, said, colour, validation=kind == "validation")
                lines.append(values)
        if quantity == "loss" and np.isfinite(run.val_loss).any():
            best = int(np.nanargmin(run.val_loss))
            dot = {"color": colour, "markersize": 5}
            if len(runs) == 1:
                dot["label"] = f"best epoch, {best + 1}"
            ax.plot(best + 1, run.val_loss[best], "o", **dot)
    if quantity == "loss":
        canvas.logarithmic(ax, np.concatenate(lines))
    canvas.steps_axis(ax, "epoch")
    last = max(line.get_xdata()[-1] for line in ax.lines)
    ax.set_xlim(0.5, last + 0.5)  # there is no epoch 0
    ax.set_ylabel(label or quantity)
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
