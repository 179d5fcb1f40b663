"""What a training run records, epoch by epoch; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """One entry an epoch in each list; ``val_`` lists stay empty without validation.

    Attributes
    ----------
    metric_name : str or None
        What ``metric`` and ``val_metric`` hold: the first of the metrics.
    loss, metric : list of float
        Means over the epoch's batches, while the parameters were changing.
    val_loss, val_metric : list of float
        On the validation data after the epoch.
    seconds : list of float
        Wall time of the epoch, validation included.
    lr : list of float
        Learning rate of the epoch's last step.
    metrics, val_metrics : dict of str to list of float
        All metrics by name.

    Examples
    --------
    >>> history = History("accuracy")
    >>> history.append(loss=0.5, metric=0.9, seconds=0.1)
    >>> len(history), history.last
    (1, {'loss': 0.5, 'accuracy': 0.9})
    """

    metric_name: str | None = None
    loss: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_metric: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    val_metrics: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the first metric one list under two names."""
        if self.metric_name is not None:
            self.metrics[self.metric_name] = self.metric
            self.val_metrics[self.metric_name] = self.val_metric

    def append(self, **values: float | None) -> None:
        """Add an epoch; values that are None are left out."""
        for name, value in values.items():
            if value is not None:
                getattr(self, name).append(value)

    def append_metrics(self, values: Mapping[str, float], val_values: Mapping[str, float]) -> None:
        """Add an epoch's metrics by name."""
        for kept, given in ((self.metrics, values), (self.val_metrics, val_values)):
            for name, value in given.items():
                kept.setdefault(name, []).append(value)

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's numbers by the names that people read."""
        return self.epoch(-1)

    def epoch(self, index: int) -> dict[str, float]:
        """Return the loss and metrics of one epoch by the names that people read."""
        named = {} if self.metric_name else {"metric": self.metric}
        val_named = {} if self.metric_name else {"metric": self.val_metric}
        shown = {
            "loss": self.loss,
            **named,
            **self.metrics,
            "val_loss": self.val_loss,
            **{f"val_{name}": values for name, values in {**val_named, **self.val_metrics}.items()},
        }
        return {key: values[index] for key, values in shown.items() if values}

    def load(self, kept: Mapping[str, Any]) -> None:
        """Take over what :meth:`as_dict` gave."""
        for name in ("loss", "metric", "val_loss", "val_metric", "seconds", "lr"):
            getattr(self, name)[:] = kept[name]
        for name in ("metrics", "val_metrics"):
            for key, values in kept[name].items():
                getattr(self, name).setdefault(key, [])[:] = values

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        return asdict(self)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)
