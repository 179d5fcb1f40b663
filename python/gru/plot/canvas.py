"""What all pictures share: figures, axes and colours; the only file that imports matplotlib."""

from __future__ import annotations

from typing import Any

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
    "figure",
    "legend_above",
    "logarithmic",
    "steps_axis",
]

# Okabe and Ito's colours, told apart also without red or green; yellow is left out as too light.
BLACK, BLUE, ORANGE, GREEN, GRAY = "#000000", "#0072B2", "#D55E00", "#009E73", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", BLACK)


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
    locator = MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10])
    getattr(ax, f"{axis}axis").set_major_locator(locator)


def legend_above(ax: Any, *, right: bool = False) -> None:
    """Put the legend in one line over the axes, where it hides nothing."""
    ax.legend(
        frameon=False,
        fontsize=9,
        ncols=len(ax.get_legend_handles_labels()[0]),
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(1.0 if right else 0.0, 1.0),
        borderaxespad=0.1,
    )


def logarithmic(ax: Any, values: Any) -> None:
    """Make the y axis logarithmic, with plain numbers where it spans less than two decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_yscale("log")
    finite = [v for v in values if 0 < v < float("inf")]
    if finite and max(finite) < 100 * min(finite):
        subs = (1, 2, 5) if max(finite) > 5 * min(finite) else range(1, 10)
        ax.yaxis.set_major_locator(LogLocator(subs=subs))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
