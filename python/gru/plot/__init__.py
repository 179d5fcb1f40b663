"""Pictures: training curves, answers against truth, and what gates and gradients do over time.

Every function draws into a new figure, or into the axes or figure that it is given, and returns
the figure: ``gru.plot.history(history).savefig("curves.png")``. Matplotlib is imported when the
first picture is drawn, nothing global of it is changed, and no window is opened.
"""

from __future__ import annotations

from gru.extras import MissingError
from gru.plot.answers import confusion, predictions
from gru.plot.canvas import figure
from gru.plot.flow import gradient_flow
from gru.plot.gates import gates
from gru.plot.series import forecast
from gru.plot.training import history

__all__ = [
    "MissingError",
    "confusion",
    "figure",
    "forecast",
    "gates",
    "gradient_flow",
    "history",
    "predictions",
]
