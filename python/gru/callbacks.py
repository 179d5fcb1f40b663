"""What a user's code sees of a run and how it is called; knows no loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gru import check
from gru.history import History
from gru.model import Sequential
from gru.optim import Optimizer

__all__ = ["Callback", "Run", "callbacks_of"]


@dataclass
class Run:
    """A run of :func:`gru.fit`, as callbacks see it.

    Attributes
    ----------
    model : Sequential
        What is trained.
    optimizer : Optimizer
        With what; without a schedule its ``lr`` may be set.
    history : History
        All epochs so far.
    epoch : int
        Finished epochs.
    step : int
        Optimiser steps taken in this run.
    loss : float
        Of the last step.
    stopped : bool
        Whether the run ends, by :meth:`stop` or by early stopping.

    Examples
    --------
    >>> import numpy as np, gru
    >>> def enough(run: gru.Run) -> None:
    ...     if run.history.loss[-1] < 0.69:
    ...         run.stop()
    >>> model = gru.Sequential([gru.GRU(1, 2, seed=0), gru.Last(), gru.Linear(2, 2, seed=0)])
    >>> call = {"epochs": 100, "callbacks": [enough], "verbose": False}
    >>> len(gru.fit(model, np.ones((4, 3, 1)), [0, 0, 0, 0], **call)) < 100
    True
    """

    model: Sequential
    optimizer: Optimizer
    history: History
    epoch: int = 0
    step: int = 0
    loss: float = float("nan")
    stopped: bool = False

    def stop(self) -> None:
        """End the run after the present step or epoch; the epoch is recorded as it is.

        Before the first step of an epoch it ends the run there, and the epoch is not recorded.
        """
        self.stopped = True


class Callback:
    """Base of callbacks with more than one moment; override what is needed.

    What they raise ends the run and reaches the caller of :func:`gru.fit`. A run that is resumed
    may finish an epoch a second time, if it was killed before the epoch's checkpoint was written.

    Examples
    --------
    >>> import gru
    >>> class Count(gru.Callback):
    ...     steps = 0
    ...     def on_step_end(self, run):
    ...         self.steps += 1
    """

    def on_fit_start(self, run: Run) -> None:
        """Before the first step; a resumed run has its history by then."""

    def on_epoch_start(self, run: Run) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, run: Run) -> None:
        """After each optimiser step."""

    def on_epoch_end(self, run: Run) -> None:
        """After validation, before the checkpoint."""

    def on_checkpoint(self, run: Run) -> None:
        """After an epoch's checkpoint is on the disk for good."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch, the best weights restored; not if the run was broken off."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: what JSON can hold, and NumPy's numbers."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""


class _Function(Callback):
    """A plain function, called at the end of each epoch."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> None:
        self._function(run)


def callbacks_of(given: Iterable[Any]) -> list[Callback]:
    """Check callbacks, and wrap functions.

    Raises
    ------
    TypeError
        If an entry is neither a :class:`Callback` nor a function.

    Examples
    --------
    >>> callbacks_of([3])
    Traceback (most recent call last):
    ...
    TypeError: callbacks[0] must be a gru.Callback or a function of the run, got 3
    """
    found: list[Callback] = []
    for i, item in enumerate(check.several("callbacks", given, "a list of callbacks")):
        if callable(item) and not isinstance(item, (Callback, type)):
            found.append(_Function(item))
        else:
            wanted = "a gru.Callback or a function of the run"
            found.append(check.instance(f"callbacks[{i}]", item, Callback, wanted))
    return found
