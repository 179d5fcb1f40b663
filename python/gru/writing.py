"""Writes whole files or nothing; knows nothing of what they hold."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

__all__ = ["Content", "is_device", "probe", "replace", "write"]

Content = bytes | Callable[[Path], None]  # what a file holds, or what writes it to a path
BLOCK = 4096  # bytes; on a full disk there is none


def is_device(path: str) -> bool:
    """Return whether this is a device or a pipe, which is written to and never replaced.

    Examples
    --------
    >>> is_device("/dev/null"), is_device("no such file")
    (True, False)
    """
    return os.path.exists(path) and not os.path.isfile(path)


def probe(path: str, size: int = BLOCK) -> None:
    """Try now whether a file can be written later; nothing is changed.

    Parameters
    ----------
    path : str
        Where :func:`write` is to write. A pipe is not opened: its reader would see it end.
    size : int
        Bytes that the disk must have room for.

    Raises
    ------
    OSError
        If it cannot, or the disk is full; it names the file.

    Examples
    --------
    >>> probe("/dev/full")
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] No space left on device: '/dev/full'
    """
    with _named(path):
        if not is_device(path):
            _sibling(path, partial(_reserve, size=size)).unlink()
        elif stat.S_ISCHR(os.stat(path).st_mode):
            with open(path, "wb", buffering=0) as file:
                file.write(b"")  # a full device refuses even this


def _reserve(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def replace(path: str, data: bytes) -> None:
    """Write a file beside its place, then move it there; an old file stays whole until then.

    A link is followed. What is no regular file, such as ``/dev/stdout``, is written to.

    Raises
    ------
    OSError
        If it cannot be written, naming it; nothing is left behind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace(f"{folder}/a", b"whole")
    ...     os.listdir(folder), Path(f"{folder}/a").read_bytes()
    (['a'], b'whole')
    """
    write({path: data})


def write(outputs: Mapping[str, Content]) -> None:
    """Write several files as :func:`replace` does: all of them, or none where a disk is full.

    Parameters
    ----------
    outputs : mapping of str to bytes or callable
        What each file holds, or a function that writes it to the path it is given, such as
        ``model.save``.

    Raises
    ------
    OSError
        If one cannot be written, naming it; no file in a folder has changed then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write({f"{folder}/a": b"one", f"{folder}/b": lambda path: path.write_text("two")})
    ...     sorted(os.listdir(folder)), Path(f"{folder}/b").read_text()
    (['a', 'b'], 'two')
    """
    siblings: dict[str, Path] = {}
    try:
        for path, content in outputs.items():
            with _named(path):
                if is_device(path):
                    Path(path).write_bytes(_bytes(content))
                else:
                    siblings[path] = _sibling(path, content)
        for path, sibling in siblings.items():
            with _named(path):
                _move(sibling, Path(os.path.realpath(path)))
    except BaseException:
        for sibling in siblings.values():
            sibling.unlink(missing_ok=True)
        raise


def _sibling(path: str, content: Content) -> Path:
    """Write a file beside its place, down to the disk; or nothing."""
    place = Path(os.path.realpath(path))
    sibling = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        if not isinstance(content, bytes):
            content(sibling)
        with open(sibling, "wb" if isinstance(content, bytes) else "ab") as file:
            if isinstance(content, bytes):
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    return sibling


def _move(sibling: Path, place: Path) -> None:
    if place.exists():
        os.chmod(sibling, place.stat().st_mode & 0o777)
    os.replace(sibling, place)


def _bytes(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    with tempfile.TemporaryDirectory() as folder:
        content(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors name the file that was asked for, not the one beside it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), path) from error
