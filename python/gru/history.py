"""What a training run records, epoch by epoch; knows no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """One entry an epoch in each list; ``val_`` lists stay empty without validation.

    Attributes
    ----------
    metric_name : str or None
        What ``metric`` and ``val_metric`` hold.
    loss, metric : list of float
        Means over the epoch's batches, while the parameters were changing.
    val_loss, val_metric : list of float
        On the validation data after the epoch.
    seconds : list of float
        Wall time of the epoch, validation included.

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

    def append(self, **values: float | None) -> None:
        """Add an epoch; values that are None are left out."""
        for name, value in values.items():
            if value is not None:
                getattr(self, name).append(value)

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's numbers by the names that people read."""
        name = self.metric_name or "metric"
        shown = {
            "loss": self.loss,
            name: self.metric,
            "val_loss": self.val_loss,
            f"val_{name}": self.val_metric,
        }
        return {key: values[-1] for key, values in shown.items() if values}

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        return asdict(self)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)
