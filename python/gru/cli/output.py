"""Writes what commands produce: whole files or nothing; knows no table and no model."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gru.cli.parser import CommandError
from gru.model import Sequential
from gru.writing import is_device, replace

__all__ = [
    "as_csv",
    "as_json",
    "check_outputs",
    "check_stdout",
    "digits",
    "emit",
    "save_model",
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
        If one is a folder, has no folder it could go into, or is an input or another output.
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
        if is_device(given):
            continue
        if not path.parent.is_dir():
            raise CommandError(f"--{option} {given}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise CommandError(f"--{option} {given}: the folder {path.parent} cannot be written")
        if str(path) in taken:
            raise CommandError(f"--{option} {given}: is {taken[str(path)]} as well")
        taken[str(path)] = f"--{option}"


def check_stdout(**outputs: str | None) -> None:
    """Refuse two outputs on stdout, where ``None`` and ``-`` go.

    Raises
    ------
    CommandError
        If there are two.
    """
    taken = [f"--{option}" for option, given in outputs.items() if given in (None, "-")]
    if len(taken) > 1:
        raise CommandError(f"{' and '.join(taken)}: only one of them can go to stdout")


def save_model(path: str, model: Sequential) -> None:
    """Write a model as :func:`gru.writing.replace` writes."""
    place = Path(os.path.realpath(path))
    if not is_device(path):
        model.save(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        Path(path).write_bytes((Path(folder) / "model").read_bytes())


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
    if path not in (None, "-"):
        replace(path, text.encode())
        return
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()


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
