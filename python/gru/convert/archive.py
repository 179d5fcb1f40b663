"""Finds the members of a zip file that stores them uncompressed; extracts and expands nothing.

Python's ``zipfile`` builds an object of some 600 bytes for each 46 bytes of a directory and
expands what is compressed. A hostile file can use both; here no number is taken on trust.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from gru.convert.damage import DamagedFileError, UnsupportedError
from gru.convert.regions import Source, header_limit

__all__ = ["Member", "members", "names"]

END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
ENCRYPTED = 1
MOST = 2**16 - 1  # members; a model has some for each of its arrays
MEMBER = 300  # bytes that one may take in memory, besides its name
WIDE = 2**32 - 1  # stands for a number of 64 bits that is kept apart


class Member(NamedTuple):
    """Where a member's bytes lie in the file, and their CRC-32; 0 if none was written."""

    start: int
    size: int
    crc: int


TORCH = (
    ": a TorchScript program, or a file that was packed anew; save the numbers alone: "
    "torch.save(module.state_dict(), path)"
)


def members(source: Source, advice: str = TORCH) -> dict[str, Member]:
    """Return the members of a zip file by name.

    Parameters
    ----------
    source : Source
        The file.
    advice : str
        What a message on a compressed member ends with.

    Raises
    ------
    DamagedFileError
        If the directory does not fit the file, members overlap or a name occurs twice.
    UnsupportedError
        If a member is compressed or encrypted.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     with zipfile.ZipFile(file, "w") as archive:
    ...         archive.writestr("m/data/0", b"numbers")
    ...     file.flush()
    ...     found = members(Source(file.name))
    >>> found["m/data/0"].size
    7
    """
    begin, size, count = _directory(source)
    text = source.read(begin, size).tobytes()
    found: dict[str, Member] = {}
    at = 0
    while at < size and len(found) <= count:
        name, member, at = _entry(source, text, at, advice)
        if name in found:
            raise DamagedFileError(source.path, f"member {name!r} occurs twice")
        source.objects.take(MEMBER + 4 * len(name))
        found[name] = _placed(source, name, member)
    if len(found) != count:
        raise _uncounted(source, count)
    end, last = 0, "the file's begin"
    for name, member in sorted(found.items(), key=lambda item: item[1]):
        if member.start < end or member.start + member.size > begin:
            raise DamagedFileError(source.path, f"member {name!r} overlaps {last}")
        end, last = member.start + member.size, repr(name)
    return found


def names(source: Source) -> list[str]:
    """Return the names of a zip file's members, compressed ones too.

    Raises
    ------
    DamagedFileError
        If the directory does not fit the file, or is longer than that of a model.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    ...         archive.writestr("m/data/0", b"numbers")
    ...     file.flush()
    ...     names(Source(file.name))
    ['m/data/0']
    """
    begin, size, count = _directory(source)
    text = source.read(begin, size).tobytes()
    found: list[str] = []
    at = 0
    while at < size and len(found) <= count:
        name, _, _, at = _record(source, text, at)
        source.objects.add(name)
        found.append(name)
    if len(found) != count:
        raise _uncounted(source, count)
    return found


def _uncounted(source: Source, count: int) -> DamagedFileError:
    return DamagedFileError(source.path, f"its directory has not the {count} members announced")


def _unpacked(source: Source, layout: struct.Struct, at: int, signature: bytes) -> tuple[int, ...]:
    """Return the numbers of a record that starts with a signature, without it."""
    if at < 0:
        raise DamagedFileError(source.path, "cut off, or no zip file")
    found = layout.unpack(source.read(at, layout.size).tobytes())
    if found[0] != signature:
        raise DamagedFileError(source.path, "cut off, or its directory is damaged")
    return found[1:]


def _directory(source: Source) -> tuple[int, int, int]:
    """Return where the directory starts, its length and the number of its entries."""
    at = source.size - END.size
    *_, count, size, begin, comment = _unpacked(source, END, at, b"PK\5\6")
    wide = at - LOCATOR.size
    if wide >= 0 and source.read(wide, 4).tobytes() == b"PK\6\7":
        _, at, _ = _unpacked(source, LOCATOR, wide, b"PK\6\7")
        *_, count, size, begin = _unpacked(source, END_64, at, b"PK\6\6")
    if comment or begin + size != at or size > header_limit(source.size):
        raise DamagedFileError(source.path, "its directory is damaged, or longer than a model's")
    if count > MOST:
        raise DamagedFileError(source.path, f"it has {count} members, allowed are {MOST}")
    return begin, size, count


def _record(source: Source, text: bytes, at: int) -> tuple[str, tuple[Any, ...], bytes, int]:
    """Return the name of an entry, its numbers, its extra field and where the next one begins."""
    if at + ENTRY.size > len(text) or text[at : at + 4] != b"PK\1\2":
        raise DamagedFileError(source.path, "its directory is damaged")
    about = ENTRY.unpack_from(text, at)
    name_end = at + ENTRY.size + about[10]
    extra_end = name_end + about[11]
    try:
        name = text[at + ENTRY.size : name_end].decode()
    except UnicodeDecodeError:
        raise DamagedFileError(source.path, "a member's name is no UTF-8") from None
    return name, about, text[name_end:extra_end], extra_end + about[12]


def _entry(source: Source, text: bytes, at: int, advice: str) -> tuple[str, Member, int]:
    """Return the name of an entry, its numbers and where the next one begins."""
    name, about, extra, end = _record(source, text, at)
    flags, method, crc, packed, size = about[3], about[4], *about[7:10]
    if flags & ENCRYPTED or method:
        how = "encrypted" if flags & ENCRYPTED else "compressed"
        raise UnsupportedError(source.path, f"member {name!r} is {how}{advice}")
    size, packed, local = _widened(source, extra, size, packed, about[-1])
    if size != packed:
        raise DamagedFileError(source.path, f"member {name!r} has two sizes, {packed} and {size}")
    return name, Member(local, size, crc), end


def _widened(source: Source, extra: bytes, *numbers: int) -> list[int]:
    """Return numbers of which those that need 64 bits stand in an extra field."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        wide = extra[4 : 4 + length] if kind == 1 else wide
        extra = extra[4 + length :]
    found = []
    for number in numbers:
        if number == WIDE:
            if len(wide) < 8:
                raise DamagedFileError(source.path, "a member's size is missing")
            number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        found.append(number)
    return found


def _placed(source: Source, name: str, member: Member) -> Member:
    """Return a member with the place of its bytes, which stand behind a header of their own."""
    about = _unpacked(source, LOCAL, member.start, b"PK\3\4")
    begin = member.start + LOCAL.size
    if source.read(begin, about[-2]).tobytes() != name.encode():
        raise DamagedFileError(source.path, f"member {name!r} has another name where it begins")
    return member._replace(start=begin + about[-2] + about[-1])
