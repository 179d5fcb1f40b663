"""What must be the same when a run is resumed; knows no files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gru.plain import settled

if TYPE_CHECKING:
    from gru.loop import Loop

__all__ = ["check_same", "settings_of"]


def _shown(thing: Any) -> str:
    """Return a text that is the same in another process: no address."""
    if callable(thing):
        return str(getattr(thing, "__qualname__", type(thing).__qualname__))
    return repr(thing)


def settings_of(
    loop: Loop, loss: Any, class_weight: Any, given: Mapping[str, Any]
) -> dict[str, str]:
    """Return the settings of a run as texts by name.

    Parameters
    ----------
    loop : Loop
        Before its first step.
    loss, class_weight : object
        As they were given.
    given : mapping
        The numbers that fit was called with.
    """
    run = loop.run
    layers = [layer.spec for layer in run.model.layers]
    found = {name: settled(value) for name, value in given.items()}
    found |= {
        "model": f"{run.model.dtype} {json.dumps(layers, sort_keys=True, default=str)}",
        "optimizer": repr(run.optimizer),
        "loss": loss if isinstance(loss, str) else _shown(loss),
        "metrics": ", ".join(loop.stepper.objective.metrics),
        "class_weight": settled(class_weight),
        "schedule": _shown(loop.schedule),
        "early_stopping": _shown(loop.stopping),
        "callbacks with a state": ", ".join(_shown(type(c)) for c in loop.remembering),
        "data": loop.source.digest(),
        "validation": "None" if loop.held is None else loop.held.digest(),
    }
    if loop.schedule is not None and loop.schedule.needs_length:
        found["epochs"] = repr(loop.epochs)
    return found


def check_same(folder: str, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to resume a run with other settings.

    Raises
    ------
    ValueError
        Naming each that differs.

    Examples
    --------
    >>> check_same("run", {"seed": "0"}, {"seed": "1"})
    Traceback (most recent call last):
    ...
    ValueError: run holds a run with other settings: seed was 0 and is 1
    """
    names = [*then, *(name for name in now if name not in then)]
    different = [
        f"{name} was {_brief(then.get(name))} and is {_brief(now.get(name))}"
        for name in names
        if then.get(name) != now.get(name) and (name != "epochs" or name in now)
    ]
    if {"epochs", "schedule"} <= now.keys() and then.get("epochs", now["epochs"]) != now["epochs"]:
        different[-1] += (
            f", and the schedule {_brief(now['schedule'])} depends on them (needs_length is True)"
        )
    if different:
        raise ValueError(f"{folder} holds a run with other settings: {'; '.join(different)}")


def _brief(text: str | None) -> str:
    shown = str(text)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
