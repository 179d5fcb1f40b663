"""Damage to files of every format, each from a number: what a seed did once it does again."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable

import numpy as np

__all__ = ["mutated", "rewrapped"]

Random = np.random.Generator
HUGE = (2**64 - 1, 2**63, 2**63 - 1, 2**40, 2**32 - 1, 2**31 - 1, 2**24, 0)
WORDS = (b"99999999999", b"-1", b"1e999", b"0", b"18446744073709551616", b"1.5", b"true")


def place(data: bytearray, rng: Random) -> int:
    """Somewhere, more often where there is something: HDF5 is zeros for the most part."""
    at = int(rng.integers(0, len(data)))
    if rng.random() < 0.7:
        while at and not data[at]:
            at -= 1
    return at


def flip(data: bytearray, rng: Random) -> None:
    for _ in range(int(rng.integers(1, 9))):
        data[place(data, rng)] ^= 1 << int(rng.integers(8))


def span(data: bytearray, rng: Random) -> slice:
    start = place(data, rng)
    return slice(start, start + int(rng.geometric(1 / 24)))


def fill(data: bytearray, rng: Random) -> None:
    where = span(data, rng)
    size = len(data[where])
    data[where] = [bytes(size), b"\xff" * size, rng.bytes(size)][rng.integers(3)]


def remove(data: bytearray, rng: Random) -> None:
    del data[span(data, rng)]


def repeat(data: bytearray, rng: Random) -> None:
    where = span(data, rng)
    data[where.start : where.start] = data[where] * int(rng.integers(1, 4))


def move(data: bytearray, rng: Random) -> None:
    one, other = span(data, rng), span(data, rng)
    data[one] = data[other]


def length(data: bytearray, rng: Random) -> None:
    """A field of 1 to 8 bytes, of either end, says something huge; or protobuf's does."""
    size = int(2 ** rng.integers(0, 4))
    start = place(data, rng)
    value = HUGE[rng.integers(len(HUGE))] & (1 << 8 * size) - 1
    if rng.random() < 0.2:
        data[start : start + 1] = b"\xff" * int(rng.integers(1, 10)) + b"\x7f"
    else:
        order = "little" if rng.random() < 0.8 else "big"
        data[start : start + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def number(data: bytearray, rng: Random) -> None:
    """A number in JSON becomes another."""
    found = list(re.finditer(rb"\d+", bytes(data)))
    if found:
        chosen = found[rng.integers(len(found))]
        data[slice(*chosen.span())] = WORDS[rng.integers(len(WORDS))]


def swap_words(data: bytearray, rng: Random) -> None:
    """A quoted word takes the place of another: names, types, keys."""
    found = list(re.finditer(rb'"[^"]{1,40}"', bytes(data)))
    if len(found) > 1:
        one, other = (found[i] for i in rng.integers(0, len(found), 2))
        data[slice(*one.span())] = other[0]


CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    flip,
    flip,
    fill,
    remove,
    repeat,
    move,
    length,
    number,
    swap_words,
)


def changed(data: bytes, rng: Random) -> bytes:
    made = bytearray(data)
    for _ in range(1 + int(rng.random() < 0.2)):
        if made:
            CHANGES[rng.integers(len(CHANGES))](made, rng)
    return bytes(made)


def in_zip(data: bytes, rng: Random) -> bytes:
    """An entry changed inside, or renamed, in an archive that is whole: its checksums hold."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    chosen = list(entries)[rng.integers(len(entries))]
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, changed(content, rng) if name == chosen else content)
    return target.getvalue()


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def rewrapped(data: bytes, rng: Random) -> bytes:
    """Our own file with a header that was edited, and a checksum that fits."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    about = header["__metadata__"]
    if rng.random() < 0.5:
        keys = ["architecture", "self_check", "user"]
        key = keys[rng.integers(len(keys))]
        about[key] = changed(about[key].encode(), rng).decode(errors="replace")
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    else:
        text = changed(data[8 : 8 + size], rng)
    text = re.sub(rb'"checksum":"[^"]*"', b'"checksum":"' + b"0" * 16 + b'"', text)
    made = len(text).to_bytes(8, "little") + text + data[8 + size :]
    at = made.find(b'"checksum":"') + 12
    return made[:at] + b"%016x" % fnv1a(made) + made[at + 16 :] if at > 11 else made


def mutated(data: bytes, kind: str, seed: int, number: int) -> bytes:
    """Return damage number ``number`` of a file; the first ones cut it at every byte."""
    if number < len(data):
        return data[:number]
    rng = np.random.default_rng([seed, number])
    inside = {"torch": in_zip, "keras": in_zip, "gru": rewrapped}
    if kind in inside and rng.random() < 0.7:
        return inside[kind](data, rng)
    return changed(data, rng)
