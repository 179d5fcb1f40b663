"""The pictures of commands, put together from those of gru.plot; knows no model and no table."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from gru import plot
from gru._types import Array
from gru.cli.answers import Answers
from gru.cli.parser import CommandError
from gru.cli.series import SeriesTable
from gru.history import History
from gru.plot import canvas
from gru.table.errors import plural

__all__ = ["check", "draw", "draw_series"]

MOST_SERIES = 5  # in one picture


def check() -> None:
    """Refuse now if pictures cannot be drawn.

    Raises
    ------
    CommandError
        If matplotlib is not installed.
    """
    try:
        canvas.figure(size=(1, 1))
    except plot.MissingError as error:
        raise CommandError(f"--report: {error}") from None


def draw(history: History, answers: Answers, truth: Array, kind: str, curve: str) -> bytes:
    """Return a PNG: loss, metric, and predictions against truth.

    Parameters
    ----------
    history : History
        Of the training.
    answers : Answers
        For n targets.
    truth : ndarray
        Shape (n,): what they should have been.
    kind : str
        Which targets these are, in words.
    curve : str
        What the validation curves were taken on, in words.
    """
    figure = canvas.figure(size=(16, 5))
    loss, metric, last = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    target, classes = answers.target, answers.target.classes
    plot.history(history, label=None if classes else "squared error, scaled", ax=loss)
    plot.history(history, metric=True, label=None if classes else "absolute error, scaled",
                 ax=metric)  # fmt: skip
    loss.set_title(curve, size=10)
    if classes:
        names = np.array(classes)
        plot.confusion(names[answers.values], names[truth], classes=classes, ax=last)
        last.set(xlabel=f"predicted {target.column}", ylabel=f"true {target.column}")
    else:
        plot.predictions(answers.values, truth, label=target.column, ax=last)
    what = plural(len(truth), target.per)
    last.set_title(f"{kind}, {what}: {last.get_title()}", size=10)
    return _png(figure)


def draw_series(
    names: tuple[str, str | None],
    data: SeriesTable,
    forecast: list[Array],
    ends: tuple[list[Array], list[Array]] | None,
    level: float | None,
) -> bytes:
    """Return a PNG of the first series, their ends and what follows.

    Parameters
    ----------
    names : pair of str
        The columns of the numbers and, if there is one, of the times.
    data : SeriesTable
        The series.
    forecast : list of ndarray
        Shape (H,).
    ends : pair of list of ndarray or None
        Lower and upper ends of the intervals, shape (H,) each.
    level : float or None
        The share of the truth that they hold, if it is known.
    """
    target, time = names
    count = min(len(data.ids), MOST_SERIES)
    figure = canvas.figure(size=(10, 0.6 + 3 * count))
    for i, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        plot.forecast(
            forecast[i],
            interval=None if ends is None else (ends[0][i], ends[1][i]),
            level=level,
            past=data.y[i][-max(60, 4 * len(forecast[i])) :],
            label=f"{target} of {data.ids[i]}" if data.ids[i] else target,
            ax=axes,
        )
        if data.moments[i]:
            _show_times(axes, data.past[i], data.moments[i])
            axes.set_xlabel(time)
        if i:
            axes.get_legend().remove()  # it is that of the first
        if i < count - 1:
            axes.set_xlabel("")
    if count < len(data.ids):
        figure.suptitle(f"The first {count} of {len(data.ids):,} series")
    return _png(figure)


def _show_times(axes: Any, past: list[str], moments: list[str]) -> None:
    """Write times at the ticks of steps; step 0 is the last of the past."""
    from matplotlib.ticker import MaxNLocator

    times = [*past, *moments]

    def shown(step: float, _: int | None = None) -> str:
        at = round(step) + len(past) - 1
        return times[at] if 0 <= at < len(times) else ""

    most = max(2, 90 // max(map(len, times)))  # characters that fit side by side
    axes.xaxis.set_major_locator(MaxNLocator(min(most, 9), integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(shown)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
