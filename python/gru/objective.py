"""What is minimised and what is shown beside it, on one batch and over many; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Batch
from gru.losses import LOSSES, Loss
from gru.metrics import METRICS, OF_NUMBERS, USUAL_METRIC, Metric, SumMetric
from gru.rows import count_rows, row_weights, valid_rows

__all__ = ["Measured", "NothingCountsError", "Objective", "Sums"]


class Measured(NamedTuple):
    """A prediction compared with its targets.

    Attributes
    ----------
    loss : float
        Mean over the rows that count.
    gradient : ndarray
        Of the loss with respect to the prediction.
    sums : tuple of ndarray
        What :class:`Sums` adds up: of the loss, then of every metric.
    """

    loss: float
    gradient: Array
    sums: tuple[Array, ...]


@dataclass(frozen=True)
class Objective:
    """A loss, and metrics that people read.

    Examples
    --------
    >>> Objective.of("mse", None).metric_name
    'mae'
    """

    loss: Loss
    metrics: dict[str, Metric]

    @classmethod
    def of(
        cls,
        loss: str | Loss,
        metric: str | Metric | None = None,
        metrics: Sequence[str | Metric] = (),
    ) -> Objective:
        """Look up names; without any metric take the usual one of the loss."""
        chosen = _look_up("loss", loss, LOSSES)
        given = check.several("metrics", metrics, "a list of names or functions")
        named = [("metric", metric)] if metric is not None else []
        named += [(f"metrics[{i}]", item) for i, item in enumerate(given)]
        if not named and isinstance(loss, str):
            named = [("metric", USUAL_METRIC[loss])]
        found: dict[str, Metric] = {}
        of_numbers = [METRICS[name] for name in OF_NUMBERS]
        for label, item in named:
            function = _look_up(label, item, METRICS)
            name = item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)
            if chosen is LOSSES["cross_entropy"] and function in of_numbers:
                raise ValueError(
                    f"{label} must compare classes, as the loss cross_entropy has them, such as "
                    f"'accuracy' or 'f1_macro', got {name!r}"
                )
            if name in found or name == "loss":
                raise ValueError(f"{label} is called {name!r}, as another number of this run is")
            found[name] = function
        return cls(chosen, found)

    @property
    def metric_name(self) -> str | None:
        """The name of the first metric."""
        return next(iter(self.metrics), None)

    def loss_of(self, prediction: Array, batch: Batch) -> tuple[float, float]:
        """Return the loss of one batch alone, and how much its rows count together."""
        return float(self._loss(prediction, batch)[0]), _total(prediction, batch)

    def _loss(self, prediction: Array, batch: Batch) -> tuple[float, Array]:
        weight: dict[str, Any] = {} if batch.weight is None else {"weight": batch.weight}
        return self.loss(prediction, batch.y, **_which(prediction, batch), **weight)

    def measure(self, prediction: Array, batch: Batch) -> Measured:
        """Compare one batch; its weights act on the loss alone."""
        value, gradient = self._loss(prediction, batch)
        rows = count_rows(prediction, **_which(prediction, batch))
        total = _total(prediction, batch)
        named = self.metrics.items()
        found = [_measured(name, metric, prediction, batch, rows) for name, metric in named]
        return Measured(value, gradient, (_share(value, total), *found))


def _measured(name: str, metric: Metric, prediction: Array, batch: Batch, rows: int) -> Array:
    """Return what one metric adds up; errors say which metric it was."""
    which = _which(prediction, batch)
    try:
        if isinstance(metric, SumMetric):
            return metric.sums(prediction, batch.y, **which)
        return _share(metric(prediction, batch.y, **which), rows)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"in the metric {name}, {error}") from error


def _which(prediction: Array, batch: Batch) -> dict[str, Any]:
    """Return which steps of a prediction count; one of whole sequences has none."""
    return {"lengths": batch.lengths, "mask": batch.mask} if prediction.ndim == 3 else {}


def _total(prediction: Array, batch: Batch) -> float:
    """Return the sum of the weights of the rows that count, each 1 without weights."""
    which = _which(prediction, batch)
    if batch.weight is None:
        return float(count_rows(prediction, **which))
    return float(row_weights(batch.weight, prediction, valid_rows(prediction, **which)).sum())


def _share(mean: float, rows: float) -> Array:
    """Return what a mean adds to a mean over more rows: nothing if it is of none."""
    return np.array([mean * rows, rows]) if rows else np.zeros(2)


def _look_up(kind: str, given: Any, known: dict[str, Callable[..., Any]]) -> Any:
    if callable(given):
        return given
    wanted = f"one of {', '.join(map(repr, known))} or a function"
    if check.instance(kind, given, str, wanted) not in known:
        raise ValueError(f"{kind} must be {wanted}, got {given!r}")
    return known[given]


class NothingCountsError(ValueError):
    """Of all the targets none counts, so that there is no loss."""


class Sums:
    """Loss and metrics over many batches.

    The loss and metrics that are plain functions are means weighted by their rows (the loss by
    the weights of the rows, where there are any); a :class:`gru.metrics.SumMetric` is exact.

    Attributes
    ----------
    parts : list of ndarray
        The sums so far, empty before the first batch.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.parts: list[Array] = []

    def add(self, sums: tuple[Array, ...]) -> None:
        """Add those of one batch."""
        if not self.parts:
            self.parts = list(sums)
            return
        metrics = self._objective.metrics.values()
        joins = [np.add, *(m.merge if isinstance(m, SumMetric) else np.add for m in metrics)]
        trios = zip(joins, self.parts, sums, strict=True)
        self.parts = [join(a, b) for join, a, b in trios]

    def values(self) -> tuple[float, ...]:
        """Return the loss, then every metric; nan where nothing was added."""
        found = []
        metrics: list[Metric | None] = [None, *self._objective.metrics.values()]
        for part, metric in zip(self.parts, metrics, strict=False):
            if isinstance(metric, SumMetric):
                found.append(metric.value(part))
            else:
                found.append(float(part[0] / part[1]) if part[1] else float("nan"))
        return tuple(found) or (float("nan"),) * len(metrics)

    def check_counted(self) -> None:
        """Refuse sums in which no target counts: they look like a perfect model.

        Raises
        ------
        NothingCountsError
            Saying what leaves targets out.
        """
        if not self.parts or not self.parts[0][1]:
            raise NothingCountsError(
                "no target counts: lengths, mask or weights leave out all of them"
            )
