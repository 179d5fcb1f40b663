"""The binary structures of HDF5 as Keras writes it; every address is checked, every loop counted.

The format: "HDF5 File Format Specification Version 3.0", The HDF Group.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod
from typing import Any

from gru.convert.damage import DamagedFileError, UnsupportedError
from gru.convert.regions import POINTER, Region, Source, header_limit

__all__ = ["Layout"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ANEW = "; open it in Keras and save it again"
NOWHERE = 2**64 - 1  # the address of what was never stored
# What a kept message, an attribute or a text takes in memory; what is passed over counts a little,
# as a damaged file may lead round in a circle.
MESSAGE, ATTRIBUTED, PASSED = 200, 450, 16
MOST_AXES = 8
PAGE, PAGES = 2**14, 16
LONGEST_NAME = 1024

# Messages of an object's header.
SPACE, LINKS, TYPE, LINK, OUTSIDE = 0x01, 0x02, 0x03, 0x06, 0x07
LAYOUT, FILTERS, ATTRIBUTE, MORE, TABLE, DENSE = 0x08, 0x0B, 0x0C, 0x10, 0x11, 0x15
KEPT = {SPACE, LINKS, TYPE, LINK, OUTSIDE, LAYOUT, FILTERS, ATTRIBUTE, TABLE, DENSE}
SHARED = 2
TEXT, FLOAT, OPAQUE, ANY_LENGTH = 3, 1, 5, 9  # classes of types
SOFT_LINK = 2

# Size in bytes, bits, place and width of the exponent, place and width of the rest, bias.
FLOATS = {
    (2, 16, 10, 5, 0, 10, 15): "F16",
    (2, 16, 7, 8, 0, 7, 127): "BF16",
    (4, 32, 23, 8, 0, 23, 127): "F32",
    (8, 64, 52, 11, 0, 52, 1023): "F64",
}


class Layout:
    """The bytes of an HDF5 file, or of a part of a file that is one, and what stands in them.

    Parameters
    ----------
    source : Source
        The file.
    start, size : int, optional
        The part; the whole file if not given.
    """

    def __init__(self, source: Source, start: int = 0, size: int | None = None) -> None:
        self._source, self._start = source, start
        self._size = source.size - start if size is None else size
        self._objects, self._text = source.objects, header_limit(source.size)
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._page = lru_cache(PAGES)(self._read_page)

    @property
    def path(self) -> str:
        """The file's name."""
        return self._source.path

    def damaged(self, what: str) -> DamagedFileError:
        """Return the error of a file that is not what its writer wrote."""
        return DamagedFileError(self._source.path, what)

    def foreign(self, what: str) -> UnsupportedError:
        """Return the error of a file that Keras does not write in this form."""
        return UnsupportedError(self._source.path, what + ANEW)

    # --- bytes ------------------------------------------------------------------------------------

    def _read_page(self, number: int) -> bytes:
        at = number * PAGE
        return self._source.read(self._start + at, min(PAGE, self._size - at)).tobytes()

    def _bytes(self, at: int, count: int) -> bytes:
        if not 0 <= at <= at + count <= self._size:
            raise self.damaged(f"an address in it is damaged, or it is cut off at {self._size}")
        first, last = at // PAGE, (at + max(count, 1) - 1) // PAGE
        text = b"".join(self._page(number) for number in range(first, last + 1))
        return text[at - first * PAGE :][:count]

    def _unpack(self, layout: str, at: int) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self._bytes(at, struct.calcsize("<" + layout)))

    # --- groups -----------------------------------------------------------------------------------

    def superblock(self) -> int:
        """Return the address of the outermost group's header."""
        if self._size < 9 or self._bytes(0, 8) != SIGNATURE:
            raise self.damaged("no HDF5 file" if self._size else "is empty")
        version = self._bytes(8, 1)[0]
        if version > 1:
            raise self.foreign(f"HDF5 of a newer form (superblock {version}, libver='latest')")
        widths = self._unpack("BB", 13)
        base, _, end, _ = self._unpack("4Q", at := 24 + 4 * version)
        if widths != (8, 8) or base:
            raise self.foreign("HDF5 with addresses of another form")
        if end > self._size:
            raise self.damaged(f"cut off at {self._size} of {end} bytes")
        return int(self._unpack("Q", at + 40)[0])

    def messages(self, address: int, path: str) -> list[tuple[int, int, int]]:
        """Return kind, place and length of the messages in an object's header."""
        if self._bytes(address, 4) == b"OHDR":
            raise self.foreign(f"{path!r} is of a newer form")
        version, count, length = self._unpack("BxH4xI", address)
        if version != 1:
            raise self.damaged(f"the header of {path!r} is damaged")
        blocks, found, seen = [(address + 16, length)], [], 0
        for begin, size in blocks:  # grows where a message names another block
            end = begin + size
            while begin + 8 <= end and seen < count:
                kind, size, flags = self._unpack("HHB3x", begin)
                begin, seen = begin + 8 + size, seen + 1
                self._objects.take(MESSAGE if kind in KEPT or kind == MORE else PASSED)
                if begin > end or (kind in KEPT and flags & SHARED):
                    raise self.damaged(f"the header of {path!r} is damaged")
                if kind == MORE:
                    blocks.append(self._unpack("2Q", begin - size))
                elif kind in KEPT:
                    found.append((kind, begin - size, size))
        if seen != count:
            raise self.damaged(f"the header of {path!r} is cut off")
        return found

    def entries(self, at: int, path: str) -> list[tuple[str, int]]:
        """Return the names in a group's symbol table, and the addresses of what they mean."""
        tree, heap = self._unpack("2Q", at)
        signature, size, _, names = self._unpack("4s4x3Q", heap)
        if signature != b"HEAP" or names + size > self._size:
            raise self.damaged(f"the names of {path!r} are damaged")
        found = []
        for leaf in self._leaves(tree, None):
            signature, count = self._unpack("4s2xH", leaf)
            if signature != b"SNOD":
                raise self.damaged(f"the names of {path!r} are damaged")
            for i in range(count):
                offset, header, cached = self._unpack("2QI", leaf + 8 + 40 * i)
                name = self._name(names + offset, min(names + size, self._size), path)
                if cached == SOFT_LINK:
                    raise self.foreign(f"{path + '/' + name!r} is a link")
                self._objects.take(MESSAGE)
                self._objects.add(name)
                found.append((name, header))
        return found

    def _leaves(self, at: int, level: int | None) -> list[int]:
        """Return the leaves below a node of a version 1 B-tree; levels go down to 0."""
        signature, kind, here, count = self._unpack("4sBBH", at)
        self._objects.take(PASSED + 2 * count * POINTER)
        if signature != b"TREE" or kind or (level is not None and here != level):
            raise self.damaged("the tree of a group's names is damaged")
        below = [self._unpack("8xQ", at + 24 + 16 * i)[0] for i in range(count)]
        if here == 0:
            return below
        return [leaf for child in below for leaf in self._leaves(child, here - 1)]

    def _name(self, at: int, end: int, path: str) -> str:
        raw = self._bytes(at, max(min(LONGEST_NAME, end - at), 0))
        text, zero, _ = raw.partition(b"\0")
        if not zero or not text or b"/" in text:
            raise self.damaged(f"a name in {path!r} is damaged")
        return self._decoded(text, path)

    def _decoded(self, text: bytes, path: str) -> str:
        self._objects.take(len(text) if text.isascii() else 4 * len(text))
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise self.damaged(f"a text of {path!r} is no UTF-8") from None

    # --- types, shapes and places -----------------------------------------------------------------

    def shape(self, at: int, path: str) -> tuple[int, ...]:
        """Return the axes of a dataspace message."""
        version, axes, _, null = self._unpack("4B", at)
        if version not in (1, 2) or axes > MOST_AXES:
            raise self.damaged(f"the shape of {path!r} is damaged")
        if version == 2 and null == 2:
            return (0,)
        return self._unpack(f"{axes}Q", at + (8 if version == 1 else 4))

    def number(self, at: int, path: str, note: str | None) -> tuple[str, int, bool]:
        """Return a number type by its name, its bytes, and whether the highest stands first."""
        kind, low, sign, size = self._unpack("BBHI", at)
        if kind & 15 == OPAQUE and size == 2 and note == "bfloat16":
            return "BF16", size, False
        if kind & 15 == FLOAT and low & 0x40 == 0:  # else the order of bytes is a VAX's
            skipped, *about = self._unpack("2H4BI", at + 8)
            found = FLOATS.get((size, *about))
            if found and not skipped and sign & 255 == 8 * size - 1:
                return found, size, bool(low & 1)
        raise self.foreign(f"{path!r} must hold floating-point numbers, but does not")

    def place(self, at: int, path: str) -> tuple[int, int]:
        """Return where the bytes of an array lie, and how many they are."""
        version, kind = self._unpack("BB", at)
        if version != 3 or kind > 1:
            what = {(3, 2): "is stored in chunks", (4, 3): "is a virtual array"}
            raise self.foreign(f"{path!r} {what.get((version, kind), 'is of another form')}")
        start, length = self._unpack("QQ", at + 2) if kind else (at + 4, *self._unpack("H", at + 2))
        if length and (start == NOWHERE or start + length > self._size):
            raise self.damaged(f"the numbers of {path!r} are missing or cut off")
        return start, length

    def region(
        self, kind: str, start: int, length: int, shape: tuple[int, ...], big: bool
    ) -> Region:
        """Return an array of the file."""
        return Region(self._source, kind, self._start + (start if length else 0), shape, big=big)

    # --- attributes -------------------------------------------------------------------------------

    def attribute(self, at: int, size: int) -> tuple[str, tuple[int, int, int, int]]:
        """Return the name of an attribute, and the places of its type, shape and values."""
        version, flags, name, kind, space = self._unpack("BB3H", at)
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise self.damaged("an attribute is damaged")
        wide = 8 if version == 1 else 1
        begin = at + (9 if version == 3 else 8)
        places = [begin]
        for length in (name, kind, space):
            places.append(places[-1] + -(-length // wide) * wide)
        if places[-1] > at + size:
            raise self.damaged("an attribute is damaged")
        self._objects.take(ATTRIBUTED)
        text = self._bytes(begin, name).rstrip(b"\0")
        return self._decoded(text, "an attribute"), (*places[1:], at + size)  # type: ignore[return-value]

    def texts(self, place: tuple[int, int, int, int], path: str) -> list[str]:
        """Return the strings of an attribute."""
        type_at, space_at, at, end = place
        kind, low, _, size = self._unpack("BBHI", type_at)
        count = prod(self.shape(space_at, path))
        if count == 0:
            return []
        if count * size > end - at:
            raise self.damaged(f"{path!r} is cut off")
        self._objects.take(count * (ATTRIBUTED + size))  # their letters when they are decoded
        places = range(at, at + count * size, size) if size else []
        if kind & 15 == TEXT and size:
            found = [self._bytes(i, size).partition(b"\0")[0] for i in places]
        elif kind & 15 == ANY_LENGTH and low & 15 == 1 and size == 16:
            found = [self._far_text(i, path) for i in places]
        else:
            raise self.foreign(f"{path!r} must be text, but is not")
        return [self._decoded(text, path) for text in found]

    def _far_text(self, at: int, path: str) -> bytes:
        """Return a string that lies in a global heap."""
        length, heap, index = self._unpack("IQI", at)
        if length == 0:
            return b""
        if heap not in self._heaps:
            self._heaps[heap] = self._heap(heap, path)
        start, size = self._heaps[heap].get(index, (0, 0))
        self._text -= length
        if length > size or self._text < 0:
            raise self.damaged(f"{path!r} is damaged, or longer than a model's")
        return self._bytes(start, length)

    def _heap(self, at: int, path: str) -> dict[int, tuple[int, int]]:
        """Return place and length of the objects in a global heap, by their numbers."""
        signature, version, size = self._unpack("4sB3xQ", at)
        if signature != b"GCOL" or version != 1 or at + size > self._size:
            raise self.damaged(f"the text of {path!r} is damaged")
        end, at, found = at + size, at + 16, {}
        while at + 16 <= end:
            self._objects.take(MESSAGE)
            index, length = self._unpack("H6xQ", at)
            if index == 0:  # the rest is free
                break
            found[index] = (at + 16, length)
            at += 16 + -(-length // 8) * 8
        return found
