"""Keeps track of which axis of a tensor is batch, time, direction and feature; knows no values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.onnx_fold import Size

__all__ = ["Signal"]

Axis = tuple[str, ...]


@dataclass(frozen=True)
class Signal:
    """A tensor that a chain of layers gives, with each axis a product of named ones.

    ``"0"`` and ``"1"`` are the first two axes of the graph's input, of which one turns out to be
    time; ``"D"`` are directions, ``"H"`` the units of one. An axis of size 1 has no names.

    Attributes
    ----------
    axes : tuple of tuple of str
        The names in each axis, the slowest first.
    outer : mapping of str to int or Size
        The sizes of the input's axes.
    width : int or Size
        That of ``"H"``.
    parts : tuple
        What stands along ``"D"``, which is no axis where there is only one.
    role : str
        ``"steps"``, the final states ``"h"`` or ``"c"``, or how and along which of the input's
        axes steps were reduced: ``"last:0"``, and so on with first, mean, max and sum; with
        ``"counted "`` before it of the steps that lengths count.
    version : int
        How far the chain had come when it gave this.
    padding : float, optional
        The number in all steps that lengths do not count, where it is known.
    """

    axes: tuple[Axis, ...]
    outer: Mapping[str, int | Size]
    width: int | Size
    parts: tuple[Any, ...]
    role: str
    version: int
    padding: float | None = None

    def size(self, name: str) -> int | Size:
        """Return the size of one named axis."""
        if name == "D":
            return len(self.parts)
        return self.width if name == "H" else self.outer[name]

    @property
    def features(self) -> Axis:
        """The names that make up the features, in the engine's order."""
        return ("D", "H") if len(self.parts) > 1 else ("H",)

    @property
    def features_last(self) -> bool:
        """Whether the last axis holds all features and the others none."""
        inner = {"D", "H"}
        return self.axes[-1:] == (self.features,) and not any(
            inner & set(axis) for axis in self.axes[:-1]
        )

    def sizes(self) -> Array:
        """Return what a Shape node gives: integers, and sizes where they are open."""
        found = np.empty(len(self.axes), object)
        found[:] = [_product(map(self.size, axis)) for axis in self.axes]
        return found

    def _axis(self, axis: int) -> int:
        if not -len(self.axes) <= axis < len(self.axes):
            raise ValueError(f"has no axis {axis} in a tensor of {len(self.axes)}")
        return axis % len(self.axes)

    def transpose(self, perm: Sequence[int] | None) -> Signal:
        """Move axes, or reverse them if ``perm`` is None."""
        order = list(range(len(self.axes)))[::-1] if perm is None else list(perm)
        if sorted(order) != list(range(len(self.axes))):
            raise ValueError(f"has perm {order} for a tensor of {len(self.axes)} axes")
        return replace(self, axes=tuple(self.axes[i] for i in order))

    def unsqueeze(self, axes: Sequence[int]) -> Signal:
        """Insert axes of size 1."""
        rank = len(self.axes) + len(axes)
        places = {axis % rank for axis in axes if -rank <= axis < rank}
        if len(places) != len(axes):
            raise ValueError(f"has axes {list(axes)} for a tensor of {rank} axes")
        rest = iter(self.axes)
        return replace(self, axes=tuple(() if i in places else next(rest) for i in range(rank)))

    def squeeze(self, axes: Sequence[int] | None) -> Signal:
        """Drop axes of size 1."""
        if axes is None:
            if not all(isinstance(size, int) for size in self.sizes()):
                raise ValueError("drops all axes of size 1, but not all sizes are fixed: give axes")
            axes = [i for i, size in enumerate(self.sizes()) if size == 1]
        places = {self._axis(axis) for axis in axes}
        for place in places:
            if self.axes[place]:
                raise ValueError(f"drops axis {place}, which is more than one number")
        return replace(self, axes=tuple(a for i, a in enumerate(self.axes) if i not in places))

    def reshape(self, shape: Sequence[Any]) -> Signal:
        """Regroup the named axes in their order; one size may be -1, and 0 keeps a size."""
        have = self.sizes()
        if any(n == 0 and i >= len(have) for i, n in enumerate(shape)):
            raise ValueError("keeps the size of an axis that is not there")
        wanted = [have[i] if isinstance(n, int) and n == 0 else n for i, n in enumerate(shape)]
        names = [name for axis in self.axes for name in axis]
        open_ = [i for i, n in enumerate(wanted) if isinstance(n, int) and n == -1]
        if len(open_) > 1:
            raise ValueError("leaves more than one size open")
        split = open_[0] if open_ else len(wanted)
        head, names = self._taken(names, wanted[:split])
        if not open_:
            if names:
                raise ValueError(f"does not keep its numbers: {self} to {list(shape)}")
            return replace(self, axes=tuple(head))
        tail, names = self._taken(names[::-1], wanted[split + 1 :][::-1])
        tail = [axis[::-1] for axis in tail[::-1]]
        return replace(self, axes=(*head, tuple(names[::-1]), *tail))

    def _taken(self, names: list[str], sizes: Sequence[Any]) -> tuple[list[Axis], list[str]]:
        """Return the first names grouped to sizes, and those left over."""
        groups, at = [], 0
        for i, size in enumerate(sizes):
            start, product = at, _product([])
            if size == 1 and at < len(names) and self.size(names[at]) == 1:
                at += 1
            while product != size:
                if at == len(names):
                    raise ValueError(f"does not keep its axes: {self} to {list(sizes)}")
                product = product * self.size(names[at])
                at += 1
            one_unit = names[at - 1 : at + 1] == ["D", "H"] and self.width == 1
            if one_unit and at > start and list(sizes[i + 1 : i + 2]) != [1]:
                at += 1  # the features of each direction, which change no product
            groups.append(tuple(names[start:at]))
        return groups, names[at:]

    def take(self, axis: int, index: int) -> Signal:
        """Pick one index of an axis, which is dropped."""
        axis = self._axis(axis)
        kept = self.slice(axis, slice(index, index + 1 or None))
        if kept.axes[axis]:
            raise ValueError(f"takes index {index} of an axis {self._shown(self.axes[axis])}")
        return kept.squeeze([axis])

    def slice(self, axis: int, part: slice) -> Signal:
        """Keep a part of an axis: all, some directions, or the first or last step."""
        axis = self._axis(axis)
        names = self.axes[axis]
        start = part.start or 0
        end = 2**62 if part.stop is None else part.stop
        if part.step in (None, 1) and start == 0 and end >= 2**31 - 1:
            return self
        if not names and len(range(*part.indices(1))) == 1:
            return self
        if names == ("D",):
            parts = self.parts[part]
            if not parts:
                raise ValueError("keeps no direction")
            axes = tuple(() if a == names and len(parts) == 1 else a for a in self.axes)
            return replace(self, axes=axes, parts=parts)
        size = _product(map(self.size, names))
        first, last = (start, end) == (0, 1), start == -1 and end >= 2**31 - 1
        if isinstance(size, int) and size > 1:
            kept = range(size)[part]
            if kept == range(size):
                return self
            first, last = kept == range(1), kept == range(size - 1, size)
        if len(names) == 1 and names[0] in self.outer and self.role == "steps" and (last or first):
            axes = tuple(() if i == axis else a for i, a in enumerate(self.axes))
            return replace(self, axes=axes, role=f"{'last' if last else 'first'}:{names[0]}")
        raise ValueError(f"keeps a part of an axis {self._shown(names)}")

    def reduce(self, axes: Sequence[int], how: str, keep: bool) -> Signal:
        """Reduce over the steps."""
        [place] = axes
        place = self._axis(place)
        names = self.axes[place]
        if self.role != "steps" or len(names) != 1 or names[0] not in self.outer:
            raise ValueError(f"reduces an axis {self._shown(names)}, which is not that of time")
        if how == "sum" and self.padding != 0:
            raise ValueError("adds up steps that are not all set to 0 beyond lengths")
        if how == "max" and self.padding == -np.inf:
            how = "counted max"
        reduced = tuple(() if i == place else axis for i, axis in enumerate(self.axes))
        found = replace(self, axes=reduced, role=f"{how}:{names[0]}")
        return found if keep else found.squeeze([place])

    def beside(self, others: Sequence[Signal], axis: int) -> Signal:
        """Concatenate with others: directions along their own axis, or along the features."""
        axis = self._axis(axis)
        for other in others:
            same = (other.role, other.width) == (self.role, self.width)
            if not same or self.role not in ("h", "c") or len(other.axes) != len(self.axes):
                raise ValueError("joins what is not final states of layers of one width")
        everyone = [self, *others]
        parts = tuple(part for one in everyone for part in one.parts)
        if all(one.axes[axis] in ((), ("D",)) for one in everyone):
            joined: Axis = ("D",)
        elif all(one.axes[axis] == ("H",) and len(one.parts) == 1 for one in everyone):
            joined = ("D", "H")
        else:
            raise ValueError(f"joins axes {self._shown(self.axes[axis])}")
        rests = {(*one.axes[:axis], *one.axes[axis + 1 :]) for one in everyone}
        if len(rests) > 1 or any("D" in rest for names in rests for rest in names):
            raise ValueError("joins tensors whose other axes differ")
        version = max(one.version for one in everyone)
        axes = (*self.axes[:axis], joined, *self.axes[axis + 1 :])
        return replace(self, axes=axes, parts=parts, version=version)

    def _shown(self, names: Axis) -> str:
        return f"({' * '.join(NAMES[name] for name in names) or '1'})"

    def __str__(self) -> str:
        """Show the axes."""
        return f"({', '.join(self._shown(axis)[1:-1] for axis in self.axes)})"


NAMES = {"0": "input axis 0", "1": "input axis 1", "D": "directions", "H": "features"}


def _product(sizes: Any) -> Any:
    found: Any = 1
    for size in sizes:
        found = size if isinstance(found, int) and found == 1 else found * size
    return found
