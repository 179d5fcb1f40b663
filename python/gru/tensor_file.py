"""Files of named arrays and notes that show any damage; know nothing of what they hold.

The format is safetensors: the length of the header as 8 bytes little-endian, a JSON header with
type, shape and place of each array, the raw numbers. The header's metadata hold the notes as JSON
and a BLAKE2b hash of the whole file, taken with zeros in the place of the hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.damage import DamagedFileError
from gru.convert.regions import KINDS
from gru.convert.safetensors import Place, places

__all__ = ["DamagedFileError", "pieces", "read"]

NAMES = {np.dtype(code).newbyteorder("<"): kind for kind, code in KINDS.items() if kind != "BF16"}
HASH_BYTES = 16
NO_HASH = "0" * (2 * HASH_BYTES)


def pieces(arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> Iterator[Any]:
    """Return a file's content in pieces that can be written one after the other.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        By name.
    notes : mapping
        For JSON.

    Examples
    --------
    >>> import numpy as np
    >>> content = b"".join(pieces({"w": np.zeros(2, np.float32)}, {"step": 3}))
    >>> int.from_bytes(content[:8], "little") + 8 + 8 == len(content)
    True
    """
    data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header: dict[str, Any] = {"__metadata__": {"blake2b": NO_HASH, "notes": json.dumps(notes)}}
    at = 0
    for name, array in data.items():
        end = at + array.nbytes
        kind = NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    found = blake2b(text, digest_size=HASH_BYTES)
    raw: list[Any] = [array.reshape(-1).view(np.uint8) for array in data.values() if array.size]
    for part in raw:
        found.update(part)
    yield len(text).to_bytes(8, "little")
    yield text.replace(NO_HASH.encode(), found.hexdigest().encode(), 1)
    yield from raw


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a file back: ``(arrays, notes)``.

    Raises
    ------
    DamagedFileError
        If a single bit of it has changed, or it is none of ours.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "file"
    ...     _ = path.write_bytes(b"".join(pieces({"w": np.arange(3)}, {"step": 3})))
    ...     read(path)
    ({'w': array([0, 1, 2])}, {'step': 3})
    """
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 + size or not size:
        raise DamagedFileError(path, f"cut off: {len(content)} bytes are no whole header")
    text, raw = content[8 : 8 + size], memoryview(content)[8 + size :]
    try:
        found, about = places(text, len(raw))
        claimed, notes = about["blake2b"], about["notes"]
    except (ValueError, KeyError) as error:
        raise DamagedFileError(path, f"is damaged or cut off: in its header, {error}") from None
    hashed = blake2b(text.replace(claimed.encode(), NO_HASH.encode(), 1), digest_size=HASH_BYTES)
    hashed.update(raw)
    if hashed.hexdigest() != claimed:
        raise DamagedFileError(path, "is damaged: its checksum is not that of its content")
    return {name: _array(raw, place) for name, place in found.items()}, json.loads(notes)


def _array(raw: memoryview, place: Place) -> Array:
    code = np.dtype(KINDS[place.kind]).newbyteorder("<")
    return np.frombuffer(raw[place.start : place.end], code).reshape(place.shape).copy()
