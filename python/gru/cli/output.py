"""Writes what commands produce: whole files or nothing; knows no table and no model."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gru.cli.parser import CommandError
from gru.writing import Content, is_device, probe, write

__all__ = [
    "as_csv",
    "as_json",
    "check_outputs",
    "check_room",
    "check_stdout",
    "deliver",
    "digits",
    "drop_stdout",
    "emit",
    "say",
]

DIGITS = 9  # of every number that is answered, so that text holds it whole; float32 has no more


def say(command: str, quiet: bool, message: str) -> None:
    """Tell the person at the terminal, on stderr: stdout is for results."""
    if not quiet:
        print(f"{command}: {message}", file=sys.stderr)


def check_outputs(inputs: Iterable[str], binary: Iterable[str] = (), **outputs: str | None) -> None:
    """Refuse now what could only fail after the work.

    Parameters
    ----------
    inputs : iterable of str
        Files that are read.
    binary : iterable of str
        Options whose files hold no text, so that they cannot go to stdout.
    outputs : str or None
        The files to be written, by the names of their options.

    Raises
    ------
    CommandError
        If one is a folder, has no folder it could go into, is an input or another output, or
        cannot be written, as on a full disk.
    """
    taken = {os.path.realpath(path): "what is read" for path in inputs if path != "-"}
    for option, given in outputs.items():
        if given == "-" and option in binary:
            raise CommandError(f"--{option} -: needs a file, stdout is for text")
        if given is None or given == "-":
            continue
        path = Path(os.path.realpath(given))
        if path.is_dir():
            raise CommandError(f"--{option} {given}: is a folder")
        if not is_device(given):
            if not path.parent.is_dir():
                raise CommandError(f"--{option} {given}: there is no folder {path.parent}")
            if str(path) in taken:
                raise CommandError(f"--{option} {given}: is {taken[str(path)]} as well")
            taken[str(path)] = f"--{option}"
        check_room(option, given)


def check_room(option: str, path: str, size: int = 1) -> None:
    """Refuse a file for which the disk has no room, or that cannot be written at all.

    Raises
    ------
    CommandError
        Naming the option and the file.
    """
    try:
        probe(path, size)
    except OSError as error:
        raise CommandError(f"--{option} {path}: cannot be written: {error.strerror}") from None


def check_stdout(**outputs: str | None) -> None:
    """Refuse two outputs on stdout, where ``None`` and ``-`` go, and a stdout that takes none.

    Raises
    ------
    CommandError
        If there are two.
    OSError
        If there is one, and stdout is closed or full.
    """
    taken = [f"--{option}" for option, given in outputs.items() if given in (None, "-")]
    if len(taken) > 1:
        raise CommandError(f"{' and '.join(taken)}: only one of them can go to stdout")
    if taken:
        _to_stdout(b"")


def _to_stdout(data: bytes) -> None:
    """Write to stdout; an error names it. Nothing at all, and a full device refuses even that."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "is closed", "stdout")
    try:
        sys.stdout.flush()
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        else:
            os.write(1, data)
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        raise OSError(error.errno, error.strerror, "stdout") from None


def drop_stdout() -> None:
    """Let what stdout still holds go nowhere: the flush at exit would fail again, with code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def digits(value: float) -> str:
    """Return a number as text, with nine digits.

    Examples
    --------
    >>> digits(0.1 + 0.2)
    '0.3'
    """
    return format(value, f".{DIGITS}g")


def emit(path: str | None, text: str) -> None:
    """Write text as UTF-8 to a file, or to stdout if that is ``-`` or not given."""
    deliver((path, text.encode()))


def deliver(*outputs: tuple[str | None, Content], note: Callable[[str], object] = len) -> None:
    """Write files, all of them or none, and then what goes to stdout: ``-`` or not given.

    Parameters
    ----------
    outputs : pair
        A path and what it holds, as in :func:`gru.writing.write`.
    note : callable
        Is told which files were written.

    Raises
    ------
    OSError
        If one cannot be written, naming it.
    """
    files = {path: content for path, content in outputs if path is not None and path != "-"}
    write(files)
    if files:
        note(f"wrote {', '.join(files)}")
    for path, content in outputs:
        if (path is None or path == "-") and isinstance(content, bytes):
            _to_stdout(content)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return CSV text; names that occur again get a line behind them.

    Examples
    --------
    >>> as_csv(["id", "id"], [["a", "b,c"]])
    'id,id_\na,"b,c"\n'
    """
    unique: list[str] = []
    for name in header:
        while name in unique:
            name += "_"
        unique.append(name)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(unique)
    writer.writerows(rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(values: Mapping[str, Any]) -> str:
    r"""Return JSON text with one line a key; numbers that are not finite become null.

    Examples
    --------
    >>> as_json({"a": [1, 2], "b": {"c": None}})
    '{\n "a": [1, 2],\n "b": {"c": null}\n}\n'
    """
    lines = [f" {json.dumps(key)}: {json.dumps(_plain(value))}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
