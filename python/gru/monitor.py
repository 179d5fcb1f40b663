"""Follows one number of a run and says when it improves; knows no model and no loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from gru import check

__all__ = ["Best", "check_monitor", "check_watched"]

LOWER_IS_BETTER = {"loss", "mae", "mse", "rmse"}
HIGHER_IS_BETTER = {"accuracy", "f1_macro", "r2"}
MODES = ("auto", "min", "max")


def check_monitor(owner: str, monitor: str, mode: str) -> bool:
    """Return whether smaller numbers are better.

    Parameters
    ----------
    owner : str
        Whose setting it is, for the error.
    monitor : str
        A name as in :attr:`gru.History.last`.
    mode : str
        ``"min"``, ``"max"``, or ``"auto"``: what is usual for the number of this name.

    Raises
    ------
    TypeError, ValueError
        If the mode is none of these, or nothing is known about the name.

    Examples
    --------
    >>> check_monitor("EarlyStopping", "val_accuracy", "auto")
    False
    """
    name = check.text("monitor", monitor).removeprefix("val_")
    if check.text("mode", mode) not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if mode != "auto":
        return mode == "min"
    if name not in LOWER_IS_BETTER and name not in HIGHER_IS_BETTER:
        raise ValueError(f"{owner} needs mode='min' or 'max' to monitor {monitor!r}")
    return name in LOWER_IS_BETTER


def check_watched(watched: str | None, known: Iterable[str]) -> None:
    """Refuse to follow a number that the run will not have.

    Raises
    ------
    ValueError
        Naming those it will have.

    Examples
    --------
    >>> check_watched("val_loss", ["loss", "mae"])
    Traceback (most recent call last):
    ...
    ValueError: there is no 'val_loss' to monitor; there are 'loss', 'mae'
    """
    names = list(known)
    if watched is not None and watched not in names:
        shown = ", ".join(map(repr, names))
        raise ValueError(f"there is no {watched!r} to monitor; there are {shown}")


class Best:
    """The best number so far, and for how many epochs it has not improved.

    Parameters
    ----------
    monitor : str
        A name as in :attr:`gru.History.last`.
    lower : bool
        Whether smaller is better.
    min_delta : float
        By how much a number must be better to count.
    relative : bool
        Whether ``min_delta`` is a share of the best number, as PyTorch's ReduceLROnPlateau has it.

    Examples
    --------
    >>> best = Best("loss", lower=True)
    >>> [best.improves({"loss": value}) for value in (2.0, 1.0, 1.5)], best.waited
    ([True, True, False], 1)
    """

    def __init__(
        self, monitor: str, *, lower: bool, min_delta: float = 0.0, relative: bool = False
    ) -> None:
        self.monitor = monitor
        self._sign = 1.0 if lower else -1.0
        self._min_delta = min_delta
        self._relative = relative
        self.value = math.inf * self._sign
        self.waited = 0

    def improves(self, values: Mapping[str, float]) -> bool:
        """Take an epoch's numbers; nan is no improvement."""
        new, delta = values[self.monitor], self._min_delta
        if self._relative and math.isfinite(self.value):
            delta *= abs(self.value)
        better = self._sign * new < self._sign * self.value - delta
        if better:
            self.value = new
        self.waited = 0 if better else self.waited + 1
        return better

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        found = None if math.isinf(self.value) else self.value
        return {"value": found, "waited": self.waited}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        value = state["value"]
        self.value = math.inf * self._sign if value is None else value
        self.waited = state["waited"]
