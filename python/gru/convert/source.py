"""Where an imported model comes from, as a note in its metadata; knows no format."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["KEY", "note", "noted"]

KEY = "source"
FIELDS = {"format": str, "file": str, "sha256": str, "convention": str, "found": list}
PIECE = 1 << 20  # bytes that are hashed at a time


def note(
    format: str, path: str | bytes | os.PathLike[Any], convention: str, found: Iterable[str]
) -> dict[str, str]:
    """Return the metadata that say what a model was read from.

    Parameters
    ----------
    format : str
        Such as ``"keras"``.
    path : str or path
        The file, which is read once more for its SHA-256.
    convention : str
        One sentence: which gates, reset and update the file holds.
    found : iterable of str
        A line for each part of the file that was read.

    Returns
    -------
    dict of str to str
        For :attr:`gru.Sequential.metadata`.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    ...     made = note("torch", file.name, "Rows are r z n.", ["encoder: GRU(3, 4)"])
    >>> source = noted(made)
    >>> source["format"], source["sha256"][:8], source["found"]
    ('torch', 'e3b0c442', ['encoder: GRU(3, 4)'])
    """
    name = os.path.basename(os.fsencode(path)).decode("utf-8", "backslashreplace")
    entry = {
        "format": format,
        "file": name,
        "sha256": _sha256(path),
        "convention": convention,
        "found": list(found),
    }
    return {KEY: json.dumps(entry)}


def _sha256(path: str | bytes | os.PathLike[Any]) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def noted(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what :func:`note` wrote, or ``None`` if a model was not imported.

    Raises
    ------
    ValueError
        If the entry is there and is none of ours.

    Examples
    --------
    >>> noted({"author": "me"}) is None
    True
    """
    if KEY not in metadata:
        return None
    try:
        entry = json.loads(metadata[KEY])
        whole = all(isinstance(entry[key], kind) for key, kind in FIELDS.items())
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole or not all(isinstance(line, str) for line in entry["found"]):
        raise ValueError(f"metadata[{KEY!r}] must be what gru writes for an imported model")
    return {key: entry[key] for key in FIELDS}
