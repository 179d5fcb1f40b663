"""Draws the best peer's time divided by ours, one panel a group; measures nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from report import NAMES

Row = dict[str, Any]
Panel = tuple[str, list[Row]]  # a group and its rows

SIZE, DPI = (16, 12), 100  # 1600 x 1200 pixels
COLUMNS = 3
TOP, BOTTOM = 0.925, 0.0
GAP, LETTER = 0.008, 0.0047  # parts of the width: between things, and of a label's letter
TITLE_ROWS = 2.6  # the height of a panel's title and axis, in rows
COLOURS = {  # Okabe and Ito's, which most eyes can tell apart
    "torch": "#D55E00",
    "onnxruntime": "#0072B2",
    "openvino": "#E69F00",
    "jax": "#009E73",
    "onednn": "#CC79A7",
}
TICKS = (0.2, 0.3, 0.5, 0.7, 1, 1.4, 2, 3, 5, 8, 12, 20, 40)
LOSS, LINES = "#fbeae7", "#dddddd"
OFFSET = 0.2  # of a dot from the middle of its row


def draw(results: Row, path: Path) -> Path:
    """Write the picture; return its path."""
    rows = [row for row in results["grid"] if row["ratio"]]
    panels = [(g, [r for r in rows if r["group"] == g]) for g in unique(r["group"] for r in rows)]
    counts = unique(row["threads"] for row in rows)
    columns = arrange(panels)
    figure = plt.figure(figsize=SIZE, dpi=DPI)
    unit = (TOP - BOTTOM) / max(16, *map(height, columns), 0)  # few rows need not be giants
    for number, column in enumerate(columns):
        left = number / len(columns) + LETTER * widest_label(column) + GAP
        width = (number + 1) / len(columns) - left - GAP
        y = TOP
        for group, members in column:
            inner = unit * len(names(members))
            y -= inner + unit * TITLE_ROWS
            axes = figure.add_axes((left, y + unit, width, inner))
            span = span_of([row for row in rows if is_step(row) == is_step(members[0])])
            draw_panel(axes, group, members, counts, span)
    explain(figure, results, counts)
    figure.savefig(path)
    plt.close(figure)
    return path


def unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def names(rows: Sequence[Row]) -> list[str]:
    return unique(row["case"] for row in rows)


def height(panels: Sequence[Panel]) -> float:
    return sum(len(names(rows)) + TITLE_ROWS for _, rows in panels)


def arrange(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Cut the panels into columns, keeping their order, so that the tallest is as low as can be."""
    count = min(COLUMNS, len(panels))

    def cut(at: tuple[int, ...]) -> list[list[Panel]]:
        return [list(panels[a:b]) for a, b in pairwise((0, *at, len(panels)))]

    ways = [cut(at) for at in combinations(range(1, len(panels)), max(0, count - 1))]
    return min(ways, key=lambda columns: max(map(height, columns)), default=[])


def is_step(row: Row) -> bool:
    """Return whether a row is a single step: their ratios are of another size."""
    return " step " in row["case"]


def span_of(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the least and the largest ratio that a panel shows."""
    low = min(row["ratio"]["q1"] for row in rows)
    high = max(row["ratio"]["q3"] for row in rows)
    return min(0.65, low / 1.1), max(3.2, high * 1.1)


def widest_label(panels: Sequence[Panel]) -> int:
    return max(len(label(name, group)) for group, rows in panels for name in names(rows))


def label(name: str, group: str) -> str:
    """Return a case's name without what its group says."""
    words = name.replace("gru-after ", "").replace("step ", "")
    words = words.replace("gru-before ", "before, " if "step" in name else "")
    return re.sub(r"^(forward|fwd\+bwd) ", "", words) if group.startswith("GRU") else words


def draw_panel(
    axes: Axes, group: str, rows: list[Row], counts: Sequence[int], span: tuple[float, float]
) -> None:
    order = names(rows)
    axes.set_title(group, loc="left", fontsize=11, fontweight="bold")
    axes.set_xscale("log")
    axes.set_xlim(*span)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_yticks(range(len(order)), [label(name, group) for name in order], fontsize=9)
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if span[0] <= t <= span[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(length=0, labelsize=9)
    axes.grid(axis="x", color=LINES, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvspan(span[0], 1, color=LOSS, zorder=0)
    axes.axvline(1, color="black", linewidth=1)
    for side in axes.spines.values():
        side.set_visible(False)
    for row in rows:
        spread = 0 if len(counts) == 1 else OFFSET
        place = counts.index(row["threads"])
        draw_row(axes, row, order.index(row["case"]) + spread * (2 * place - 1), place == 0)


def draw_row(axes: Axes, row: Row, y: float, filled: bool) -> None:
    """Draw the median as a dot, the quartiles as a bar and the target as a short black line."""
    ratio, colour = row["ratio"], COLOURS[row["best"]]
    axes.plot([ratio["q1"], ratio["q3"]], [y, y], color=colour, linewidth=2.2, alpha=0.55)
    face = colour if filled else "white"
    axes.plot(ratio["median"], y, "o", color=colour, markerfacecolor=face, markersize=6)
    for target in row.get("targets", []):
        if target["against"] == "best":
            bound = target["bound"]
            axes.plot([bound, bound], [y - OFFSET, y + OFFSET], color="black", linewidth=1.4)


def explain(figure: Any, results: Row, counts: Sequence[int]) -> None:
    """Write the title and what the marks mean."""
    machine = results["machine"]
    figure.text(0.015, 0.972, "Time of the best peer / time of gru", fontsize=17, fontweight="bold")
    where = f"{machine['cpu']}, {results['date']}, commit {results['commit']}"
    dirty = " with changes" if results["dirty"] else ""
    text = f"{where}{dirty}, {results['rounds']} rounds. Right of 1 gru is faster."
    figure.text(0.015, 0.95, text, fontsize=11)
    style = {"linestyle": "none", "marker": "o", "markersize": 7}
    handles = [
        Line2D([], [], color=COLOURS[name], label=f"best peer: {NAMES[name]}", **style)
        for name in unique(row["best"] for row in results["grid"] if row["best"])
    ]
    for place, count in enumerate(counts):
        face = "black" if place == 0 else "white"
        words = f"{count} thread{'s' * (count > 1)}"
        handles.append(Line2D([], [], color="black", markerfacecolor=face, label=words, **style))
    handles.append(Line2D([], [], color="grey", linewidth=2.2, label="quartiles"))
    upright = {"linestyle": "none", "marker": "|", "markersize": 10, "markeredgewidth": 1.6}
    handles.append(Line2D([], [], color="black", label="target", **upright))
    options = {"loc": "upper left", "ncol": len(handles), "frameon": False, "columnspacing": 1.2}
    figure.legend(handles=handles, bbox_to_anchor=(0.01, 0.945), **options)
