"""Draws what the gates of a recurrent layer do while it reads one sequence; trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gru import check
from gru._types import Array
from gru.diagnostics.units import half_life, keep_gate
from gru.diagnostics.walk import Cell, as_model, cells_of, one_batch, traces
from gru.model import Sequential
from gru.plot import canvas

__all__ = ["gates"]

MOST_LINES = 6  # input channels that are still told apart as lines


class Row(NamedTuple):
    """One panel: what it shows, and the end of its colour scale."""

    name: str
    title: str
    group: str  # "gate" from 0 to 1, "state" from -1 to 1, "memory" as far as it goes


ROWS = {
    "gru": (
        Row("r", "reset gate r: near 0 the candidate ignores the old state", "gate"),
        Row("z", "update gate z: near 1 {z}", "gate"),
        Row("n", "candidate n: what would be taken", "state"),
        Row("h", "state h after the step", "state"),
    ),
    "lstm": (
        Row("i", "input gate i: near 1 takes the candidate", "gate"),
        Row("f", "forget gate f: near 1 keeps the memory", "gate"),
        Row("o", "output gate o: near 1 shows the memory", "gate"),
        Row("g", "candidate g: what would be taken", "state"),
        Row("h", "state h after the step", "state"),
        Row("c", "memory c after the step", "memory"),
    ),
    "rnn": (Row("h", "state h after the step", "memory"),),
}
UPDATE = {"keep": "keeps the old state", "new": "takes the new candidate"}
MAPS = {"gate": "cividis", "state": "PuOr_r", "memory": "PuOr_r"}


@canvas.documented
def gates(
    model: Any,
    x: Any,
    *,
    cell: str | None = None,
    units: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    figure: Any = None,
) -> Any:
    """Draw r, z, n and h of a GRU over the input, for one sequence: one row a unit.

    Of an LSTM the rows are i, f, o, g, h and c, of a plain RNN h. The update gate z is shown in
    the layer's own meaning, which its title states: with ``update_gate="keep"`` z near 1 keeps
    the old state, with ``"new"`` z near 1 takes the new candidate.

    Parameters
    ----------
    model : Sequential or Recurrent
        A model with recurrent layers, or one such layer; it runs as in inference.
    x : array_like
        One sequence (T, I), for a model that starts with an embedding integers (T,).
    cell : str, optional
        Which cell, such as ``"0.l1_reverse"``: the layer's number in the model and the end of its
        parameters' names. The first if not given.
    units : sequence of int, optional
        The units to draw from top to bottom; all, the one with the longest half-life on top, if
        not given (of a plain RNN in their own order).
    names : sequence of str, optional
        What the I input channels are, with units.
    labels : sequence of str, optional
        One text a step, such as the characters of a text, for the time axis.
    {figure}

    {drawn}

    Examples
    --------
    >>> import gru
    >>> X, _ = gru.datasets.adding(1, 20, seed=0)
    >>> figure = gru.plot.gates(gru.GRU(2, 8, update_gate="new", seed=0), X[0])
    >>> figure.axes[2].get_title(loc="left")
    'update gate z: near 1 takes the new candidate'
    """
    model = as_model(model)
    sequence = _sequence(model, x)
    channels = 1 if sequence.ndim == 1 else sequence.shape[1]
    names = _texts("names", names, channels, "an input channel")
    labels = _texts("labels", labels, len(sequence), "a step")
    chosen, trace = _traced(model, sequence, cell)
    order = _order(chosen, trace, units)
    rows = ROWS[chosen.kind]
    figure = canvas.figure(figure, size=_size(len(rows), len(order), labels))
    axes = figure.subplots(len(rows) + 1, 1, sharex=True)
    _draw_input(axes[0], sequence, names)
    _draw_rows(figure, axes[1:], chosen, trace, order)
    canvas.steps_axis(axes[-1], "step")
    by_memory = units is None and chosen.kind != "rnn"
    figure.supylabel("unit (longest half-life on top)" if by_memory else "unit", size=10)
    if labels is not None:
        axes[-1].set_xticks(range(1, len(sequence) + 1), labels)
    return figure


def _size(rows: int, units: int, labels: list[str] | None) -> tuple[float, float]:
    """Return inches that leave each unit a line of its own, and each label its letters."""
    width = 1.5 + sum(max(0.15, 0.1 * len(text)) for text in labels or [])
    height = min(max(1.5, 0.3 + 0.03 * units), 4.0)
    return min(max(10.0, width), 40.0), 1.6 + height * rows


def _sequence(model: Sequential, x: Any) -> Array:
    """Return one sequence without its batch axis."""
    found = check.numbers("x", x)
    wanted = 1 if model.input_dtype.kind == "i" else 2
    found = found[0] if found.ndim == wanted + 1 and len(found) == 1 else found
    if found.ndim != wanted or not len(found):
        shape = "(T,)" if wanted == 1 else "(T, I)"
        raise ValueError(f"x must be one sequence {shape}, T at least 1, got {found.shape}")
    return found


def _texts(name: str, given: Any, count: int, what: str) -> list[str] | None:
    if given is None:
        return None
    found = [check.text(f"{name}[{i}]", text) for i, text in enumerate(list(given))]
    if len(found) != count:
        raise ValueError(f"{name} must hold one text {what}, {count}, got {len(found)}")
    return found


def _traced(model: Sequential, sequence: Array, name: str | None) -> tuple[Cell, dict[str, Array]]:
    """Return the cell of that name, or the first one, and its layer's trace."""
    known = []
    for i, layer, trace in traces(model, one_batch(model, sequence[None], None, None, None)):
        for cell in cells_of(i, layer):
            known.append(cell.name)
            if name in (None, cell.name):
                return cell, trace
    raise ValueError(f"cell must be one of {', '.join(map(repr, known))}, got {name!r}")


def _order(cell: Cell, trace: dict[str, Array], units: Sequence[int] | None) -> Array:
    """Return the units from top to bottom."""
    size = cell.layer.hidden_size
    if units is not None:
        found = [check.integer(f"units[{i}]", u, 0, size - 1) for i, u in enumerate(list(units))]
        if not found:
            raise ValueError("units must hold at least one unit, got none")
        return np.array(found)
    return np.argsort(-half_life(keep_gate(cell, trace)), kind="stable")


def _draw_input(ax: Any, sequence: Array, names: list[str] | None) -> None:
    """Draw the input as lines, or many channels as an image."""
    steps = np.arange(1, len(sequence) + 1)
    ax.set_title("input x" if sequence.ndim == 2 else "input symbol", loc="left", size=10)
    if sequence.ndim == 2 and sequence.shape[1] > MOST_LINES:
        ends = (0.5, len(sequence) + 0.5, sequence.shape[1] - 0.5, -0.5)
        how = {"cmap": "Greys", "aspect": "auto", "interpolation": "nearest"}
        image = ax.imshow(sequence.T, extent=ends, **how)
        ax.figure.colorbar(image, ax=ax, pad=0.01, aspect=12)
        if names is None:
            canvas.steps_axis(ax, "channel", axis="y")
        else:
            ax.set_yticks(range(len(names)), names, fontsize=8)
        return
    columns = sequence.reshape(len(sequence), -1).T
    for i, (values, colour) in enumerate(zip(columns, canvas.COLOURS, strict=False)):
        name = names[i] if names is not None else f"channel {i}"
        mark = "." if len(steps) == 1 else ""  # a line of one point would not show
        style = {"drawstyle": "steps-mid", "color": colour, "linewidth": 1.4, "marker": mark}
        ax.plot(steps, values, label=name, **style)
    if names is not None or len(columns) > 1:
        canvas.legend_above(ax, right=True)
    ax.grid(alpha=0.3)


def _draw_rows(figure: Any, axes: Any, cell: Cell, trace: dict[str, Array], order: Array) -> None:
    """Draw each quantity as an image, those of one group on one colour scale."""
    groups: dict[str, list[Any]] = {}
    steps = trace["h"].shape[1]
    names = [str(unit) for unit in order]
    for ax, row in zip(axes, ROWS[cell.kind], strict=True):
        values = trace[row.name][0, :, cell.row].T[order]
        high = np.abs(values).max() or 1.0 if row.group == "memory" else 1.0
        image = ax.imshow(
            values,
            cmap=MAPS[row.group],
            vmin=0.0 if row.group == "gate" else -high,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, steps + 0.5, len(order) - 0.5, -0.5),
        )
        meaning = UPDATE.get(cell.layer.spec.get("update_gate", ""), "")
        ax.set_title(row.title.format(z=meaning), loc="left", size=10)
        every = -(-len(names) // 10)
        ax.set_yticks(range(0, len(names), every), names[::every], fontsize=8)
        groups.setdefault(row.group, [image]).append(ax)
    for image, *panels in groups.values():
        figure.colorbar(image, ax=panels, pad=0.01, aspect=12 * len(panels))
