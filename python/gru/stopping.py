"""Ends a run that has stopped improving and keeps its best weights; knows no loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gru import check
from gru._types import Array
from gru.monitor import Best, check_monitor

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Stop when a number has not improved for some epochs; the best weights are restored.

    The weights of the best epoch are restored at the end of the run, whether it was stopped or
    not. The optimiser's state stays that of the last step.

    Parameters
    ----------
    patience : int
        Epochs in a row without improvement after which the run ends, at least 1.
    monitor : str
        A name as in :attr:`gru.History.last`.
    mode : str
        ``"min"``, ``"max"``, or ``"auto"``: as is usual for the number of this name.
    min_delta : float
        By how much the number must be better to count, at least 0.

    Attributes
    ----------
    best_epoch : int or None
        The epoch whose weights are kept, counted from 1.
    best_value : float
        Its number.

    Raises
    ------
    TypeError, ValueError
        If a setting is none of these, or nothing is known about the name with ``"auto"``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> X, y = np.ones((4, 3, 1)), np.array([0, 1, 0, 1])
    >>> model = gru.Sequential([gru.GRU(1, 2, seed=0), gru.Last(), gru.Linear(2, 2, seed=0)])
    >>> stopping = gru.EarlyStopping(patience=2, monitor="loss", min_delta=1.0)
    >>> len(gru.fit(model, X, y, early_stopping=stopping, verbose=False)), stopping.best_epoch
    (3, 1)
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str = "val_loss",
        mode: str = "auto",
        min_delta: float = 0.0,
    ) -> None:
        self.patience = check.integer("patience", patience, 1)
        self.lower = check_monitor("EarlyStopping", monitor, mode)
        if not 0 <= check.number("min_delta", min_delta) < float("inf"):
            raise ValueError(f"min_delta must be at least 0, got {min_delta}")
        self.monitor, self.min_delta = monitor, float(min_delta)
        self.start()

    def __repr__(self) -> str:
        """Show the settings."""
        shown = ("patience", "monitor", "lower", "min_delta")
        return f"EarlyStopping({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def start(self) -> None:
        """Forget an earlier run."""
        self._best = Best(self.monitor, lower=self.lower, min_delta=self.min_delta)
        self.weights: dict[str, Array] = {}
        self.best_epoch: int | None = None

    @property
    def watched(self) -> str:
        """The number that is followed."""
        return self.monitor

    @property
    def best_value(self) -> float:
        """The best number so far."""
        return self._best.value

    def end_epoch(
        self, epoch: int, values: Mapping[str, float], blocks: Mapping[str, Array]
    ) -> bool:
        """Take an epoch's numbers and weights; return whether to stop."""
        if self._best.improves(values) or not self.weights:
            self.best_epoch = epoch
            self.weights = {name: block.copy() for name, block in blocks.items()}
        return self._best.waited >= self.patience

    def restore(self, blocks: Mapping[str, Array]) -> None:
        """Write the best weights into a model's and let go of them."""
        for name, weights in self.weights.items():
            blocks[name][...] = weights
        self.weights = {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides :attr:`weights`."""
        return {"best": self._best.state(), "epoch": self.best_epoch}

    def load(self, state: Mapping[str, Any], weights: dict[str, Array]) -> None:
        """Go on from a checkpoint."""
        self._best.load(state["best"])
        self.best_epoch, self.weights = state["epoch"], weights
