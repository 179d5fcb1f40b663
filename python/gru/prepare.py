"""Checks what ``gru.fit`` is given and makes the parts of a run from it; knows no loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from gru import check
from gru.checkpoint import Folder
from gru.counting import check_counting
from gru.data import Dataset, Sequences
from gru.model import Sequential
from gru.monitor import check_watched
from gru.objective import Objective
from gru.optim import Adam, Optimizer
from gru.schedules import Schedule
from gru.sources import Given, Source, Stored
from gru.stateless import Last, Masking, Max, Mean
from gru.stopping import EarlyStopping

__all__ = [
    "carrying_of",
    "check_memory",
    "folder_of",
    "followers_of",
    "held_out",
    "limits_of",
    "optimizer_of",
    "seconds_of",
    "source_of",
]

EVALUATED = 256  # sequences in a batch of validation


def _limit(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not check.number(name, value) > 0:
        raise ValueError(f"{name} must be above 0 or None, got {value}")
    return float(value)


def _strength(name: str, value: float) -> float:
    if not 0 <= check.number(name, value) < np.inf:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return float(value)


def limits_of(*, clip_norm: Any, clip_value: Any, l1: Any, l2: Any) -> dict[str, Any]:
    """Check what limits a step's gradient, as Python's numbers by name."""
    return {
        "clip_norm": _limit("clip_norm", clip_norm),
        "clip_value": _limit("clip_value", clip_value),
        "l1": _strength("l1", l1),
        "l2": _strength("l2", l2),
    }


def optimizer_of(given: Any) -> Optimizer:
    """Return the optimiser of a run."""
    chosen = Adam(1e-3) if given is None else given
    return check.instance("optimizer", chosen, Optimizer, "an optimizer such as gru.Adam(1e-3)")


def _stopping_of(given: Any) -> EarlyStopping | None:
    if given is None or isinstance(given, EarlyStopping):
        return given
    wanted = "None, a gru.EarlyStopping, or a patience of epochs"
    check.instance("early_stopping", given, (int, np.integer), wanted)
    return EarlyStopping(given)


def followers_of(
    schedule: Any, early_stopping: Any, objective: Objective, held: Source | None
) -> tuple[Schedule | None, EarlyStopping | None]:
    """Check schedule and early stopping: each must follow a number that the run will have."""
    if schedule is not None:
        check.instance("schedule", schedule, Schedule, "a schedule such as gru.schedules.Cosine()")
    stopping = _stopping_of(early_stopping)
    names = ["loss", *objective.metrics]
    names += [] if held is None else [f"val_{name}" for name in names]
    for helper in (schedule, stopping):
        if helper is not None:
            check_watched(helper.watched, names)
            helper.start()
    return schedule, stopping


def carrying_of(model: Any, *, bptt_steps: Any, stateful: Any) -> dict[str, Any]:
    """Check a model, and how its state is carried on from batch to batch."""
    bptt_steps = None if bptt_steps is None else check.integer("bptt_steps", bptt_steps, 1)
    stateful = check.flag("stateful", stateful)
    check.instance("model", model, Sequential, "a gru.Sequential")
    if any(layer.frozen for layer in model.layers):
        raise ValueError("the model is frozen; call model.unfreeze() before fit")
    for layer in model.layers:
        name = type(layer).__name__
        if bptt_steps is not None and isinstance(layer, (Last, Max, Mean)):
            raise ValueError(f"bptt_steps needs a model with an output at every step, got a {name}")
        backward = getattr(layer, "bidirectional", False) and not isinstance(layer, Last)
        if backward and (stateful or bptt_steps is not None):
            raise ValueError(
                f"bptt_steps and stateful need a model that reads forward, got a "
                f"bidirectional {name}"
            )
    return {"bptt_steps": bptt_steps, "stateful": stateful}


def source_of(
    model: Sequential,
    X: Any,
    y: Any,
    batch_size: int,
    which: dict[str, Any],
    weights: dict[str, Any],
    carry: dict[str, Any],
) -> Source:
    """Check training or validation data for a model."""
    if y is None and not isinstance(X, np.ndarray) and X is not None:
        _refuse_beside_a_source(which, weights)
        return Given(X, model.input_dtype, class_weight=weights.get("class_weight"), **carry)
    data = Dataset(Sequences(X, model.input_dtype, **which), y, **weights)
    if not len(data):
        raise ValueError("X must hold at least one sequence, got none")
    check_counting(data)
    return Stored(data, batch_size, **carry)


def _refuse_beside_a_source(which: dict[str, Any], weights: dict[str, Any]) -> None:
    beside = {**which, "sample_weight": weights.get("sample_weight")}
    for name, value in beside.items():
        if value is not None:
            raise ValueError(f"{name} goes with arrays; a source gives it within its batches")


def held_out(
    model: Sequential, validation: Any, batch_size: int, which: dict[str, Any], carry: Any
) -> Source | None:
    """Check validation data; the errors say whose X or y they mean."""
    if validation is None:
        return None
    X, y = check.pair("validation", validation, "a pair (X, y)")
    size = batch_size if carry["stateful"] else EVALUATED
    try:
        return source_of(model, X, y, size, which, {}, carry)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"in validation, {error}") from None


def check_memory(model: Any, source: Source, limit: int | None) -> None:
    """Refuse a limit of memory that some batch of every epoch is sure to exceed.

    ``model`` gives ``least_memory(batch, steps, lengths=)`` in bytes. Where it begins with
    :class:`gru.Masking`, its inputs say how many steps count, and nothing is sure beforehand.
    """
    if isinstance(model.layers[0], Masking):
        return
    for index, steps in source.sure_batches() if limit else ():
        longest = int(steps.max())
        need = model.least_memory(len(steps), longest, lengths=steps) if longest else 0
        if need > (limit or 0):
            raise ValueError(
                f"memory_limit must be at least {need} bytes for a batch of {len(steps)} with "
                f"X[{index}], which has {longest} steps, got {limit}"
            )


def folder_of(checkpoint: Any, *, resume: Any) -> Folder | None:
    """Return the folder of checkpoints, if there is to be one."""
    if check.flag("resume", resume) and checkpoint is None:
        raise ValueError("resume needs checkpoint, the folder of the run")
    return None if checkpoint is None else Folder(checkpoint)


def seconds_of(given: Any) -> float | None:
    """Return the seconds between two checkpoints within an epoch."""
    return None if given is None else 60.0 * _strength("checkpoint_minutes", given)
