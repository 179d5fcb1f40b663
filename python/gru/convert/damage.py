"""The errors of a file that cannot be taken, each naming it; knows no format."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "DamagedFileError",
    "FileError",
    "UnsupportedError",
    "json_size",
    "plain",
    "quoted",
    "short",
    "strict_json",
    "taking",
]


# What each of these marks may stand for in memory: a list; a dict and the pairs it is made of; half
# of a text; a number or a name, and its place.
JSON_SIZES = ((b"[", 80), (b"{", 200), (b'"', 15), (b",", 40), (b":", 40))
LONGEST = 4000  # characters of what is wrong, which may show what a file holds


class FileError(ValueError):
    """A file cannot be taken as it is: ``path: what is wrong``.

    Parameters
    ----------
    path : str or path
        The file.
    what : str
        What is wrong with it, and what to do.

    Examples
    --------
    >>> FileError("m.pt", "tensor 'h0' is left unread")
    FileError("m.pt: tensor 'h0' is left unread")
    """

    def __init__(self, path: str | bytes | os.PathLike[Any], what: str) -> None:
        super().__init__(f"{os.fsdecode(path)}: {plain(short(what, LONGEST))}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message as it is, for errors of worker processes."""
        return _again, (type(self), self.args)


def short(text: str, most: int) -> str:
    """Return text without the middle of what is too long to read.

    Examples
    --------
    >>> short("a" * 30 + "z", 20)
    'aaaaaaaa ... aaaaaaz'
    """
    end = (most - 5) // 2
    return text if len(text) <= most else f"{text[: most - 5 - end]} ... {text[-end:]}"


def quoted(name: str) -> str:
    """Return a name of a file's part for a message, whose letters may take four each.

    Examples
    --------
    >>> quoted("encoder")
    "'encoder'"
    """
    return repr(short(name, LONGEST // 4))


def plain(text: str) -> str:
    r"""Return text of a file with what a terminal would obey escaped.

    Examples
    --------
    >>> plain("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _again(kind: type[FileError], args: tuple[Any, ...]) -> FileError:
    error = kind.__new__(kind)
    error.args = args
    return error


class DamagedFileError(FileError):
    """A file is not what its writer wrote, or none of this format.

    Examples
    --------
    >>> import tempfile, gru
    >>> with tempfile.NamedTemporaryFile(suffix=".keras") as file:
    ...     _ = file.write(b"PK"), file.flush()
    ...     try:
    ...         gru.load_keras(file.name)
    ...     except gru.DamagedFileError as error:
    ...         print(str(error).removeprefix(file.name))
    : no HDF5 file
    """


class UnsupportedError(FileError):
    """A file is whole, but holds what gru lacks or cannot tell apart.

    Examples
    --------
    >>> import gru
    >>> issubclass(gru.UnsupportedError, gru.FileError), issubclass(gru.FileError, ValueError)
    (True, True)
    """


@contextmanager
def taking(path: str | bytes | os.PathLike[Any], *kinds: type[Exception]) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into one error that names the file.

    Errors that name it already pass through, and so do those of the operating system.

    Parameters
    ----------
    path : str or path
        The file.
    *kinds : type
        What counts as damage; any exception if not given, as around another package's reader.

    Raises
    ------
    DamagedFileError
        In place of the reader's error, with its text.

    Examples
    --------
    >>> with taking("m.keras", KeyError):
    ...     {}["config.json"]
    Traceback (most recent call last):
    ...
    gru.convert.damage.DamagedFileError: m.keras: cannot be read: KeyError: 'config.json'
    """
    try:
        yield
    except Exception as error:
        if kinds and not isinstance(error, kinds):
            raise
        named = isinstance(error, ValueError) and os.fsdecode(path) in str(error)
        if named or (isinstance(error, OSError) and error.errno is not None):
            raise
        what = f"cannot be read: {type(error).__name__}: {str(error)[:200]}"
        raise DamagedFileError(path, what) from None


def json_size(text: bytes) -> int:
    """Return at most how many bytes of memory JSON becomes, without making any of it.

    Examples
    --------
    >>> json_size(b'{"w": [1, 2]}')
    429
    """
    source = 1 if text.isascii() else 4  # bytes that a letter of the whole text may take
    parts = 4 if b"\\u" in text else source  # and of what it holds
    return (1 + source + parts) * len(text) + sum(
        size * text.count(mark) for mark, size in JSON_SIZES
    )


def strict_json(text: bytes) -> Any:
    """Parse UTF-8 JSON that means one thing: no key twice in an object, no NaN, not too deep.

    Its size is to be checked beforehand, see :func:`json_size`.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> strict_json(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: key 'a' occurs twice
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:80]!r} occurs twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
