"""The folder of a run that can go on: what it was started with, and what may go on there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gru.callbacks import Callback, Run
from gru.checkpoint import Folder
from gru.cli.parser import CommandError
from gru.table.errors import Say
from gru.writing import replace

__all__ = ["Remember", "check_folder", "newest"]

NAME = "options.json"


def newest(folder: str) -> Path | None:
    """Return the newest checkpoint, if there is one."""
    found = Folder(folder).files()
    return found[-1] if found else None


def check_folder(folder: str | None, given: Mapping[str, Any], *, resume: bool, say: Say) -> None:
    """Refuse now what fit would refuse after the table was read.

    Parameters
    ----------
    folder : str or None
        Where the run is kept.
    given : mapping
        The options that must be the same when it goes on, as JSON holds them.
    resume : bool
        Whether it goes on.
    say : callable
        Is told from where.

    Raises
    ------
    CommandError
        If there is a run and it does not go on, or was started with other options.
    """
    if folder is None:
        if resume:
            raise CommandError("--resume: needs --checkpoint, the folder of the run")
        return
    if not folder or (Path(folder).exists() and not Path(folder).is_dir()):
        raise CommandError(f"--checkpoint: must be a folder, got {folder!r}")
    last = newest(folder)
    if last is not None and not resume:
        raise CommandError(
            f"--checkpoint {folder}: holds a run already; give --resume to go on with it, or "
            f"another folder"
        )
    if last is not None:
        _check_same(folder, given)
    if resume:
        say(f"going on from {last}" if last else f"no run in {folder} yet; this is a new one")


def _check_same(folder: str, given: Mapping[str, Any]) -> None:
    kept = Path(folder) / NAME
    if not kept.is_file():
        return  # a run of gru.fit; what it was started with is fit's to compare
    try:
        then = dict(json.loads(kept.read_text(encoding="utf-8")))
    except (TypeError, ValueError):
        then = {}
    now = json.loads(json.dumps(given))
    if then.keys().isdisjoint(now):
        raise CommandError(f"{kept}: is damaged")
    other = [
        f"--{name.replace('_', '-')} was {then.get(name)} and is {value}"
        for name, value in now.items()
        if then.get(name) != value
    ]
    if other:
        raise CommandError(f"--resume: the run in {folder} had other options: {'; '.join(other)}")


class Remember(Callback):
    """Writes down what a run is started with, once its folder is its own.

    Parameters
    ----------
    folder : str
        Where the run is kept.
    given : mapping
        As :func:`check_folder` compares it.
    """

    def __init__(self, folder: str, given: Mapping[str, Any]) -> None:
        self._path = str(Path(folder) / NAME)
        self._text = json.dumps(given, indent=1) + "\n"

    def on_fit_start(self, run: Run) -> None:
        """Write."""
        replace(self._path, self._text.encode())
