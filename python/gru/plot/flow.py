"""Draws how far back in time gradients reach; computes none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gru import check
from gru.diagnostics import GradientFlow, StateFlow
from gru.plot import canvas

__all__ = ["gradient_flow"]

# Part: its name and how it is drawn.
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "total": ("all of it", {"color": canvas.BLACK, "linewidth": 2.8}),
    "carried": ("carried by the update or forget gate", {"color": canvas.BLUE, "linewidth": 1.4}),
    "through": (
        "through candidate and gates",
        {"color": canvas.ORANGE, "linewidth": 1.4, "linestyle": "--"},
    ),
    "direct": (
        "from the output at the step",
        {"color": canvas.GREEN, "linewidth": 1.0, "marker": "."},
    ),
}


@canvas.documented
def gradient_flow(
    flows: GradientFlow | Mapping[str, GradientFlow],
    *,
    cell: str | None = None,
    floor: float = 1e-10,
    figure: Any = None,
) -> Any:
    r"""Draw the norm of dL/dh_t for every step back in time, side by side on one logarithmic axis.

    Black is the gradient that reaches the state; blue the part that the update gate (LSTM: the
    forget gate, on dL/dc_t) has carried from the next step, orange the part through candidate
    and gates, green what comes from the output at the step itself.

    Parameters
    ----------
    flows : GradientFlow or mapping of str to GradientFlow
        From :func:`gru.diagnostics.gradient_flow`. A mapping has one panel a model, by the names
        that their titles show; one alone has a panel for each of its cells.
    cell : str, optional
        Which cell of each model, such as ``"0.l1"``; of several models the first if not given.
    floor : float
        The axis ends at this share of the largest norm at the latest, between 0 and 1; what is
        smaller makes no difference to training.
    {figure}

    {drawn}

    Examples
    --------
    >>> import gru
    >>> X, y = gru.datasets.adding(16, 30, seed=0)
    >>> flows = {}
    >>> for kind in (gru.GRU, gru.LSTM, gru.RNN):
    ...     model = gru.Sequential([kind(2, 8, seed=0), gru.Last(), gru.Linear(8, 1, seed=0)])
    ...     flows[kind.__name__] = gru.diagnostics.gradient_flow(model, X, y, loss="mse")
    >>> figure = gru.plot.gradient_flow(flows)
    >>> len(figure.axes), figure.axes[0].get_yscale()
    (3, 'log')
    """
    if not 0 < check.number("floor", floor) < 1:
        raise ValueError(f"floor must be between 0 and 1, got {floor}")
    panels = _panels(flows, cell)
    width, height = min(3.6 * len(panels) + 0.6, 18.0), 5.0 if len(panels) == 1 else 4.3
    figure = canvas.figure(figure, size=(width, height))
    largest = max(state.norm().max() for _, state in panels)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, state) in zip(row, panels, strict=True):
        _draw(ax, state)
        ax.set_title(f"{title}\n{_reach(state, floor * largest)}", size=10)
    _limits(row, panels, floor)
    row[0].set_ylabel("norm of the gradient")
    _legend(figure, row)
    return figure


def _panels(flows: Any, cell: str | None) -> list[tuple[str, StateFlow]]:
    """Return the title and the state of each panel."""
    wanted = "a GradientFlow, or a mapping of names to them"
    if isinstance(check.instance("flows", flows, (GradientFlow, Mapping), wanted), GradientFlow):
        states = flows.memory if cell is None else [_state(flows, cell)]
        return [(f"{s.name} {s.cell}: dL/d{s.state}", s) for s in states]
    if not flows:
        raise ValueError("flows must hold at least one GradientFlow, got none")
    found = []
    for name, flow in flows.items():
        check.instance(f"flows[{name!r}]", flow, GradientFlow, "a GradientFlow")
        state = flow.memory[0] if cell is None else _state(flow, cell)
        found.append((f"{name}: dL/d{state.state} (loss {flow.loss:.3g})", state))
    return found


def _state(flow: GradientFlow, cell: str) -> StateFlow:
    """Return the state that a cell keeps its memory in."""
    known = {state.name: state for state in flow.memory}
    if cell not in known:
        raise ValueError(f"cell must be one of {', '.join(map(repr, known))}, got {cell!r}")
    return known[cell]


def _draw(ax: Any, state: StateFlow) -> None:
    """Draw one panel; time runs to the right, as in the sequence."""
    steps = -np.arange(state.norm().size)
    for part, (label, style) in LINES.items():
        norms = state.norm(part)
        if (norms > 0).any():
            ax.plot(steps, np.where(norms > 0, norms, np.nan), label=label, **style)
    ax.set_yscale("log")
    canvas.steps_axis(ax, "steps from the last one")
    ax.grid(alpha=0.3)


def _limits(row: Any, panels: list[tuple[str, StateFlow]], floor: float) -> None:
    """Give all panels the same axes, down to the floor if anything goes there."""
    norms = [state.norm(part) for _, state in panels for part in LINES]
    largest = max(values.max() for values in norms)
    longest = max(map(len, norms))
    for ax in row:
        ax.set_xlim(-1.03 * longest, 0.03 * longest)
    if largest > 0:
        smallest = min(values[values > 0].min() for values in norms if values.any())
        lowest = max(floor, min(smallest / largest / 3, 1e-3))
        row[0].set_ylim(lowest * largest, 3 * largest)


def _legend(figure: Any, row: Any) -> None:
    """Name the lines of all panels once, under them."""
    known: dict[str, Any] = {}
    for ax in row:
        lines, labels = ax.get_legend_handles_labels()
        known.update(zip(labels, lines, strict=True))
    figure.legend(
        known.values(),
        known.keys(),
        loc="outside lower center",
        ncols={1: 1, 2: 2}.get(len(row), len(known)),  # as many as there is room for
        frameon=False,
        fontsize=9,
    )


def _reach(state: StateFlow, lowest: float) -> str:
    """Say in words how far back the gradient is above the floor."""
    norms = state.norm()
    if norms.max() < lowest or not norms.any():
        return "no gradient to speak of"
    back = state.reach(lowest / norms.max())
    if back < len(norms) - 1:
        return f"reaches back {back} of {len(norms) - 1} steps"
    if not norms[0]:
        return "reaches the first step, not the last"
    share = float(f"{norms[-1] / norms[0]:.1g}")
    return f"reaches the first step: {share:{'.0f' if share >= 1 else 'g'}} of the last step's"
