"""Computes what an ONNX graph makes of constants alone, with operators that only move numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gru._types import Array
from gru.convert.onnx_file import MOST, OnnxFile, called
from gru.convert.onnx_proto import Graph, Node, Tensor

__all__ = ["Op", "Scope", "Size", "Spread", "axes_of", "fold", "integers", "slices"]

DEEPEST = 100  # operators between a constant and what it becomes


@dataclass(frozen=True)
class Size:
    """The size of an axis that a file leaves open, or a product with such sizes."""

    names: tuple[str, ...]
    factor: int = 1

    def __mul__(self, other: Any) -> Size:
        """Multiply by a size or an integer."""
        if isinstance(other, Size):
            names = tuple(sorted(self.names + other.names))
            return Size(names, self.factor * other.factor)
        return Size(self.names, self.factor * int(other))

    __rmul__ = __mul__


class Spread(NamedTuple):
    """A constant that fills a shape which is not known: ``array`` broadcasts to it."""

    array: Array


class Op(NamedTuple):
    """A node whose inputs are known, with its attributes and the opset it is written in."""

    node: Node
    attributes: dict[str, Any]
    inputs: list[Any]
    file: OnnxFile

    def input(self, index: int) -> Any:
        """Return an input, or ``None`` if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None


def integers(value: Any) -> list[Any]:
    """Return a constant of one axis or none as a list of integers and sizes.

    Raises
    ------
    ValueError
        If it is anything else, or more than a tensor has axes.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuO" or value.ndim > 1:
        raise ValueError("needs constant integers where it has something else")
    if value.size > MOST:
        raise ValueError(f"needs a few constant integers, got {value.size}")
    return list(value.reshape(-1).tolist())


def axes_of(op: Op, place: int = 1, default: Any = None) -> Any:
    """Return a node's ``axes``: an attribute, or in newer opsets the input at ``place``."""
    if "axes" in op.attributes:
        return op.attributes["axes"]
    return default if op.input(place) is None else integers(op.input(place))


def _constant(op: Op) -> Array:
    [(name, value)] = op.attributes.items()
    if isinstance(value, Tensor):
        return op.file.array(value)
    if name not in ("value_float", "value_floats", "value_int", "value_ints"):
        raise ValueError(f"holds {name!r}, which is not supported")
    return np.array(value, np.float32 if "float" in name else np.int64)


def _cast(op: Op) -> Array:
    kinds = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
    to = op.attributes.get("to")
    if to not in kinds:
        raise ValueError(f"casts to type {to}, which is not supported")
    array = op.inputs[0]
    if array.dtype == object:
        if to not in (6, 7):
            raise ValueError("casts sizes to a type that is no integer")
        return np.asarray(array)
    op.file.spare(array.size * np.dtype(kinds[to]).itemsize)
    return np.asarray(array, kinds[to])


def _slice(op: Op) -> Array:
    array = op.inputs[0]
    return np.asarray(array[slices(op, array.ndim)])


def slices(op: Op, rank: int) -> tuple[slice, ...]:
    """Return what a Slice node takes along each axis."""
    if "starts" in op.attributes:
        starts, ends = op.attributes["starts"], op.attributes["ends"]
        axes, steps = op.attributes.get("axes"), None
    else:
        starts, ends = integers(op.input(1)), integers(op.input(2))
        axes = None if op.input(3) is None else integers(op.input(3))
        steps = None if op.input(4) is None else integers(op.input(4))
    found = [slice(None)] * rank
    columns = (axes or range(len(starts)), starts, ends, steps or [1] * len(starts))
    for axis, start, end, step in zip(*columns, strict=True):
        if not all(isinstance(n, int) for n in (axis, start, end, step)):
            raise ValueError("slices by sizes that the file leaves open")
        if step < 0:
            raise ValueError("slices backward, which is not supported")
        found[axis] = slice(start, end, step)
    return tuple(found)


def _reshape(op: Op) -> Array:
    array, shape = op.inputs[0], integers(op.inputs[1])
    if op.attributes.get("allowzero", 0):
        raise ValueError("has allowzero=1, which is not supported")
    return np.asarray(array.reshape([array.shape[i] if n == 0 else n for i, n in enumerate(shape)]))


def _transpose(op: Op) -> Array:
    return np.asarray(op.inputs[0].transpose(op.attributes.get("perm")))


def _unsqueeze(op: Op) -> Array:
    return np.expand_dims(op.inputs[0], tuple(axes_of(op)))


def _squeeze(op: Op) -> Array:
    axes = axes_of(op)
    return np.asarray(np.squeeze(op.inputs[0], None if axes is None else tuple(axes)))


def _concat(op: Op) -> Array:
    op.file.spare(sum(array.nbytes for array in op.inputs))
    return np.concatenate(op.inputs, axis=op.attributes["axis"])


def _gather(op: Op) -> Array:
    array, index = op.inputs
    if index.dtype.kind != "i" or index.size > 1:
        raise ValueError("gathers more than one index of a constant, which is not supported")
    return np.asarray(np.take(array, index, axis=op.attributes.get("axis", 0)))


def _split(op: Op) -> list[Array]:
    array, axis = op.inputs[0], op.attributes.get("axis", 0)
    sizes = op.attributes.get("split") or (
        integers(op.inputs[1]) if op.input(1) is not None else None
    )
    if sizes is None:
        return np.split(array, len(op.node.output), axis)
    if sum(sizes) != array.shape[axis]:
        raise ValueError(f"splits {array.shape[axis]} into {sizes}")
    return np.split(array, np.cumsum(sizes)[:-1], axis)


def _multiply(op: Op) -> Array:
    if any(value.dtype.kind not in "iuO" for value in op.inputs):
        raise ValueError("multiplies constants that are no integers, which is not supported")
    op.file.spare(64 * op.inputs[0].size * op.inputs[1].size)
    found = np.asarray(op.inputs[0].astype(object) * op.inputs[1].astype(object), object)
    if any(_digits(size) > MOST for size in found.reshape(-1)):
        raise ValueError("multiplies to more than any size")
    return found


def _digits(size: Any) -> int:
    """Return how many bits an integer has, and names a size."""
    if isinstance(size, Size):
        return len(size.names) + size.factor.bit_length()
    return int(size).bit_length()


def _expand(op: Op) -> Any:
    """Keep what is expanded small: what reads it knows the shape it must have."""
    return Spread(op.inputs[0])


def _fill(op: Op) -> Any:
    tensor = op.attributes.get("value")
    return Spread(np.zeros(1, np.float32) if tensor is None else op.file.array(tensor))


# Each takes its node with constant inputs, and returns an array, or a list with one an output.
FOLDS: dict[str, Callable[[Op], Any]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "Gather": _gather,
    "Identity": lambda op: op.inputs[0],
    "Mul": _multiply,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
# These need no known shape; of one number in all places they leave one number in all places.
SPREADS: dict[str, Callable[[Op], Any]] = {"ConstantOfShape": _fill, "Expand": _expand}
KEEP_UNIFORM = {
    "Cast",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


def fold(node: Node, inputs: Sequence[Any], file: OnnxFile) -> list[Any] | None:
    """Return the outputs of a node from its constant inputs.

    Parameters
    ----------
    node : Node
        The operator.
    inputs : sequence of ndarray, Spread or None
        ``None`` for one that is left out.
    file : OnnxFile
        Of attributes, tensors and messages.

    Returns
    -------
    list or None
        ``None`` if the operator is none of those that are known.

    Raises
    ------
    ValueError
        If the operator is known, but what it is given does not fit it.
    """
    if node.domain not in ("", "ai.onnx"):
        return None
    op = Op(node, file.attributes(node), list(inputs), file)
    if node.op_type in SPREADS:
        run = SPREADS[node.op_type]
        if node.op_type == "Expand" and isinstance(inputs[0], Spread):
            return [inputs[0]]
    elif any(isinstance(value, Spread) for value in inputs):
        first = inputs[0]
        uniform = isinstance(first, Spread) and first.array.size == 1
        return [first] if uniform and node.op_type in KEEP_UNIFORM else None
    elif node.op_type in FOLDS:
        run = FOLDS[node.op_type]
    else:
        return None
    try:
        found = run(op)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise file.error(f"cannot be computed from constants: {error}", node) from None
    outputs = found if isinstance(found, list) else [found]
    if len(outputs) < len(node.output):
        raise file.error(f"has {len(node.output)} outputs", node)
    for value in outputs:  # what is no view takes memory, and a file could ask for any amount
        if isinstance(value, np.ndarray) and value.flags.owndata:
            file.take(value.nbytes)
    return outputs


class Scope:
    """The names that the nodes of a graph see: its own, then those of the graphs around it.

    Parameters
    ----------
    file : OnnxFile
        The file.
    graph : Graph
        The file's graph, or the body of an If or Loop in it.
    outer : Scope, optional
        That of the graph around it.

    Raises
    ------
    ValueError
        If a name is given twice.
    """

    def __init__(self, file: OnnxFile, graph: Graph, outer: Scope | None = None) -> None:
        self.file, self.graph, self.outer = file, graph, outer
        self._tensors: dict[str, Tensor] = {}
        self._nodes: dict[str, Node] = {}
        for tensor in graph.initializer:
            self._once(tensor.name)
            self._tensors[tensor.name] = tensor
        for node in graph.node:
            for name in filter(None, node.output):
                self._once(name)
                self._nodes[name] = node
        self._inputs = {info.name for info in graph.input}
        self._found: dict[str, Any] = {}

    def _once(self, name: str) -> None:
        if name in self._tensors or name in self._nodes:
            raise self.file.error(f"the name {name!r} is given twice")

    def constant(self, name: str, depth: int = 0) -> Any:
        """Return the constant array (or Spread) of a name, or ``None`` if it is computed later.

        Raises
        ------
        ValueError
            If it is damaged, or too many operators lie between it and constants.
        """
        if depth > DEEPEST:
            raise self.file.error(
                f"{name!r} is the end of more than {DEEPEST} operators on constants, or of a cycle"
            )
        if name not in self._found:
            self._found[name] = self._constant(name, depth)
        return self._found[name]

    def _constant(self, name: str, depth: int) -> Any:
        if name in self._tensors:
            return self.file.array(self._tensors[name])
        if name not in self._nodes:
            own = name in self._inputs or self.outer is None
            return None if own else self.outer.constant(name, depth + 1)  # type: ignore[union-attr]
        node = self._nodes[name]
        if node.op_type not in FOLDS and node.op_type not in SPREADS:
            return None
        inputs = [self.constant(one, depth + 1) if one else None for one in node.input]
        given = inputs[:1] if node.op_type == "Expand" else inputs
        missing = any(v is None for v, one in zip(given, node.input, strict=False) if one)
        if missing and node.op_type != "ConstantOfShape":
            return None
        outputs = fold(node, inputs, self.file)
        if outputs is None:
            return None
        self._found.update(zip(node.output, outputs, strict=False))
        return self._found[name]

    def inner(self, node: Node) -> Iterator[Scope]:
        """Yield the scopes of a node's own graphs, such as the branches of an If."""
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.g else attribute.graphs:
                yield Scope(self.file, body, self)

    def producer(self, name: str) -> str:
        """Say where a name comes from, for messages."""
        if name in self._nodes:
            node = self._nodes[name]
            return f"comes from {node.op_type} node {called(node)!r}"
        return "is an input" if name in self._inputs else "is given nowhere"
