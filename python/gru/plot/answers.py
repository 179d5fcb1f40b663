"""Draws what a model answered beside what was true; knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.plot import canvas
from gru.plot.given import bands, line

__all__ = ["confusion", "predictions"]

MOST_WRITTEN = 25  # classes whose counts are still legible in the cells


@canvas.documented
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
    {interval}
    label : str
        What is predicted, with its unit.
    {ax}

    {drawn}

    Examples
    --------
    >>> import gru
    >>> gru.plot.predictions([1.0, 2.5], [1.0, 2.0]).axes[0].get_title()
    'mean absolute error 0.25'
    """
    predicted = line("prediction", prediction)
    known = line("truth", truth, len(predicted))
    around = bands(interval, level, len(predicted), known)
    ax = canvas.axes(ax, size=(4.8, 4.8))
    for i, (name, low, high) in enumerate(around):
        style = {"color": canvas.BLUE, "alpha": 0.3, "linewidth": 1 + 1.5 * i}
        ax.vlines(known, low, high, label=name, **style)
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


@canvas.documented
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
    {ax}

    {drawn}

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
    every = math.ceil(0.14 / inches)  # a line's height
    ticks = range(0, len(names), every)
    ax.set_xticks(ticks, names[::every], rotation=turned)
    ax.set_yticks(ticks, names[::every])
    right = np.trace(counts)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{right} of {known.size} right ({100 * right / known.size:.1f} %)", size=10)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    return ax.figure
