"""Puts an ONNX graph together node by node; knows no layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.onnx_proto import (
    Attribute,
    Dimension,
    Node,
    Shape,
    Tensor,
    TensorType,
    Type,
    ValueInfo,
)

__all__ = ["TYPES", "Builder", "value_info"]

TYPES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
KINDS: dict[type, tuple[int, str]] = {float: (1, "f"), int: (2, "i"), str: (3, "s")}


class Builder:
    """The nodes and constants so far, and the tensor that the next layer reads."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.now = "x"  # what the next layer reads
        self.at = ""  # where new names belong

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **options: Any) -> list[str]:
        """Append a node, and return the names of its outputs."""
        name = f"{self.at}/{op}"
        same = sum(node.name.partition("#")[0] == name for node in self.nodes)
        name = f"{name}#{same}" if same else name
        found = [f"{name}:{i}" if i else f"{name}:out" for i in range(outputs)]
        attributes = [_attribute(key, value) for key, value in options.items()]
        self.nodes.append(Node(list(inputs), found, name, op, attributes))
        return found

    def then(self, op: str, *others: str, **options: Any) -> None:
        """Append a node that reads the current tensor and gives the next one."""
        [self.now] = self.add(op, [self.now, *others], **options)

    def constant(self, name: str, array: Array) -> str:
        """Add an initializer."""
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        kind = TYPES[array.dtype.name]
        self.tensors[name] = Tensor(list(array.shape), kind, name=name, raw_data=little.tobytes())
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant vector."""
        return self.constant("i" + "_".join(map(str, values)), np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Return the name of a constant without axes."""
        return self.constant(f"n{value}", np.array(value, np.int64))


def _attribute(name: str, value: Any) -> Attribute:
    if isinstance(value, list):
        if isinstance(value[0], str):
            return Attribute(name, strings=[text.encode() for text in value], type=8)
        return Attribute(name, ints=value, type=7)
    number, where = KINDS[type(value)]
    return Attribute(name, type=number, **{where: value.encode() if where == "s" else value})


def value_info(name: str, dtype: str, shape: Sequence[Any]) -> ValueInfo:
    """Return name and type of an input or output; texts in its shape are open sizes."""
    sizes = [Dimension(n) if isinstance(n, int) else Dimension(dim_param=n) for n in shape]
    return ValueInfo(name, Type(TensorType(TYPES[dtype], Shape(sizes))))
