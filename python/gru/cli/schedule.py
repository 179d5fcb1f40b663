"""Reads ``--schedule``: the schedules of gru.schedules by name, with their settings."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from gru.schedules import Cosine, OneCycle, ReduceOnPlateau, Schedule, Step, WarmUp

__all__ = ["HELP", "SCHEDULES", "schedule", "schedule_text", "watches"]

SCHEDULES: dict[str, type[Schedule]] = {
    "cosine": Cosine,
    "one-cycle": OneCycle,
    "plateau": ReduceOnPlateau,
    "step": Step,
    "warm-up": WarmUp,
}
KINDS = {"int": int, "int | None": int, "float": float}  # annotations that text can give

HELP = """\
  schedule      NAME or NAME:SETTING=VALUE,...; --lr is the full rate, which it lowers.
                cosine:final=F,steps=N     along half a cosine to F (0) times the rate
                one-cycle:rise=F,first=F,final=F,steps=N
                                           up for the share rise (0.3), then down
                step:every=N,by=F          times F (0.1) every N epochs
                plateau:patience=N,by=F,min_delta=F,cooldown=N,final=F
                                           times F (0.1) after N (10) epochs without a better loss
                warm-up:steps=N,first=F    up from F (0.1) times the rate in N steps; +NAME:...
                                           says what follows, as in warm-up:steps=100+cosine
                Steps are those of the optimiser, one a batch; all of them if not given.
"""


def _settings(kind: type[Schedule]) -> dict[str, inspect.Parameter]:
    """Return the settings of a schedule that are numbers."""
    found = inspect.signature(kind).parameters
    return {name: of for name, of in found.items() if of.annotation in KINDS}


def _value(name: str, setting: str, text: str, of: inspect.Parameter) -> Any:
    kind = KINDS[of.annotation]
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name}: {setting} must be {wanted}, got {text!r}") from None


def schedule(text: str, monitor: str = "val_loss") -> Schedule:
    """Return the schedule that a text means.

    Parameters
    ----------
    text : str
        As ``gru train --help`` says.
    monitor : str
        What ``plateau`` looks at, as in :class:`gru.schedules.ReduceOnPlateau`.

    Raises
    ------
    ValueError
        If it means none.

    Examples
    --------
    >>> schedule("warm-up:steps=100+cosine:final=0.01")
    WarmUp(steps=100, then=Cosine(final=0.01, steps=None), first=0.1)
    """
    first, plus, then = text.partition("+")
    name, _, rest = first.partition(":")
    if name not in SCHEDULES:
        raise ValueError(f"must be one of {', '.join(SCHEDULES)}, got {name!r}")
    known, given = _settings(SCHEDULES[name]), {}
    for part in filter(None, rest.split(",")):
        setting, equals, value = part.partition("=")
        if setting not in known or not equals or setting in given:
            wanted = ", ".join(f"{key}=" for key in known)
            raise ValueError(f"{name} takes {wanted} once each, got {part!r}")
        given[setting] = _value(name, setting, value, known[setting])
    for setting, of in known.items():
        if of.default is inspect.Parameter.empty and setting not in given:
            raise ValueError(f"{name} needs {setting}=, as in {name}:{setting}=10")
    if plus and name != "warm-up":
        raise ValueError(f"only warm-up can be followed by another, got {text!r}")
    if plus:
        given["then"] = schedule(then, monitor)
    if name == "plateau":
        given["monitor"] = monitor
    try:
        return SCHEDULES[name](**given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def schedule_text(text: str) -> str:
    """Return a text that means a schedule, as it is; a type of option.

    Examples
    --------
    >>> schedule_text("step")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: step needs every=, as in step:every=10
    """
    try:
        schedule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def watches(text: str | None) -> bool:
    """Return whether a schedule looks at a loss.

    Examples
    --------
    >>> watches("plateau"), watches("cosine"), watches(None)
    (True, False, False)
    """
    return text is not None and schedule(text).watched is not None
