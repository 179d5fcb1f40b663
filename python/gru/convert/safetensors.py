"""Reads safetensors files of any writer, and checks all of a header; knows no meaning of names.

The format [1]_: the length of the header as 8 bytes little-endian, a JSON header with type, shape
and place of each array, then the numbers, without a gap.

.. [1] https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gru.convert.damage import DamagedFileError, UnsupportedError, json_size, quoted, strict_json
from gru.convert.regions import KINDS, LONGEST_NAME, Region, Source, header_limit

__all__ = ["Place", "places", "read"]

FIELDS = {"dtype", "shape", "data_offsets"}
MOST_AXES = 32  # NumPy's own limit before 2.0


class Place(NamedTuple):
    """Where an array lies, in bytes after the header."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


def read(path: str | bytes | os.PathLike[Any]) -> dict[str, Region]:
    """Return the arrays of a file by name; their numbers are read when they are used.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to Region
        In the order of the header. ``numpy.asarray`` reads one, bfloat16 as float32.

    Raises
    ------
    ValueError
        If the header does not describe the file byte for byte, holds a type that NumPy lacks, or
        the file is gru's own.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import os, tempfile, gru
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     gru.Sequential([gru.GRU(3, 4)]).save(path)
    ...     read(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    gru.convert.damage.UnsupportedError: ...model.safetensors: ...; open it with gru.load
    """
    source = Source(path)
    length = int.from_bytes(source.read(0, min(8, source.size)).tobytes(), "little")
    begin = 8 + length
    if source.size < begin or not length:
        raise DamagedFileError(source.path, "no whole safetensors header: cut off, or none at all")
    if length > header_limit(source.size):
        raise DamagedFileError(source.path, f"a header of {length} bytes is longer than a model's")
    text = source.read(8, length).tobytes()
    source.objects.take(json_size(text))
    try:
        found, notes = places(text, source.size - begin)
    except ValueError as error:
        raise DamagedFileError(source.path, f"in its header, {error}") from None
    if {"blake2b", "notes"} <= notes.keys():  # as gru.tensor_file writes
        raise UnsupportedError(
            source.path,
            "a checkpoint of a training run, not a model; go on with the run, by gru train "
            "--resume or gru.fit(..., checkpoint=FOLDER, resume=True), and save the model at its "
            "end",
        )
    if notes.get("format") == "gru":
        raise UnsupportedError(source.path, "a file that gru wrote itself; open it with gru.load")
    return {
        name: Region(source, place.kind, begin + place.start, place.shape)
        for name, place in found.items()
    }


def places(header: bytes, size: int) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the arrays' places and the notes of a header.

    Parameters
    ----------
    header : bytes
        The JSON text.
    size : int
        Bytes that follow the header; the arrays must fill them without gap or overlap.

    Raises
    ------
    ValueError
        If something does not add up.

    Examples
    --------
    >>> header = b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    >>> places(header, 8)
    ({'w': Place(kind='F32', shape=(2,), start=0, end=8)}, {})
    """
    entries = strict_json(header)
    if not isinstance(entries, dict):
        raise ValueError("there is no JSON object")
    notes = entries.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        raise ValueError("its metadata are no strings")
    long = next((name for name in entries if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise ValueError(f"tensor {quoted(long)} has a name of {len(long)} letters")
    found = {name: _place(name, entry) for name, entry in entries.items()}
    at, last = 0, "the header"
    for name, place in sorted(found.items(), key=lambda item: item[1][2:]):
        if place.start != at:
            problem = "overlaps" if place.start < at else "leaves a gap after"
            raise ValueError(f"tensor {name!r} {problem} {last}")
        at, last = place.end, repr(name)
    if at != size:
        raise ValueError(f"its tensors take {at} bytes, but {size} follow it")
    return found, notes


def _place(name: str, entry: Any) -> Place:
    if not isinstance(entry, Mapping) or entry.keys() != FIELDS:
        raise ValueError(f"tensor {name!r} must have {', '.join(sorted(FIELDS))} and no more")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > MOST_AXES:
        raise ValueError(f"the shape of tensor {name!r} is no list of sizes")
    if not _counts(offsets) or len(offsets) != 2:
        raise ValueError(f"data_offsets of tensor {name!r} is no pair of places")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"tensor {name!r} has dtype {str(kind)[:20]!r}, which NumPy lacks")
    wanted = prod(shape) * np.dtype(KINDS[kind]).itemsize
    if offsets[1] - offsets[0] != wanted:
        have = offsets[1] - offsets[0]
        raise ValueError(f"tensor {name!r} of {kind} {shape} takes {wanted} bytes, got {have}")
    return Place(kind, tuple(shape), *offsets)


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)
