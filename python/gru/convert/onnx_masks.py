"""Follows initial states and lengths through an ONNX graph, and the masks made of lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.onnx_fold import Op, Size, axes_of, integers, slices
from gru.convert.onnx_proto import ValueInfo
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
    "mixed",
    "moved",
    "sizes_of",
    "state_of",
    "widened",
]


INTEGERS, FLOATS = (6, 7), (1, 11)
STATES = (*FLOATS, 10, 16)
OPEN_END = 2**31 - 1


@dataclass(frozen=True)
class Given:
    """What the caller gives beside x: an initial state or lengths, perhaps a part of it.

    Attributes
    ----------
    name : str
        The graph's input.
    type : int
        Of its numbers.
    axes : tuple of str or None
        Its axes, as they stand by now: ``"0"`` for the first, and so on, and nothing for one of
        size 1 that was added. ``None`` if they were mixed.
    picked : frozenset of str
        Axes of which only a part is left.
    less : int
        What was taken off each number.
    """

    name: str
    type: int
    axes: tuple[str, ...] | None
    picked: frozenset[str] = frozenset()
    less: int = 0

    @classmethod
    def of(cls, info: ValueInfo) -> Given:
        """Return a whole input; one that states no shape has that of lengths or of a state."""
        about = info.type.tensor_type if info.type else None
        kind = about.elem_type if about else 0
        rank = 1 if kind in INTEGERS else 3
        if about is not None and about.shape is not None:
            rank = len(about.shape.dim)
        return cls(info.name, kind or 0, tuple(map(str, range(rank))))

    def whole(self, axis: int) -> bool:
        """Say whether an axis is one of the input's, with all its numbers in their order."""
        return bool(self.axes and self.axes[axis] and self.axes[axis] not in self.picked)

    def column(self, added: tuple[str, ...] = ()) -> bool:
        """Say whether it is one whole axis, and after that only what was added."""
        return self.whole(0) and self.axes is not None and self.axes[1:] == added


@dataclass(frozen=True)
class Mask:
    """Which steps count, (B, T) or (B, T, 1); or, with no name yet, the numbers of all steps."""

    steps: Any
    name: str = ""
    rank: int = 1


def moved(op: Op) -> Given:
    """Return what a node that moves axes makes of a state or of lengths."""
    given: Given = op.inputs[0]
    if op.node.op_type == "Cast":
        to = op.attributes.get("to")
        if to != given.type and not (given.type in INTEGERS and to in INTEGERS + FLOATS):
            raise ValueError(f"casts input {given.name!r} to the type {to}, which changes numbers")
    if op.node.op_type in ("Cast", "Identity") or given.axes is None:
        return given
    return ORDERS[op.node.op_type](op, given, list(given.axes))


def _transposed(op: Op, given: Given, axes: list[str]) -> Given:
    order = op.attributes.get("perm") or range(len(axes))[::-1]
    return replace(given, axes=tuple(axes[i] for i in order))


def _widened(op: Op, given: Given, axes: list[str]) -> Given:
    added = axes_of(op, default=())
    rest, places = iter(axes), {i % (len(axes) + len(added)) for i in added}
    rank = range(len(axes) + len(places))
    return replace(given, axes=tuple("" if i in places else next(rest) for i in rank))


def _squeezed(op: Op, given: Given, axes: list[str]) -> Given:
    places = axes_of(op)
    if places is None:
        return mixed(given)
    left = {i % len(axes) for i in places}
    return replace(given, axes=tuple(name for i, name in enumerate(axes) if i not in left))


def _sliced(op: Op, given: Given, axes: list[str]) -> Given:
    def cut(part: slice) -> bool:
        end = OPEN_END if part.stop is None else part.stop
        return bool(part.start) or end < OPEN_END or part.step not in (None, 1)

    parts = zip(axes, slices(op, len(axes)), strict=True)
    return replace(given, picked=given.picked | {name for name, part in parts if cut(part)})


def _gathered(op: Op, given: Given, axes: list[str]) -> Given:
    index, axis = op.inputs[1], op.attributes.get("axis", 0) % len(axes)
    if not isinstance(index, np.ndarray) or index.size != 1 or index.ndim > 1:
        return mixed(given)
    if index.ndim == 0:
        return replace(given, axes=(*axes[:axis], *axes[axis + 1 :]))
    return replace(given, picked=given.picked | {axes[axis]})


def mixed(given: Given) -> Given:
    """Return what is no part of an input any more, only made of it."""
    return replace(given, axes=None)


ORDERS: dict[str, Callable[[Op, Given, list[str]], Given]] = {
    "Gather": _gathered,
    "Reshape": lambda op, given, axes: mixed(given),
    "Slice": _sliced,
    "Squeeze": _squeezed,
    "Transpose": _transposed,
    "Unsqueeze": _widened,
}


def sizes_of(given: Given) -> Array:
    """Return what a Shape node gives: all sizes are open."""
    names = ["mixed"] * 4 if given.axes is None else given.axes
    sizes = np.empty(len(names), object)
    sizes[:] = [Size((f"{given.name}.{name}",)) if name else 1 for name in names]
    return sizes


def state_of(value: Given, batch_first: bool) -> str:
    """Return the name of the input that gives a state (D, B, H), or (B, D, H)."""
    batch = 0 if batch_first else 1
    three = value.axes is not None and len(value.axes) == 3 and not value.less
    if not three or not value.whole(batch) or not value.whole(2) or value.type not in STATES:
        raise ValueError(
            f"starts from a state that is made of input {value.name!r}, but does not have its "
            "rows as they are"
        )
    return value.name


def less_one(op: Op) -> Given:
    """Return what a Sub node gives: the numbers of the last steps that count."""
    given, one = op.inputs
    if not isinstance(given, Given) or given.less or integers(one) != [1]:
        raise ValueError("must take 1 off lengths")
    return replace(given, less=1)


def column_of(value: Any, less: int = 0) -> str:
    """Return the name of lengths of shape (B, 1), of which ``less`` was taken off."""
    if isinstance(value, Given) and value.less == less and value.column(("",)):
        return value.name
    raise ValueError(f"must read lengths{' less 1' if less else ''} of shape (B, 1)")


def lengths_of(value: Any) -> str:
    """Return the name of lengths as they are."""
    if isinstance(value, Given) and value.type in INTEGERS and not value.less and value.column():
        return value.name
    raise ValueError("must read lengths that are an input (B,) of integers, as they are")


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
