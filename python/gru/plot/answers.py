"""Draws what a model answered beside what was true; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.plot import canvas

__all__ = ["confusion", "forecast", "predictions"]

MOST_WRITTEN = 25  # classes whose counts are still legible in the cells


def _line(name: str, values: Any, count: int | None = None) -> Array:
    """Return numbers as one line; a last axis of 1 may be there."""
    found = check.numbers(name, values).astype(np.float64)
    found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if found.ndim != 1 or (count is not None and len(found) != count):
        wanted = "(n,)" if count is None else f"({count},)"
        raise ValueError(f"{name} must have shape {wanted}, got {found.shape}")
    return found


def _interval(given: Any, count: int) -> tuple[Array, Array] | None:
    """Return the lower and the upper line of an interval."""
    if given is None:
        return None
    low, high = check.pair("interval", given, "a pair (low, high)")
    low, high = _line("interval[0]", low, count), _line("interval[1]", high, count)
    if (low > high).any():
        raise ValueError("interval must be a pair (low, high), got a low above its high")
    return low, high


def _interval_name(interval: tuple[Array, Array], truth: Array | None, level: Any) -> str:
    """Say how wide the interval is meant to be and how much of the truth it held."""
    name = "interval"
    if level is not None:
        if not 0 < check.number("level", level) < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        name = f"{100 * level:g} % interval"
    if truth is None or np.isnan(truth).all():
        return name
    known = ~np.isnan(truth)
    inside = (interval[0] <= truth) & (truth <= interval[1])
    return f"{name} (holds {100 * inside[known].mean():.0f} % of the truth)"


def forecast(
    prediction: Any,
    truth: Any = None,
    *,
    interval: Any = None,
    level: float | None = None,
    past: Any = None,
    label: str = "value",
    ax: Any = None,
) -> Any:
    """Draw predicted steps of a series with their interval, the truth, and what went before.

    Parameters
    ----------
    prediction : array_like
        Shape (n,): steps 1 .. n.
    truth : array_like, optional
        Shape (n,); nan where it is not known.
    interval : pair of array_like, optional
        ``(low, high)``, shapes (n,).
    level : float, optional
        The share of the truth that the interval is meant to hold, such as 0.8, for the legend.
    past : array_like, optional
        Shape (m,): steps 1-m .. 0, which the forecast goes on from.
    label : str
        What the series is, with its unit.
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
    TypeError, ValueError
        If an argument holds no numbers or does not fit.

    Examples
    --------
    >>> import gru
    >>> figure = gru.plot.forecast([3.0, 4.0], [3.5, 9.0], interval=([2, 3], [4, 5]), past=[1, 2])
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['past', 'truth', 'forecast', 'interval (holds 50 % of the truth)']
    """
    predicted = _line("prediction", prediction)
    steps = np.arange(1, len(predicted) + 1)
    known = None if truth is None else _line("truth", truth, len(predicted))
    before = None if past is None else _line("past", past)
    band = _interval(interval, len(predicted))
    name = None if band is None else _interval_name(band, known, level)
    ax = canvas.axes(ax, size=(9.0, 3.6))
    if before is not None and len(before):
        ax.plot(np.arange(1 - len(before), 1), before, color=canvas.GRAY, label="past")
        ax.axvline(0.5, color=canvas.GRAY, linestyle=":", linewidth=1)
    if known is not None:
        joined = known if before is None else np.concatenate([before[-1:], known])
        at = steps if before is None else np.arange(1 - len(before[-1:]), len(known) + 1)
        ax.plot(at, joined, color=canvas.BLACK, label="truth", zorder=3)
    ax.plot(steps, predicted, color=canvas.ORANGE, linewidth=2, label="forecast", zorder=4)
    if band is not None:
        ax.fill_between(steps, *band, color=canvas.ORANGE, alpha=0.25, linewidth=0, label=name)
    canvas.steps_axis(ax, "steps after the last known one")
    ax.set_ylabel(label)
    ax.margins(x=0.01)
    canvas.legend_above(ax)
    ax.grid(alpha=0.3)
    return ax.figure


def predictions(
    prediction: Any,
    truth: Any,
    *,
    interval: Any = None,
    level: float | None = None,
    label: str = "value",
    ax: Any = None,
) -> Any:
    """Draw each prediction over its truth: on the diagonal it is right.

    Parameters
    ----------
    prediction, truth : array_like
        Shape (n,) or (n, 1).
    interval : pair of array_like, optional
        ``(low, high)`` of each prediction, drawn as bars.
    level : float, optional
        The share of the truth that the interval is meant to hold, for the legend.
    label : str
        What is predicted, with its unit.
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
    TypeError, ValueError
        If an argument holds no numbers or does not fit.

    Examples
    --------
    >>> import gru
    >>> gru.plot.predictions([1.0, 2.5], [1.0, 2.0]).axes[0].get_title()
    'mean absolute error 0.25'
    """
    predicted = _line("prediction", prediction)
    known = _line("truth", truth, len(predicted))
    band = _interval(interval, len(predicted))
    name = None if band is None else _interval_name(band, known, level)
    ax = canvas.axes(ax, size=(4.8, 4.8))
    if band is not None:
        ax.vlines(known, *band, color=canvas.BLUE, alpha=0.3, linewidth=1, label=name)
    ax.plot(known, predicted, ".", color=canvas.BLUE, markersize=4, alpha=0.7)
    ends = [np.nanmin([known, predicted]), np.nanmax([known, predicted])] if len(known) else []
    ax.plot(ends, ends, color=canvas.BLACK, linewidth=1, label="prediction = truth")
    ax.set(xlabel=f"true {label}", ylabel=f"predicted {label}", aspect="equal")
    if len(known):
        ax.set_title(f"mean absolute error {np.nanmean(np.abs(predicted - known)):.3g}", size=10)
    ax.legend(frameon=False, fontsize=9)
    ax.grid(alpha=0.3)
    return ax.figure


def _counts(truth: Array, prediction: Array, classes: Array) -> Array:
    """Count truth (rows) and prediction (columns) by class."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    places = {label: place for place, label in enumerate(classes.tolist())}
    for name, labels in (("truth", truth), ("prediction", prediction)):
        for label in labels.tolist():
            if label not in places:
                raise ValueError(f"{name} must hold only the classes given, got {label!r}")
    rows, columns = ([places[x] for x in labels.tolist()] for labels in (truth, prediction))
    np.add.at(counts, (rows, columns), 1)
    return counts


def confusion(
    prediction: Any, truth: Any, *, classes: Sequence[Any] | None = None, ax: Any = None
) -> Any:
    """Draw which classes are taken for which: one row a true class, one column a predicted one.

    The colour is the share of the row, the number the count.

    Parameters
    ----------
    prediction, truth : array_like
        Shape (n,): labels, integers or strings; of logits take ``argmax(axis=-1)`` first.
    classes : sequence, optional
        All labels in the order of the axes; those that occur, sorted, if not given.
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
    ValueError
        If shapes differ, there is nothing to count, or a label is not among the classes.

    Examples
    --------
    >>> import gru
    >>> figure = gru.plot.confusion(["a", "b", "b"], ["a", "a", "b"])
    >>> figure.axes[0].get_title(), [text.get_text() for text in figure.axes[0].texts]
    ('2 of 3 right (66.7 %)', ['1', '1', '0', '1'])
    """
    known, predicted = check.array("truth", truth), check.array("prediction", prediction)
    if known.ndim != 1 or known.shape != predicted.shape or not known.size:
        raise ValueError(
            f"prediction and truth must have one shape (n,), n at least 1, "
            f"got {predicted.shape} and {known.shape}"
        )
    order = np.union1d(known, predicted) if classes is None else check.array("classes", classes)
    counts = _counts(known, predicted, order)
    size = min(2.6 + 0.42 * len(order), 11.0)
    ax = canvas.axes(ax, size=(size + 0.9, size))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(order) <= MOST_WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.5 else "black" if count else canvas.GRAY
            ax.text(column, row, str(count), ha="center", va="center", color=colour, size=9)
    names = [str(label) for label in order.tolist()]
    inches = (size - 1.4) / len(names)  # a column's; a letter takes about a twelfth
    turned = 90 if max(map(len, names)) > 12 * inches else 0
    ax.set_xticks(range(len(names)), names, rotation=turned)
    ax.set_yticks(range(len(names)), names)
    right = np.trace(counts)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{right} of {known.size} right ({100 * right / known.size:.1f} %)", size=10)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    return ax.figure
