"""Writes whole files or nothing; knows nothing of what they hold."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["is_device", "replace"]


def is_device(path: str) -> bool:
    """Return whether this is a device or a pipe, which is written to and never replaced.

    Examples
    --------
    >>> is_device("/dev/null"), is_device("no such file")
    (True, False)
    """
    return os.path.exists(path) and not os.path.isfile(path)


def replace(path: str, data: bytes) -> None:
    """Write a file beside its place, then move it there; an old file stays whole until then.

    A link is followed. What is no regular file, such as ``/dev/stdout``, is written to.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace(f"{folder}/a", b"whole")
    ...     os.listdir(folder), Path(f"{folder}/a").read_bytes()
    (['a'], b'whole')
    """
    place = Path(os.path.realpath(path))
    if is_device(path):
        Path(path).write_bytes(data)
        return
    sibling = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with open(sibling, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            os.chmod(sibling, place.stat().st_mode & 0o777)
        os.replace(sibling, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            sibling.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from None  # not the sibling's name
        raise
