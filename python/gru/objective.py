"""What is minimised and what is shown beside it, on one batch and over many; knows no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gru import check
from gru._types import Array
from gru.data import Batch
from gru.losses import LOSSES, Loss
from gru.metrics import METRICS, USUAL_METRIC, Metric
from gru.rows import count_rows

__all__ = ["Mean", "Objective"]


@dataclass(frozen=True)
class Objective:
    """A loss, and a metric that people read.

    Examples
    --------
    >>> Objective.of("mse", None).metric_name
    'mae'
    """

    loss: Loss
    metric: Metric | None
    metric_name: str | None

    @classmethod
    def of(cls, loss: str | Loss, metric: str | Metric | None) -> Objective:
        """Look up names; without a metric take the usual one of the loss."""
        if metric is None and isinstance(loss, str):
            metric = USUAL_METRIC.get(loss)
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
        shown = None if metric is None else _look_up("metric", metric, METRICS)
        return cls(_look_up("loss", loss, LOSSES), shown, name)

    def measure(self, prediction: Array, batch: Batch) -> tuple[float, float | None, Array, int]:
        """Return loss, metric, gradient of the loss and the number of rows that counted."""
        which: dict[str, Any] = {}
        if prediction.ndim == 3:
            which = {"lengths": batch.lengths, "mask": batch.mask}
        value, gradient = self.loss(prediction, batch.y, **which)
        shown = None if self.metric is None else self.metric(prediction, batch.y, **which)
        return value, shown, gradient, count_rows(prediction, **which)


def _look_up(kind: str, given: Any, known: dict[str, Callable[..., Any]]) -> Any:
    if callable(given):
        return given
    wanted = f"one of {', '.join(map(repr, known))} or a function"
    if check.instance(kind, given, str, wanted) not in known:
        raise ValueError(f"{kind} must be {wanted}, got {given!r}")
    return known[given]


class Mean:
    """Means of loss and metric over batches, weighted by their rows."""

    def __init__(self) -> None:
        self._loss = self._metric = 0.0
        self._rows = 0

    def add(self, loss: float, metric: float | None, rows: int) -> None:
        """Add the means of one batch."""
        if rows:
            self._rows += rows
            self._loss += loss * rows
            self._metric += (metric or 0.0) * rows

    def values(self, objective: Objective) -> tuple[float, float | None]:
        """Return the means so far."""
        rows = self._rows or 1
        return self._loss / rows, None if objective.metric is None else self._metric / rows
