"""Opens an ONNX file and gives its tensors as arrays; knows no operator."""

from __future__ import annotations

import mmap
import os
import stat
from math import prod
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.convert.damage import DamagedFileError, FileError, UnsupportedError, short
from gru.convert.onnx_proto import EMPTY, Attribute, Graph, Node, Tensor, decode, varints
from gru.convert.regions import LONGEST_NAME, Claims, Objects

__all__ = ["MOST", "RECURRENT", "OnnxFile", "called"]

RECURRENT = ("GRU", "LSTM", "RNN")
OLDEST_OPSET = 7
SPARE = 1 << 20  # bytes that computed constants may take besides those of the file
MOST = 64  # numbers of an attribute: axes have a few
MOST_PACKED = 4096  # integers that are decoded one by one: shapes, axes and lengths have fewer
LONGEST = 800  # characters of a message, which may show what a file holds
BLOCK = 1 << 16  # bytes of packed numbers that are decoded at a time
# TensorProto's data types; bfloat16 (16) is the upper half of a float32.
BFLOAT16 = 16
TYPES = {
    1: "<f4",
    2: "|u1",
    3: "|i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "|b1",
    10: "<f2",
    11: "<f8",
    12: "<u4",
    13: "<u8",
    BFLOAT16: "<u2",
}
HALVES = (10, BFLOAT16)  # in int32_data, each as the bits of one 16-bit number
KINDS = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 10: "graphs"}


def called(node: Node) -> str:
    """Return what a node is called: its name, or that of its first output if it has none.

    Examples
    --------
    >>> called(Node(output=["", "y_h"]))
    'y_h'
    """
    return node.name or next((name for name in node.output if name), "")


def _mapped(path: bytes) -> memoryview:
    """Return a file's content without reading it."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if not about.st_size:
            raise ValueError("it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _halves(packed: memoryview, most: int) -> Array:
    """Return numbers of 16 bits that are packed as varints, with little memory besides.

    Raises
    ------
    OverflowError
        If one has more bits.
    ValueError
        If there are more than ``most``, or the last one is cut off.
    """
    found, at, done = np.empty(most, "<u2"), 0, 0
    while at < len(packed):
        block = np.frombuffer(packed[at : at + BLOCK], np.uint8)
        ends = np.flatnonzero(block < 128)
        if not len(ends):
            raise ValueError("is cut off, or a number has no end")
        starts = np.concatenate([[0], ends[:-1] + 1])
        values = sum(
            np.where(starts + i <= ends, block[np.minimum(starts + i, ends)] & 127, 0).astype(int)
            << 7 * i
            for i in range(3)
        )
        if (ends - starts).max() > 2 or np.max(values) > 0xFFFF:
            raise OverflowError
        if done + len(ends) > most:
            raise ValueError(f"has more than {most} numbers")
        found[done : done + len(ends)] = values
        at, done = at + int(ends[-1]) + 1, done + len(ends)
    return found[:done]


class OnnxFile:
    """An open ONNX file: its graph, and its tensors as views of the file.

    Parameters
    ----------
    path : str or path
        The file. External data must lie in its folder or below.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it holds no ONNX model, or one of a version before opset 7 (2018).
    """

    def __init__(self, path: str | bytes | os.PathLike[Any]) -> None:
        self._path = check.path("path", path)
        self.name = self._path.decode("utf-8", "backslashreplace")
        try:
            data = _mapped(self._path)
            model = decode(data, Objects(self.name, len(data)))
        except FileError:
            raise
        except ValueError as error:
            raise self.damaged(f"no ONNX model can be read from it: {error}") from None
        if model.graph is None or not model.opset_import or model.ir_version < 1:
            raise self.damaged("no ONNX model can be read from it: it has no graph or no version")
        self.size = len(data)
        self.graph: Graph = model.graph
        self.ir_version = model.ir_version
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = versions[0] if versions else 0
        if len(versions) > 1 or self.opset < OLDEST_OPSET:
            found = ", ".join(map(str, versions)) or "none"
            raise self.error(
                f"it needs one version of ONNX's operators of at least {OLDEST_OPSET}, got {found}"
            )
        self._external = {os.path.realpath(os.fsdecode(self._path)): data}
        self._left = self.size + SPARE
        self._halves = self.size  # bytes of bfloat16 numbers, each of which may be widened once
        self.claims = Claims(self.name, self.size)

    def error(self, what: str, node: Node | None = None) -> FileError:
        """Return an error that names the file, and the node if it is one's."""
        at = f"{node.op_type} node {called(node)!r}: " if node else ""
        return UnsupportedError(self.name, short(at + what, LONGEST))

    def damaged(self, what: str) -> FileError:
        """Return an error of a file that is not what its writer wrote."""
        return DamagedFileError(self.name, short(what, LONGEST))

    def spare(self, count: int) -> None:
        """Refuse what would take more memory for computed constants than a file may ask for."""
        if count > self._left:
            raise ValueError("its constants would take more memory than the file has bytes")

    def take(self, count: int) -> None:
        """Count memory that a computed constant takes."""
        self.spare(count)
        self._left -= count

    def attributes(self, node: Node) -> dict[str, Any]:
        """Return a node's attributes by name; text as str, tensors and graphs as messages."""
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name in found:
                raise self.error(f"attribute {attribute.name!r} occurs twice", node)
            try:
                found[attribute.name] = _value(attribute)
            except ValueError as error:
                raise self.error(f"attribute {attribute.name!r} {error}", node) from None
        return found

    def array(self, tensor: Tensor) -> Array:
        """Return a tensor's numbers, as a view of the file where it holds them as they are.

        float16 stays so; bfloat16 becomes float32.

        Raises
        ------
        ValueError
            If type, shape and data do not fit each other, or the data lie elsewhere.
        """
        try:
            return self._array(tensor)
        except ValueError as error:
            raise self.damaged(f"tensor {tensor.name!r} {error}") from None

    def _array(self, tensor: Tensor) -> Array:
        if tensor.data_type not in TYPES:
            raise ValueError(f"has the data type {tensor.data_type}, which is no number's")
        if tensor.segment is not None:
            raise ValueError("is given in segments, which are not supported")
        if any(size < 0 for size in tensor.dims) or len(tensor.dims) > 32:
            raise ValueError(f"must have at most 32 sizes of at least 0, got {tensor.dims[:33]}")
        dtype = np.dtype(TYPES[tensor.data_type])
        raw = self._raw(tensor, prod(tensor.dims), dtype)
        needed = prod(tensor.dims) * dtype.itemsize
        if len(raw) != needed:
            raise ValueError(f"of shape {tuple(tensor.dims)} needs {needed} bytes, got {len(raw)}")
        array = np.frombuffer(raw, dtype).reshape(tensor.dims)
        if tensor.data_type != BFLOAT16:
            return array
        self._halves -= len(raw)
        if self._halves < 0:
            raise ValueError("shares its bfloat16 numbers with others")
        wide = array.astype("<u4")
        wide <<= 16
        return wide.view("<f4")

    def _raw(self, tensor: Tensor, count: int, dtype: np.dtype[Any]) -> Any:
        if tensor.data_location:
            return self._elsewhere({entry.key: entry.value for entry in tensor.external_data})
        if tensor.raw_data is not None:
            return tensor.raw_data
        wide = {1: tensor.float_data, 11: tensor.double_data}.get(tensor.data_type)
        if wide is not None:
            return wide[0] if len(wide) == 1 else b"".join(wide)
        blocks = tensor.int64_data if tensor.data_type == 7 else tensor.int32_data
        packed = blocks[0] if len(blocks) == 1 else memoryview(b"".join(blocks))
        if count > len(packed):  # each takes at least a byte
            raise ValueError(f"of shape {tuple(tensor.dims)} holds at most {len(packed)} numbers")
        try:
            if tensor.data_type in HALVES:
                return _halves(packed, count).data.cast("B")
            if count > MOST_PACKED:
                raise ValueError(f"holds {count} packed integers, more than axes or lengths have")
            return np.array(varints(packed, count), dtype).tobytes()
        except OverflowError:
            raise ValueError(f"holds a number that is no {dtype.name}") from None

    def _elsewhere(self, entries: dict[str, str]) -> memoryview:
        """Return data of another file, which must lie in the model's folder or below."""
        location = entries.get("location", "")
        data = self._opened(location)
        places = []
        for key, default in (("offset", 0), ("length", None)):
            text = entries.get(key)
            if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
                raise ValueError(
                    f"has external data of {key} {text!r}, which is no number of bytes"
                )
            places.append(default if text is None else int(text))
        offset, length = places
        end = len(data) if length is None else (offset or 0) + length
        if end > len(data) or (offset or 0) > len(data):
            raise ValueError(f"ends at byte {end} of {location!r}, which has {len(data)}")
        return data[offset:end]

    def _opened(self, location: str) -> memoryview:
        """Return another file's content; its size, once, adds to what may be taken."""
        folder = os.path.realpath(os.path.dirname(os.fsdecode(self._path)) or ".")
        try:
            path = os.path.realpath(
                os.path.join(folder, os.fsdecode(check.path("location", location)))
            )
            if not location or os.path.commonpath([folder, path]) != folder:
                raise ValueError("it must lie in the model's folder or below")
            if path not in self._external:
                self._external[path] = _mapped(os.fsencode(path))
                more = len(self._external[path])
                self._left += more
                self._halves += more
                self.claims.widen(more)
            return self._external[path]
        except (OSError, ValueError) as error:
            what = f"has its data in {location!r}, which cannot be used"
            raise ValueError(f"{what}: {error}") from None


def _value(attribute: Attribute) -> Any:
    if attribute.ref_attr_name:
        raise ValueError("refers to a function's attribute, which is not supported")
    if attribute.type not in KINDS:
        raise ValueError(f"has the type {attribute.type}, which is not supported")
    value = getattr(attribute, KINDS[attribute.type])
    value = [] if value is EMPTY else value
    if value is None:
        raise ValueError("has no value")
    if isinstance(value, list) and len(value) > MOST:
        raise ValueError(f"has {len(value)} values, allowed are {MOST}")
    if attribute.type == 8:
        return [_text(item) for item in value]
    return _text(value) if attribute.type == 3 else value


def _text(value: Any) -> str:
    if len(value) > LONGEST_NAME:
        raise ValueError(f"has a text of {len(value)} bytes, allowed are {LONGEST_NAME}")
    return str(value, "utf-8")
