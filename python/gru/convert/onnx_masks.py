"""Follows initial states and lengths through an ONNX graph, and the masks made of lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.onnx_fold import Op, Size, axes_of, integers
from gru.convert.onnx_signal import Signal

__all__ = [
    "Given",
    "Mask",
    "column_of",
    "compared",
    "counted",
    "lengths_of",
    "less_one",
    "masked",
    "moved",
    "sizes_of",
    "widened",
]


@dataclass(frozen=True)
class Given:
    """What the caller gives beside x: an initial state or lengths, perhaps a part of it."""

    name: str
    moved: bool = False
    column: bool = False  # of one axis in the file, and (N, 1) here
    less: int = 0  # what was taken off each number


@dataclass(frozen=True)
class Mask:
    """Which steps count, (B, T) or (B, T, 1); or, with no name yet, the numbers of all steps."""

    steps: Any
    name: str = ""
    rank: int = 1


def moved(op: Op) -> Given:
    """Return what a node that moves axes makes of a state or of lengths."""
    given: Given = op.inputs[0]
    if op.node.op_type in ("Cast", "Identity"):
        return given
    column = not given.moved and op.node.op_type == "Unsqueeze" and axes_of(op) in ([1], [-1])
    return replace(given, moved=True, column=column)


def less_one(op: Op) -> Given:
    """Return what a Sub node gives: the numbers of the last steps that count."""
    given, one = op.inputs
    if not isinstance(given, Given) or given.less or integers(one) != [1]:
        raise ValueError("must take 1 off lengths")
    return replace(given, less=1)


def column_of(value: Any, less: int = 0) -> str:
    """Return the name of lengths of shape (B, 1), of which ``less`` was taken off."""
    if not isinstance(value, Given) or not value.column or value.less != less:
        raise ValueError(f"must read lengths{' less 1' if less else ''} of shape (B, 1)")
    return value.name


def lengths_of(value: Any) -> str:
    """Return the name of lengths as they are."""
    if not isinstance(value, Given) or value.less:
        raise ValueError("must read lengths that are an input")
    return value.name


def sizes_of(given: Given) -> Array:
    """Return open sizes of a state; its nodes ask for the batch alone."""
    sizes = np.empty(4, object)
    sizes[:] = [Size((f"{given.name}.{i}",)) for i in range(4)]
    return sizes


def counted(op: Op) -> Mask:
    """Return what a Range node gives: the numbers of all steps."""
    start, end, step = (integers(value) for value in op.inputs)
    if (start, step) != ([0], [1]) or len(end) != 1:
        raise ValueError("must count all steps from 0")
    return Mask(end[0])


def compared(op: Op) -> Mask:
    """Return what a Less node gives: which steps count."""
    steps, lengths = op.inputs
    if not isinstance(steps, Mask) or steps.name:
        raise ValueError("must compare the numbers of all steps with lengths")
    return Mask(steps.steps, column_of(lengths), 2)


def widened(op: Op) -> Mask:
    """Return a mask (B, T, 1) of one (B, T)."""
    mask: Mask = op.inputs[0]
    if mask.rank != 2 or axes_of(op) not in ([2], [-1]):
        raise ValueError("must add the axis of features to which steps count")
    return Mask(mask.steps, mask.name, 3)


def masked(op: Op, x: Signal) -> tuple[str, str, float]:
    """Return the axis along which a Where node sets padding, the lengths' name and the number."""
    mask, other = op.inputs[0], op.inputs[2]
    if not isinstance(mask, Mask) or mask.rank != len(x.axes) or len(x.axes[1]) != 1:
        raise ValueError("must tell by lengths which steps of (B, T) or (B, T, F) count")
    if not isinstance(other, np.ndarray) or other.size != 1 or other.ndim > 2:
        raise ValueError("must put one number where no step counts")
    number = float(other.reshape(-1)[0])
    if number not in (0, -np.inf):
        raise ValueError(f"must put 0 where no step counts, or -inf for a maximum, got {number:g}")
    if len(x.axes[0]) != 1 or x.sizes()[1] != mask.steps:
        raise ValueError("must count the steps of what it reads")
    return x.axes[1][0], mask.name, number
