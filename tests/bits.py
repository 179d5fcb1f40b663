"""What each sequence of a batch gives, together and alone; tests nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gru
from cases import (
    Case,
    Data,
    all_of,
    as_state,
    as_tuple,
    data,
    make_layer,
)
from reference import Array, Arrays, Spec, valid_steps

BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17)  # every height of a tile, and leftovers

# (hidden units, stacked layers, direction, padding): one unit, lanes not filled, filled, overfull.
SHAPES = [
    (1, 2, "both", "lengths"),
    (5, 1, "forward", "mask"),
    (16, 1, "both", "full"),
    (17, 2, "forward", "mask"),
    (33, 1, "both", "lengths"),
    (64, 2, "both", "mask"),
]
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))


def made(
    form: dict[str, Any],
    dtype: str,
    hidden: int,
    layers: int = 1,
    direction: str = "forward",
    padding: str = "full",
    *,
    inputs: int = 5,
    batch: int = 17,
    steps: int = 6,
) -> tuple[Any, Data]:
    spec = Spec(
        **form, input_size=inputs, hidden_size=hidden, num_layers=layers, direction=direction
    )
    d = data(Case(spec, batch, steps, padding, True, seed=11), dtype)
    return make_layer(spec, d.params), d


def changed(
    d: Data, change: Callable[[Array], Array], timed: Callable[[Array], Array] | None = None
) -> Data:
    """Every array of a batch changed, and then those with an axis of time changed again."""

    def both(a: Array) -> Array:
        return change(a) if timed is None else timed(change(a))

    def each(values: Arrays | None) -> Any:
        return None if values is None else tuple(change(v) for v in values)

    return Data(
        d.params,
        both(d.x),
        each(d.state),
        None if d.lengths is None else change(d.lengths),
        None if d.mask is None else both(d.mask),
        both(d.dy),
        each(d.dstate),
    )


def of_sequences(layer: Any, d: Data) -> list[Array]:
    """What belongs to a sequence: y and state of both forwards, gradients of x and state."""
    y, state = layer(d.x, as_state(d.state), **d.where)
    count = len(as_tuple(state))
    return [y, *as_tuple(state), *all_of(layer, d)[: 2 + 2 * count]]


def has_time(i: int, count: int) -> bool:
    """Whether the i-th array of ``of_sequences`` has an axis of time; `count` arrays are a state"""
    return i in (0, 1 + count, 2 + 2 * count)


def of_each_alone(layer: Any, d: Data) -> list[Array]:
    """The same, each sequence in a call of its own, its skipped steps cut out."""
    batch, steps = d.x.shape[:2]
    valid = valid_steps(batch, steps, d.lengths, d.mask)
    found: list[Array] = []
    for b, there in enumerate(valid):
        one = changed(
            replace(d, lengths=None, mask=None),
            lambda a, b=b: a[b : b + 1],
            lambda a, there=there: a[:, there],
        )
        arrays = of_sequences(layer, one)
        count = len(one.dstate)
        for i, a in enumerate(arrays):
            rest = (steps, *a.shape[2:]) if has_time(i, count) else a.shape[1:]
            if b == 0:
                found.append(np.zeros((batch, *rest), a.dtype))
            found[i][(b, there) if has_time(i, count) else b] = a[0]
    return found


def everything(layer: Any, d: Data) -> list[Array]:
    """All results: inference, training and every gradient, those of the weights as well."""
    y, state = layer(d.x, as_state(d.state), **d.where)
    return [y, *as_tuple(state), *all_of(layer, d)]


def on_one_thread(layer: Any, d: Data) -> list[Array]:
    gru.set_num_threads(1)
    return everything(layer, d)
