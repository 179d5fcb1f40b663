"""Pictures: training curves, answers against truth.

Every function draws into a new figure, or into the axes or figure that it is given, and returns
the figure: ``gru.plot.history(history).savefig("curves.png")``. Matplotlib is imported when the
first picture is drawn, nothing global of it is changed, and no window is opened.
"""

from __future__ import annotations

from gru.extras import MissingError
from gru.plot.answers import confusion, forecast, predictions
from gru.plot.training import history

__all__ = [
    "MissingError",
    "confusion",
    "forecast",
    "history",
    "predictions",
]
