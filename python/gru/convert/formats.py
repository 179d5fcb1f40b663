"""What a file is, told from its first bytes and never from its name; reads no weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO, Any

from gru.convert.damage import FileError

__all__ = ["NAMES", "UnknownFormatError", "kind"]

# What is opened, by the short names that the rest of the package uses.
NAMES = {
    "gru": "a model file of gru",
    "safetensors": "safetensors",
    "torch": "PyTorch's zip format",
    "keras": "Keras's zip format",
    "hdf5": "HDF5, as Keras writes",
    "onnx": "ONNX",
}
HEAD = 4096
LARGEST_HEADER = 100_000_000  # safetensors' own limit
OWN_FORMAT = re.compile(rb'"format"\s*:\s*"gru"')
# Two of them are left when any one byte of our header is damaged.
OWN_MARKS = (b'"format":"gru"', b'"format_version":"', b'"dtype":"float', b'"architecture":"')
HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
OTHERS = {
    b"\x89PNG\r\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\x93NUMPY": "a NumPy array (.npy); gru.from_arrays takes arrays",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": (
        "PyTorch's format from before version 1.6; load it with torch and torch.save it again"
    ),
    **{bytes([128, i]): "a Python pickle, which may run code" for i in range(2, 6)},
    b"\x7fELF": "a program",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    **dict.fromkeys((b"<!DOCTYPE", b"<!doctype", b"<html"), "a web page instead of a file"),
}
LONGEST = 40  # characters of a text file that a message shows


class UnknownFormatError(FileError):
    """A file is of no format that is read; the message says what it looks like.

    Examples
    --------
    >>> import tempfile, gru
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"epoch,loss"), file.flush()
    ...     try:
    ...         gru.load(file.name)
    ...     except gru.UnknownFormatError as error:
    ...         print(str(error)[-48:])
    it looks like text that begins with 'epoch,loss'
    """


def kind(path: str | bytes | os.PathLike[Any]) -> str:
    """Return which of :data:`NAMES` a file is.

    Raises
    ------
    UnknownFormatError
        If it is none of them.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import os, tempfile, gru
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.onnx")
    ...     gru.Sequential([gru.GRU(3, 4)]).save(path)
    ...     kind(path)
    'gru'
    """
    name = os.fsdecode(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD)
        if _safetensors(head):
            return "gru" if _own(file, head, size) else "safetensors"
        if head.startswith(ZIP):
            return _in_zip(path, name)
        if _hdf5(file, head, size):
            return "hdf5"
        if _onnx(file, size):
            return "onnx"
    raise UnknownFormatError(
        name,
        "is not an intact gru model file, and none of another system that gru opens: "
        f"it {_looks(head)}",
    )


def _safetensors(head: bytes) -> bool:
    """Return whether this starts as safetensors does, or did before it was damaged."""
    return bool(re.match(rb'\{\s*["}]', head[8:64])) or _marks(head) >= 2


def _marks(head: bytes) -> int:
    return sum(mark in head for mark in OWN_MARKS)


def _own(file: IO[bytes], head: bytes, size: int) -> bool:
    if _marks(head) >= 2:
        return True
    length = int.from_bytes(head[:8], "little")
    if length > min(LARGEST_HEADER, size - 8):
        return bool(OWN_FORMAT.search(head))
    file.seek(8)
    return bool(OWN_FORMAT.search(file.read(length)))


def _in_zip(path: str | bytes | os.PathLike[Any], name: str) -> str:
    from gru.convert.archive import names  # most models are no zip
    from gru.convert.regions import Source

    try:
        entries = names(Source(path))
    except FileError:
        raise UnknownFormatError(
            name,
            "a zip archive, as PyTorch and Keras write, that is cut off or damaged, or has a "
            "longer directory than a model",
        ) from None
    if "config.json" in entries:
        return "keras"
    if any(entry == "data.pkl" or entry.endswith("/data.pkl") for entry in entries):
        return "torch"
    held = ", ".join(repr(entry[:LONGEST]) for entry in entries[:3]) or "nothing"
    raise UnknownFormatError(
        name,
        "a zip archive with neither config.json, as Keras writes, nor data.pkl, as PyTorch does; "
        f"it holds {held}{', ...' if len(entries) > 3 else ''}",
    )


def _hdf5(file: IO[bytes], head: bytes, size: int) -> bool:
    """Return whether the signature is at a place where HDF5 may have it."""
    if head.startswith(HDF5):
        return True
    at = 512
    while at + len(HDF5) <= size:
        file.seek(at)
        if file.read(len(HDF5)) == HDF5:
            return True
        at *= 2
    return False


# --- ONNX: a protobuf message has no signature ----------------------------------------------------

# The fields of ModelProto and their wire types: 0 a number, 2 bytes with their length before them.
MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
GRAPH = 7
MOST_FIELDS = 1000  # at the top, of which a model has some ten, and one for each entry of metadata
LONGEST_FIELD = 20  # bytes of a field's number and of what follows, a number or a length


def _onnx(file: IO[bytes], size: int) -> bool:
    """Return whether all fields, as far as they go, are those of a model, with a graph in it."""
    seen = set()
    for field in _fields(file, size):
        if field is None:
            return False
        seen.add(field)
    return GRAPH in seen


def _fields(file: IO[bytes], size: int) -> Iterator[int | None]:
    """Yield the numbers of the fields at the top; ``None`` where one is no field of a model."""
    at = start = 0
    block = b""
    for _ in range(MOST_FIELDS):
        if at >= size:
            return
        if not start <= at <= start + len(block) - LONGEST_FIELD:
            file.seek(at)
            start, block = at, file.read(HEAD)
        here = block[at - start : at - start + LONGEST_FIELD]
        tag, used = _varint(here)
        field = tag >> 3
        if not used or MODEL_FIELDS.get(field) != tag & 7:
            yield None
            return
        yield field
        value, more = _varint(here[used:])
        if not more:
            return
        at += used + more + (value if tag & 7 else 0)
    yield None


def _varint(data: bytes) -> tuple[int, int]:
    """Return a number and how many bytes it takes: none if it does not end."""
    value = 0
    for i, byte in enumerate(data[:10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, i + 1
    return 0, 0


# --- what else it may be --------------------------------------------------------------------------


def _looks(head: bytes) -> str:
    if not head:
        return "is empty"
    for start, what in OTHERS.items():
        if head.startswith(start):
            return f"is {what}"
    if head[257:262] == b"ustar":
        return "is a tar archive, as torch.save wrote before PyTorch 0.1.10; save it anew"
    if b"\0" not in head and (text := _text(head)) is not None:
        shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
        return f"looks like text that begins with {shown!r}"
    return f"begins with the bytes {head[:8].hex(' ')}"


def _text(head: bytes) -> str | None:
    """Return the first line of a text, or ``None`` if this is none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut at the end
            return None
        text = head[: error.start].decode("utf-8-sig")
    if not all(c.isprintable() or c in "\t\r\n\f" for c in text):
        return None
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
