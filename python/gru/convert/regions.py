"""Arrays that lie in a file and are read when NumPy asks for them; knows no file format."""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.convert.damage import DamagedFileError, UnsupportedError

__all__ = [
    "KINDS",
    "LONGEST_NAME",
    "POINTER",
    "Claims",
    "Objects",
    "Region",
    "Source",
    "header_limit",
]

# Number types by their names in safetensors; bfloat16 is read as bits and widened.
KINDS = {
    "F16": "f2",
    "BF16": "u2",
    "F32": "f4",
    "F64": "f8",
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "i2",
    "U16": "u2",
    "I32": "i4",
    "U32": "u4",
    "I64": "i8",
    "U64": "u8",
    "C64": "c8",
    "C128": "c16",
}
PIECE = 1 << 20  # bytes that are read at a time to check them
LEAST_HEADER = 1 << 20
LONGEST_NAME = 4096  # letters of what a model's parts are called
LEAST_OBJECTS = 5 << 20
POINTER = 32  # bytes besides an object's own: its place in a list, and what cycles are found by
# How often over all arrays may take a file's bytes: tied weights share theirs, as those of an
# embedding and of the output do. A file of a few bytes could share them without end.
TIED = 4


def header_limit(size: int) -> int:
    """Return how long the description of a file's arrays may be, in bytes.

    What becomes of it in memory is counted by :class:`Objects`.

    Examples
    --------
    >>> header_limit(0), header_limit(10**9)
    (1048576, 100000000)
    """
    return max(LEAST_HEADER, size // 10)


class Allowance:
    """Bytes of memory that a file may ask for, counted as they are taken.

    Parameters
    ----------
    path : str
        The file.
    most : int
        How many.
    problem : str
        What a message says of a file that asks for more.
    """

    def __init__(self, path: str, most: int, problem: str) -> None:
        self._path, self._left, self._problem = path, most, problem

    def take(self, count: int, advice: str = "") -> None:
        """Count bytes before memory is taken for them; ``advice`` ends the message."""
        self._left -= count
        if self._left < 0:
            raise UnsupportedError(self._path, self._problem + advice)


class Claims(Allowance):
    """What the arrays that are taken from a file may need in memory.

    Parameters
    ----------
    path : str
        The file.
    size : int
        Its bytes.

    Examples
    --------
    >>> claims = Claims("m.pt", 100)
    >>> claims.take(2**20)
    >>> claims.take(2**20)
    Traceback (most recent call last):
    ...
    gru.convert.damage.UnsupportedError: m.pt: its arrays share their numbers: they would take \
more than 4 times the file
    """

    def __init__(self, path: str, size: int) -> None:
        what = f"they would take more than {TIED} times the file"
        super().__init__(path, TIED * size + PIECE, f"its arrays share their numbers: {what}")

    def widen(self, size: int) -> None:
        """Allow for another file that holds arrays of the first."""
        self._left += TIED * size


class Objects(Allowance):
    """What may be made in memory of the names, numbers and nodes that a file consists of.

    A few bytes of a file can stand for objects of hundreds: as many as take half of the file, or
    5 MB if it is small.

    Parameters
    ----------
    path : str
        The file.
    size : int
        Its bytes.

    Examples
    --------
    >>> objects = Objects("m.onnx", 100)
    >>> objects.take(2**21)
    >>> objects.take(2**23)
    Traceback (most recent call last):
    ...
    gru.convert.damage.UnsupportedError: m.onnx: what it describes would take more than 5242880 \
bytes of memory, too much for a model's file of its size
    """

    def __init__(self, path: str, size: int) -> None:
        most = max(LEAST_OBJECTS, size // 2)
        what = (
            f"would take more than {most} bytes of memory, too much for a model's file of its size"
        )
        super().__init__(path, most, f"what it describes {what}")

    def add(self, item: Any) -> None:
        """Count a small object that was made, with its place in a list."""
        self.take(sys.getsizeof(item) + POINTER)


class Source:
    """A file of known size, which must not change while its arrays are read.

    Parameters
    ----------
    path : str or path
        The file.

    Raises
    ------
    OSError
        If it cannot be read, or is a folder.
    ValueError
        If it is a device or a pipe.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"abc"), file.flush()
    ...     source = Source(file.name)
    ...     source.size, source.read(1, 2).tobytes()
    (3, b'bc')
    """

    def __init__(self, path: str | bytes | os.PathLike[Any]) -> None:
        self.path = os.fsdecode(check.path("path", path))
        about = os.stat(self.path)
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            raise UnsupportedError(self.path, "is no regular file")
        self.size = about.st_size
        self.claims = Claims(self.path, self.size)
        self.objects = Objects(self.path, self.size)
        self._stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
        self._checked: set[int] = set()
        self.read(0, 0)  # a folder, or a file that may not be read, says so now

    def read(self, start: int, count: int) -> Array:
        """Return bytes of the file; nothing is allocated for what it cannot hold.

        Raises
        ------
        DamagedFileError
            If they lie outside it, or it has changed.
        """
        if not 0 <= start <= start + count <= self.size:
            raise DamagedFileError(self.path, f"cut off at {self.size} bytes")
        with open(self.path, "rb", buffering=0) as file:
            about = os.fstat(file.fileno())
            if (about.st_ino, about.st_size, about.st_mtime_ns) != self._stamp:
                raise DamagedFileError(self.path, "has changed while it was read")
            file.seek(start)
            found = np.fromfile(file, np.uint8, count)
        if len(found) != count:
            raise DamagedFileError(self.path, "has changed while it was read")
        return found

    def verify(self, start: int, count: int, crc: int, name: str) -> None:
        """Compare bytes with their CRC-32, once.

        Raises
        ------
        DamagedFileError
            If it is not theirs.
        """
        if start in self._checked:
            return
        found = 0
        for at in range(start, start + count, PIECE):
            found = zlib.crc32(self.read(at, min(PIECE, start + count - at)).data, found)
        if found != crc:
            raise DamagedFileError(self.path, f"{name} is damaged: its checksum does not fit")
        self._checked.add(start)


class Region:
    """An array in a file: NumPy reads it where an array is wanted.

    Parameters
    ----------
    source : Source
        The file.
    kind : str
        A key of :data:`KINDS`.
    start : int
        Of its first number, in bytes.
    shape, strides : sequence of int
        In numbers; without strides, rows lie one after the other.
    big : bool
        Whether the bytes of a number stand highest first.
    sealed : tuple, optional
        Start, size, CRC-32 and name of the bytes that it belongs to, checked before it is read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(np.arange(6, dtype="<f4").tobytes()), file.flush()
    ...     region = Region(Source(file.name), "F32", 4, (2, 2), (2, 1))
    ...     np.asarray(region).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    __slots__ = ("_code", "_sealed", "_start", "_strides", "kind", "shape", "source")

    def __init__(
        self,
        source: Source,
        kind: str,
        start: int,
        shape: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        big: bool = False,
        sealed: tuple[int, int, int, str] | None = None,
    ) -> None:
        self.source = source
        self.kind = kind
        self.shape = tuple(shape)
        self._start = start
        self._strides = None if strides is None else tuple(strides)
        self._code = np.dtype(KINDS[kind]).newbyteorder(">" if big else "<")
        self._sealed = sealed

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array that is read, in the machine's own order of bytes."""
        return np.dtype(np.float32 if self.kind == "BF16" else KINDS[self.kind])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _span(self) -> int:
        """Return how many numbers lie from the first to the last, both counted."""
        if self._strides is None or 0 in self.shape:
            return prod(self.shape)
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self._strides, strict=True))

    def _counted(self) -> int:
        """Return the span; a view that repeats numbers may claim any size, and is refused."""
        count = self._span()
        if count < prod(self.shape):
            what = "a tensor that was made by expand(); save it with .contiguous()"
            raise UnsupportedError(self.source.path, f"shape {self.shape} is that of {what}")
        return count

    def claim(self) -> None:
        """Say that the array will be read, before memory is taken for it.

        Raises
        ------
        UnsupportedError
            If it has more numbers than lie in the file.
        """
        self._counted()
        self.source.claims.take(prod(self.shape) * self._code.itemsize)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read the numbers, bfloat16 as float32."""
        count = self._counted()
        if self._sealed is not None:
            self.source.verify(*self._sealed)
        raw = self.source.read(self._start, count * self._code.itemsize).view(self._code)
        found = raw.astype(KINDS[self.kind], copy=False)
        if self.kind == "BF16":
            wide = found.astype(np.uint32)
            wide <<= 16
            found = wide.view(np.float32)
        if self._strides is None or 0 in self.shape:
            found = found.reshape(self.shape)
        else:
            steps = tuple(step * found.itemsize for step in self._strides)
            found = np.lib.stride_tricks.as_strided(found, self.shape, steps, writeable=False)
        return found if dtype is None else found.astype(dtype, copy=False)
