"""What all pictures share: figures, axes and colours; the only file that imports matplotlib."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from gru import check
from gru.extras import missing

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GRAY",
    "GREEN",
    "ORANGE",
    "axes",
    "documented",
    "figure",
    "legend_above",
    "logarithmic",
    "steps_axis",
    "time_axis",
]

# Okabe and Ito's colours, told apart also without red or green; yellow is left out as too light.
BLACK, BLUE, ORANGE, GREEN, GRAY = "#000000", "#0072B2", "#D55E00", "#009E73", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", BLACK)

# What the docstrings of all pictures share, at the place of its name in braces.
SHARED = {
    "{ax}": """\
ax : matplotlib.axes.Axes, optional
    Where to draw; a new figure if not given.""",
    "{figure}": """\
figure : matplotlib.figure.Figure or SubFigure, optional
    Where to draw; a new one if not given.""",
    "{interval}": """\
interval : pair of array_like, or mapping of float to such pairs, optional
    ``(low, high)``, shapes (n,); of several intervals by the shares that they are meant to hold,
    as in ``{0.5: (low, high), 0.9: (lower, higher)}``.
level : float, optional
    The share of the truth that the one interval is meant to hold, such as 0.8, for the legend.""",
    "{drawn}": """\
Returns
-------
matplotlib.figure.Figure
    The figure, or the part of one, that was drawn into.

Raises
------
MissingError
    If matplotlib is not installed.
TypeError
    If an argument is of another type, or holds something else than it should.
ValueError
    If there is nothing to draw, or an argument does not fit or is out of its range.""",
}
P = ParamSpec("P")
R = TypeVar("R")


def documented(picture: Callable[P, R]) -> Callable[P, R]:
    """Put what all pictures share into a docstring.

    Examples
    --------
    >>> def draw(ax): "{ax}"
    >>> documented(draw).__doc__.splitlines()[0]
    'ax : matplotlib.axes.Axes, optional'
    """
    text = inspect.cleandoc(picture.__doc__ or "")
    for place, words in SHARED.items():
        text = text.replace(place, words)
    picture.__doc__ = text
    return picture


def figure(given: Any = None, *, size: tuple[float, float]) -> Any:
    """Return the given figure, or a new one that needs no display.

    Parameters
    ----------
    given : matplotlib.figure.Figure or SubFigure, optional
        Where to draw.
    size : tuple of float
        Width and height of a new figure in inches, of 100 dots.

    Raises
    ------
    MissingError
        If matplotlib is not installed.
    TypeError
        If what is given is no figure.

    Examples
    --------
    >>> figure(size=(4, 3)).dpi
    100.0
    """
    try:
        from matplotlib.figure import Figure, FigureBase
    except ImportError:
        raise missing("pictures", "matplotlib", "plot") from None
    if given is not None:
        return check.instance("figure", given, FigureBase, "a matplotlib Figure or SubFigure")
    return Figure(figsize=size, layout="constrained", dpi=100.0)


def axes(given: Any = None, *, size: tuple[float, float]) -> Any:
    """Return the given axes, or those of a new figure.

    Raises
    ------
    MissingError
        If matplotlib is not installed.
    TypeError
        If what is given is no axes.

    Examples
    --------
    >>> axes("left", size=(4, 3))
    Traceback (most recent call last):
    ...
    TypeError: ax must be a matplotlib Axes, got 'left'
    """
    if given is None:
        return figure(size=size).subplots()
    figure(size=size)  # says if matplotlib is missing
    from matplotlib.axes import Axes

    return check.instance("ax", given, Axes, "a matplotlib Axes")


def steps_axis(ax: Any, label: str, *, axis: str = "x") -> None:
    """Label an axis of whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.set(**{f"{axis}label": label})
    # 1, 2 and 5 only: ticks at multiples of 2.5 would not be whole.
    locator = MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    getattr(ax, f"{axis}axis").set_major_locator(locator)


def time_axis(ax: Any, times: Any) -> None:
    """Label an axis of numbers, or of dates as short as they can be."""
    if times.dtype.kind != "M":
        ax.set_xlabel("time")
        return
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))


def legend_above(ax: Any, *, right: bool = False) -> None:
    """Put the legend over the axes, where it hides nothing: in one line if it is short enough."""
    labels = ax.get_legend_handles_labels()[1]
    inches = 0.06 * sum(map(len, labels)) + 0.6 * len(labels)  # a letter, a line and the space
    room = 1.2 * ax.bbox.width / ax.figure.dpi  # the layout will widen the axes about so much
    lines = math.ceil(inches / room)
    ax.legend(
        frameon=False,
        fontsize=9,
        ncols=math.ceil(len(labels) / lines),
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(1.0 if right else 0.0, 1.0),
        borderaxespad=0.1,
    )


def logarithmic(ax: Any, values: Any) -> None:
    """Make the y axis logarithmic if all values are above 0 and the largest is 3 times the least.

    Up to two decades it shows plain numbers.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    finite = [v for v in values if -float("inf") < v < float("inf")]
    if not finite or not 0 < min(finite) <= max(finite) / 3:
        return
    ax.set_yscale("log")
    if max(finite) < 100 * min(finite):
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
