"""ONNX's protobuf messages to and from bytes; knows the layout alone, not what a graph means.

A message is a row of fields: a varint of 8 * number + wire type, then a varint (0), eight bytes
(1), a length and that many bytes (2), or four bytes (5). Numbers are those of onnx.proto. Only the
fields that a model's meaning needs are kept; large ones stay views of the file.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

from gru.convert.regions import LONGEST_NAME, POINTER, Objects

__all__ = [
    "Attribute",
    "Entry",
    "Graph",
    "Model",
    "Node",
    "Opset",
    "Tensor",
    "ValueInfo",
    "decode",
    "encode",
    "varints",
]

DEEPEST = 100  # messages inside each other, as in protobuf's own readers
EMPTY: Any = ()  # a list with nothing in it, of which a graph has tens of thousands
MOST_FIELDS = 200_000  # of a message and all inside it: a bound on time


@dataclass(slots=True)
class Entry:
    """A key and its text, such as the place of external data."""

    key: str = ""
    value: str = ""


@dataclass(slots=True)
class Tensor:
    """Named numbers: in ``raw_data``, in one of the typed fields, or in another file."""

    dims: list[int] = EMPTY
    data_type: int = 0
    segment: memoryview | None = None
    float_data: list[memoryview] = EMPTY
    int32_data: list[memoryview] = EMPTY
    int64_data: list[memoryview] = EMPTY
    name: str = ""
    raw_data: Any = None
    double_data: list[memoryview] = EMPTY
    external_data: list[Entry] = EMPTY
    data_location: int = 0


@dataclass(slots=True)
class Attribute:
    """A named option of a node; ``type`` says which field holds it."""

    name: str = ""
    f: float = 0.0
    i: int = 0
    s: Any = b""
    t: Tensor | None = None
    g: Graph | None = None
    floats: list[float] = EMPTY
    ints: list[int] = EMPTY
    strings: list[Any] = EMPTY
    graphs: list[Graph] = EMPTY
    type: int = 0
    ref_attr_name: str = ""


@dataclass(slots=True)
class Node:
    """One operator; an input or output that is left out has an empty name."""

    input: list[str] = EMPTY
    output: list[str] = EMPTY
    name: str = ""
    op_type: str = ""
    attribute: list[Attribute] = EMPTY
    domain: str = ""


@dataclass(slots=True)
class Dimension:
    """A fixed size, a name for one that is not, or neither."""

    dim_value: int | None = None
    dim_param: str | None = None


@dataclass(slots=True)
class Shape:
    """The dimensions of a tensor."""

    dim: list[Dimension] = EMPTY


@dataclass(slots=True)
class TensorType:
    """Element type and shape."""

    elem_type: int = 0
    shape: Shape | None = None


@dataclass(slots=True)
class Type:
    """A type, of which only tensors are kept."""

    tensor_type: TensorType | None = None


@dataclass(slots=True)
class ValueInfo:
    """Name and type of a graph's input or output."""

    name: str = ""
    type: Type | None = None


@dataclass(slots=True)
class Graph:
    """Nodes in the order in which they run, and the constants they read."""

    node: list[Node] = EMPTY
    name: str = ""
    initializer: list[Tensor] = EMPTY
    input: list[ValueInfo] = EMPTY
    output: list[ValueInfo] = EMPTY


@dataclass(slots=True)
class Opset:
    """The version of one set of operators."""

    domain: str = ""
    version: int = 0


@dataclass(slots=True)
class Model:
    """A whole file."""

    ir_version: int = 0
    opset_import: list[Opset] = EMPTY
    producer_name: str = ""
    graph: Graph | None = None


# Message -> field number -> (attribute, kind); a kind in a list may occur any number of times.
FIELDS: dict[type, dict[int, tuple[str, Any]]] = {
    Entry: {1: ("key", "text"), 2: ("value", "text")},
    Tensor: {
        1: ("dims", ["int"]),
        2: ("data_type", "int"),
        3: ("segment", "bytes"),
        4: ("float_data", ["block"]),
        5: ("int32_data", ["block"]),
        7: ("int64_data", ["block"]),
        8: ("name", "text"),
        9: ("raw_data", "bytes"),
        10: ("double_data", ["block"]),
        13: ("external_data", [Entry]),
        14: ("data_location", "int"),
    },
    Attribute: {
        1: ("name", "text"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "bytes"),
        5: ("t", Tensor),
        6: ("g", Graph),
        7: ("floats", ["float"]),
        8: ("ints", ["int"]),
        9: ("strings", ["bytes"]),
        11: ("graphs", [Graph]),
        20: ("type", "int"),
        21: ("ref_attr_name", "text"),
    },
    Node: {
        1: ("input", ["text"]),
        2: ("output", ["text"]),
        3: ("name", "text"),
        4: ("op_type", "text"),
        5: ("attribute", [Attribute]),
        7: ("domain", "text"),
    },
    Dimension: {1: ("dim_value", "int"), 2: ("dim_param", "text")},
    Shape: {1: ("dim", [Dimension])},
    TensorType: {1: ("elem_type", "int"), 2: ("shape", Shape)},
    Type: {1: ("tensor_type", TensorType)},
    ValueInfo: {1: ("name", "text"), 2: ("type", Type)},
    Graph: {
        1: ("node", [Node]),
        2: ("name", "text"),
        5: ("initializer", [Tensor]),
        11: ("input", [ValueInfo]),
        12: ("output", [ValueInfo]),
    },
    Opset: {1: ("domain", "text"), 2: ("version", "int")},
    Model: {
        1: ("ir_version", "int"),
        2: ("producer_name", "text"),
        7: ("graph", Graph),
        8: ("opset_import", [Opset]),
    },
}
# The wire types that a field of a kind may have; numbers in a list may be packed into bytes (2).
WIRES = {"int": (0,), "float": (5,), "text": (2,), "bytes": (2,), "block": (0, 1, 2, 5)}


def decode(data: Any, objects: Objects) -> Model:
    """Return the model that bytes hold; its large fields are views of them.

    Raises
    ------
    ValueError
        If they hold none, or more than ``objects`` allows.

    Examples
    --------
    >>> data = encode(Model(ir_version=8, graph=Graph(name="main")))
    >>> decode(data, Objects("m.onnx", len(data))).graph.name
    'main'
    """
    model: Model = _Reader(objects).message(Model, memoryview(data), 0)
    return model


WEIGHTS = {kind: sys.getsizeof(kind()) + POINTER for kind in FIELDS}  # with nothing inside
LIST = sys.getsizeof([0]) + POINTER


class _Reader:
    """Reads messages, and counts their fields and what becomes of them."""

    def __init__(self, objects: Objects) -> None:
        self.left, self.objects = MOST_FIELDS, objects

    def message(self, kind: type, data: memoryview, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError(f"its messages are nested deeper than {DEEPEST}")
        self.objects.take(WEIGHTS[kind])
        found, fields, at = kind(), FIELDS[kind], 0
        while at < len(data):
            tag, at = _varint(data, at)
            end, value = _field(data, at, tag & 7)
            if not tag >> 3:
                raise ValueError("a field has the number 0")
            if tag >> 3 in fields:
                self._keep(found, *fields[tag >> 3], tag & 7, value, depth)
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"it has more than {MOST_FIELDS} fields")
            at = end
        return found

    def _keep(self, into: Any, name: str, kind: Any, wire: int, value: Any, depth: int) -> None:
        many = isinstance(kind, list)
        kind = kind[0] if many else kind
        if many and wire == 2 and kind in ("int", "float"):
            self.objects.take(len(value) // (4 if kind == "float" else 1) * 2 * POINTER)
            self._list(into, name).extend(_packed(kind, value))
            return
        if wire not in WIRES.get(kind, (2,)):
            raise ValueError(f"field {name!r} of a {type(into).__name__} has wire type {wire}")
        if isinstance(kind, type):
            item = self.message(kind, value, depth + 1)
        else:
            item = _item(kind, value)
            self.objects.add(item)
        if many:
            self._list(into, name).append(item)
        else:
            setattr(into, name, item)

    def _list(self, into: Any, name: str) -> list[Any]:
        found = getattr(into, name)
        if found is EMPTY:
            self.objects.take(LIST)
            found = []
            setattr(into, name, found)
        return found  # type: ignore[no-any-return]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value & (2**64 - 1), at
        shift += 7
    raise ValueError("it is cut off, or a number has no end")


def _field(data: memoryview, at: int, wire: int) -> tuple[int, memoryview]:
    """Return where a field ends, and its bytes."""
    if wire == 0:
        end = _varint(data, at)[1]
    elif wire == 2:
        size, at = _varint(data, at)
        end = at + size
    elif wire in (1, 5):
        end = at + (8 if wire == 1 else 4)
    else:
        raise ValueError(f"a field has the wire type {wire}")
    if end > len(data):
        raise ValueError(
            f"it is cut off: a field needs {end - at} bytes, {len(data) - at} are left"
        )
    return end, data[at:end]


def _signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


def _item(kind: str, value: memoryview) -> Any:
    if kind == "int":
        return _signed(_varint(value, 0)[0])
    if kind == "float":
        return float(struct.unpack("<f", value)[0])
    if kind != "text":
        return value
    if len(value) > LONGEST_NAME:
        raise ValueError(f"a name has {len(value)} bytes, allowed are {LONGEST_NAME}")
    return str(value, "utf-8")


def _packed(kind: str, value: memoryview) -> list[Any]:
    if kind == "float":
        return [item[0] for item in struct.iter_unpack("<f", value)]
    return varints(value, len(value))


def varints(data: memoryview, most: int) -> list[int]:
    """Return the signed numbers that follow each other in bytes.

    Raises
    ------
    ValueError
        If there are more than ``most``, or the last one is cut off.

    Examples
    --------
    >>> varints(memoryview(bytes([1, 0x80, 1])), 5)
    [1, 128]
    """
    found: list[int] = []
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(_signed(value))
        if len(found) > most:
            raise ValueError(f"it has more than {most} numbers in one field")
    return found


def encode(message: Any) -> bytes:
    r"""Return the bytes of a message; :func:`decode` reads those of a model back.

    Examples
    --------
    >>> encode(Opset(version=14))
    b'\x10\x0e'
    """
    parts: list[Any] = []
    for number, (name, kind) in FIELDS[type(message)].items():
        value = getattr(message, name)
        if isinstance(kind, list):
            parts += [part for item in value for part in _written(number, kind[0], item)]
        elif value is not None and (value or not isinstance(value, (str, int, float, bytes))):
            parts += _written(number, kind, value)
    return b"".join(parts)


def _written(number: int, kind: Any, value: Any) -> list[Any]:
    if kind == "int":
        return [_number(number << 3), _number(value)]
    if kind == "float":
        return [_number(number << 3 | 5), struct.pack("<f", value)]
    if isinstance(kind, type):
        value = encode(value)
    elif kind == "text":
        value = value.encode()
    return [_number(number << 3 | 2), _number(len(value)), value]


def _number(value: int) -> bytes:
    value &= 2**64 - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
