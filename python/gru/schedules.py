"""Learning rates that change during a run; know no optimiser: each gives a factor of its rate.

A schedule is given to ``fit(..., schedule=)``. The optimiser's own ``lr`` is the full rate: before
each step it is multiplied by the schedule's factor, and after the run it is what it was. Steps are
the optimiser steps of the run, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gru import check
from gru.monitor import Best, check_monitor

__all__ = ["Cosine", "Moment", "OneCycle", "ReduceOnPlateau", "Schedule", "Step", "WarmUp"]


class Moment(NamedTuple):
    """Where in a run a step is.

    Attributes
    ----------
    step : int
        Optimiser steps taken before it.
    epoch : int
        Epochs finished before it.
    steps : int or None
        Optimiser steps of the whole run, ``None`` where a source does not tell.
    """

    step: int
    epoch: int
    steps: int | None


def _fraction(name: str, value: float) -> float:
    if not 0 <= check.number(name, value) <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value}")
    return float(value)


def _settle(schedule: Schedule, *, fractions: tuple[str, ...], steps: str | None = None) -> None:
    """Check the numbers of a frozen schedule, and make them Python's own."""
    for name in fractions:
        object.__setattr__(schedule, name, _fraction(name, getattr(schedule, name)))
    if steps is not None and getattr(schedule, steps) is not None:
        object.__setattr__(schedule, steps, check.integer(steps, getattr(schedule, steps), 1))


def _length(name: str, steps: int | None, at: Moment) -> int:
    if steps is None and at.steps is None:
        raise ValueError(
            f"{name} must say its steps where the length of an epoch is not known: "
            f"{name}(steps=...)"
        )
    return steps if steps is not None else at.steps or 0


class Schedule:
    """What schedules share; a subclass gives :meth:`factor`.

    Examples
    --------
    >>> import gru
    >>> class Halve(gru.schedules.Schedule):
    ...     def factor(self, at):
    ...         return 0.5**at.epoch
    >>> Halve().factor(gru.schedules.Moment(step=30, epoch=2, steps=100))
    0.25
    """

    def __repr__(self) -> str:
        """Show the settings: the attributes without an underscore."""
        shown = [f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_"]
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def watched(self) -> str | None:
        """The number that the schedule follows, a name as in :attr:`gru.History.last`."""
        return None

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is: on :attr:`Moment.steps`.

        A run whose schedule does not need it can be resumed with more epochs. A subclass that
        does not use ``at.steps`` returns False.
        """
        return True

    def factor(self, at: Moment) -> float:
        """Return what the optimiser's rate is multiplied by at a step."""
        raise NotImplementedError

    def start(self) -> None:
        """Forget an earlier run."""

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """Take an epoch's numbers, by the names of :attr:`gru.History.last`."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, for JSON."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""


@dataclass(frozen=True)
class Step(Schedule):
    """Multiply the rate by a factor every few epochs; PyTorch's StepLR.

    Parameters
    ----------
    every : int
        Epochs between two changes, at least 1.
    by : float
        What the rate is multiplied by, from 0 to 1.

    Examples
    --------
    >>> schedule = Step(every=10, by=0.1)
    >>> [schedule.factor(Moment(0, epoch, None)) for epoch in (9, 10)]
    [1.0, 0.1]
    """

    every: int
    by: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        _settle(self, fractions=("by",), steps="every")

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is."""
        return False

    def factor(self, at: Moment) -> float:
        """Return the factor at a step."""
        return float(self.by ** (at.epoch // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Lower the rate along half a cosine (Loshchilov and Hutter 2017, without restarts).

    PyTorch's CosineAnnealingLR, step by step.

    Parameters
    ----------
    final : float
        The factor at the end, from 0 to 1.
    steps : int, optional
        After how many steps it is reached; all steps of the run if not given.

    Examples
    --------
    >>> schedule = Cosine()
    >>> [round(schedule.factor(Moment(step, 0, 100)), 3) for step in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """

    final: float = 0.0
    steps: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        _settle(self, fractions=("final",), steps="steps")

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is."""
        return self.steps is None

    def factor(self, at: Moment) -> float:
        """Return the factor at a step."""
        share = min(at.step / max(_length("Cosine", self.steps, at), 1), 1.0)
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Raise the rate in equal steps, then hand over to another schedule.

    PyTorch's LinearLR, followed in a SequentialLR by the other, which counts its steps from
    where the warm-up ends and has the rest of the run.

    Parameters
    ----------
    steps : int
        Steps until the full rate, at least 1.
    then : Schedule, optional
        What follows; the full rate if not given.
    first : float
        The factor at the first step, from 0 to 1.

    Examples
    --------
    >>> schedule = WarmUp(10, then=Cosine(), first=0.1)
    >>> [round(schedule.factor(Moment(step, 0, 110)), 3) for step in (0, 5, 10, 60, 110)]
    [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    steps: int
    then: Schedule | None = None
    first: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        _settle(self, fractions=("first",), steps="steps")
        if self.then is not None:
            check.instance("then", self.then, Schedule, "a schedule or None")

    @property
    def watched(self) -> str | None:
        """The number that the schedule follows."""
        return None if self.then is None else self.then.watched

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is."""
        return self.then is not None and self.then.needs_length

    def factor(self, at: Moment) -> float:
        """Return the factor at a step."""
        if at.step < self.steps:
            return self.first + (1.0 - self.first) * at.step / self.steps
        if self.then is None:
            return 1.0
        rest = None if at.steps is None else at.steps - self.steps
        return self.then.factor(Moment(at.step - self.steps, at.epoch, rest))

    def start(self) -> None:
        """Forget an earlier run."""
        if self.then is not None:
            self.then.start()

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """Hand an epoch's numbers on."""
        if self.then is not None:
            self.then.end_epoch(values)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {} if self.then is None else self.then.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self.then is not None:
            self.then.load(state)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Raise the rate to its full height and lower it to almost nothing (Smith and Topin 2018).

    PyTorch's OneCycleLR with cosines, whose ``max_lr`` is the optimiser's own rate here; momentum
    is left alone.

    Parameters
    ----------
    rise : float
        Share of the steps in which the rate rises, from 0 to 1.
    first : float
        The factor at the first step, from 0 to 1; PyTorch's ``1 / div_factor``.
    final : float
        The factor at the last step; PyTorch's ``1 / (div_factor * final_div_factor)``.
    steps : int, optional
        Of the whole cycle; all steps of the run if not given.

    Examples
    --------
    >>> schedule = OneCycle(rise=0.3)
    >>> [round(schedule.factor(Moment(step, 0, 101)), 3) for step in (0, 29, 100)]
    [0.04, 1.0, 0.0]
    """

    rise: float = 0.3
    first: float = 1 / 25
    final: float = 1 / 250_000
    steps: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        _settle(self, fractions=("rise", "first", "final"), steps="steps")

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is."""
        return self.steps is None

    def factor(self, at: Moment) -> float:
        """Return the factor at a step."""
        last = _length("OneCycle", self.steps, at) - 1
        top = max(self.rise * (last + 1) - 1, 0.0)
        step = min(at.step, last)
        if step <= top:
            return _between(self.first, 1.0, step / top if top else 1.0)
        return _between(1.0, self.final, (step - top) / (last - top))


def _between(start: float, end: float, share: float) -> float:
    """Return a point on half a cosine."""
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0


class ReduceOnPlateau(Schedule):
    """Lower the rate when a number has stopped improving; PyTorch's ReduceLROnPlateau.

    Parameters
    ----------
    patience : int
        Epochs without improvement that are tolerated; the next one lowers the rate.
    by : float
        What the rate is multiplied by, from 0 to 1.
    monitor : str
        A name as in :attr:`gru.History.last`.
    mode : str
        ``"min"``, ``"max"``, or ``"auto"``: as is usual for the number of this name.
    min_delta : float
        By which share of itself the best number must improve to count.
    cooldown : int
        Epochs after a change in which nothing is counted.
    final : float
        The factor below which it does not go, from 0 to 1.

    Examples
    --------
    >>> schedule = ReduceOnPlateau(patience=1, by=0.5, monitor="loss")
    >>> rates = []
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9):
    ...     schedule.end_epoch({"loss": loss})
    ...     rates.append(schedule.factor(Moment(0, 0, None)))
    >>> rates
    [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        patience: int = 10,
        by: float = 0.1,
        *,
        monitor: str = "val_loss",
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        final: float = 0.0,
    ) -> None:
        self.patience = check.integer("patience", patience, 0)
        self.cooldown = check.integer("cooldown", cooldown, 0)
        self.lower = check_monitor("ReduceOnPlateau", monitor, mode)
        self.by, self.monitor = _fraction("by", by), monitor
        self.min_delta, self.final = _fraction("min_delta", min_delta), _fraction("final", final)
        self.start()

    @property
    def watched(self) -> str | None:
        """The number that the schedule follows."""
        return self.monitor

    @property
    def needs_length(self) -> bool:
        """Whether the factors depend on how long the run is."""
        return False

    def start(self) -> None:
        """Forget an earlier run."""
        self._best = Best(self.monitor, lower=self.lower, min_delta=self.min_delta, relative=True)
        self._factor = 1.0
        self._resting = 0

    def factor(self, at: Moment) -> float:
        """Return the factor at a step."""
        return self._factor

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """Lower the rate if it is time."""
        self._best.improves(values)
        if self._resting:
            self._resting -= 1
            self._best.waited = 0
        if self._best.waited > self.patience:
            self._factor = max(self._factor * self.by, self.final)
            self._resting = self.cooldown
            self._best.waited = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self._best.state(), "factor": self._factor, "resting": self._resting}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best.load(state["best"])
        self._factor, self._resting = state["factor"], state["resting"]
