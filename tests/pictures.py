"""Numbers and pixels read back from pictures, and what to draw; tests nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

import gru
from gru import History

RUN = History("accuracy", [0.9, 0.5, 0.2], [0.3, 0.6, 0.7], [0.8, 0.6, 0.7], [0.4, 0.5, 0.6])


def lines(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    """What each named line shows: x and y."""
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def drawn(figure: Any) -> bytes:
    """The pixels, which every picture must come to without a warning."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return bytes(canvas.buffer_rgba())


def sequence(steps: int = 12, channels: int = 2) -> Any:
    return np.random.default_rng(0).normal(size=(steps, channels)).astype(np.float32)


def flow_of(kind: Any, *rest: Any, **options: Any) -> Any:
    X, y = gru.datasets.adding(8, 60, seed=0)
    layer = kind(2, 6, *rest, seed=0, **options)
    model = gru.Sequential([layer, gru.Last(), gru.Linear(6, 1, seed=0)])
    return gru.diagnostics.gradient_flow(model, X, y, loss="mse")
