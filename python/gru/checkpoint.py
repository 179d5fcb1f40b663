"""A folder that holds the last two states of a run; knows files, not what is in them.

A checkpoint is written to a temporary file beside its place, which is flushed to the disk and
renamed; then the folder is flushed. So there is a whole checkpoint at every moment. A run holds
the folder's lock from its start to its end.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gru import check, tensor_file
from gru._types import Array
from gru.lock import Lock

__all__ = ["Folder"]

KEPT = 2
LOCK = "lock"
NAME = re.compile(r"checkpoint-(\d{8})\.safetensors")
LEFT = re.compile(r"checkpoint-\d{8}\.safetensors\.\d+\.tmp")


class Folder:
    """Where checkpoints are written; the last two are kept.

    Parameters
    ----------
    path : str or path
        Made if it is not there.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or an empty one.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = Folder(path)
    ...     for step in range(5):
    ...         _ = folder.save({"w": np.zeros(3)}, {"step": step})
    ...     print([file.name for file in folder.files()], folder.load()[1])
    ['checkpoint-00000004.safetensors', 'checkpoint-00000005.safetensors'] {'step': 4}
    """

    def __init__(self, path: Any) -> None:
        name = os.fsdecode(check.path("checkpoint", path))
        if not name:
            raise ValueError("checkpoint must be the name of a folder, got ''")
        self.path = Path(name)
        self._lock: Lock | None = None
        self._new: list[Path] = []  # folders that this run made, innermost first
        self._good: list[Path] = []
        self._number = 0

    def files(self) -> list[Path]:
        """Return the checkpoints, oldest first, damaged ones included."""
        found = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(file for file in found if NAME.fullmatch(file.name))

    def start(self, *, resume: bool) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Make the folder ready and lock it; return the newest whole checkpoint to resume a run.

        Raises
        ------
        FileExistsError
            If there are checkpoints and the run is not resumed; nothing is changed.
        BlockingIOError
            If another run is at work in it; nothing is changed.
        NotADirectoryError
            If it is a file, or would lie in one.
        OSError
            If it cannot be made or locked.
        ValueError
            If there are checkpoints and all are damaged.
        """
        if not resume:
            self._refuse_another_run()
        self._make()
        try:
            self._lock = Lock(self.path / LOCK)
        except BlockingIOError:
            raise
        except OSError as error:
            text = f"checkpoint {self.path} could not be locked: {error.strerror}"
            raise OSError(error.errno, text) from error
        if not resume:  # once more: one may have come and gone in between
            self._refuse_another_run()
        existing = self.files()
        if self._lock.held:  # nobody else is writing, so what is half written stays that
            self._drop([file for file in self.path.iterdir() if LEFT.fullmatch(file.name)])
        if not existing:
            return None
        self._number = _number(existing[-1])
        found = self.load()
        if self._good == existing[-1:]:
            self._drop(existing[:-KEPT])
        return found

    def close(self) -> None:
        """Let another run have the folder; what was made for nothing goes."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        with suppress(OSError):  # one holds something
            for folder in self._new:
                folder.rmdir()

    def _refuse_another_run(self) -> None:
        if self.files():
            raise FileExistsError(
                f"{self.path} holds checkpoints of an earlier run; give resume=True to continue "
                "it, or another folder"
            )

    def _drop(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)

    def _make(self) -> None:
        """Make the folder and those that it lies in, and make their names last."""
        places = [self.path, *self.path.parents]
        for place in places:
            if place.exists() and not place.is_dir():
                raise NotADirectoryError(
                    f"checkpoint must be a folder, got {str(self.path)!r}: {place} is a file"
                )
        self._new = [place for place in places if not place.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for place in self._new:
                _flush(place.parent)
        except OSError as error:
            text = f"checkpoint {self.path} could not be made: {error.strerror}"
            raise OSError(error.errno, text) from error

    def load(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the newest whole checkpoint; a damaged one is named in a warning.

        Raises
        ------
        ValueError
            If none is whole, naming each.
        """
        problems = []
        for file in reversed(self.files()):
            try:
                found = tensor_file.read(file)
            except (tensor_file.DamagedFileError, OSError) as error:
                problems.append(str(error))
                continue
            for problem in problems:
                warnings.warn(f"{problem}; {file.name} is used", RuntimeWarning, stacklevel=4)
            self._good = [file]
            return found
        raise ValueError(f"no checkpoint can be read: {'; '.join(problems) or self.path}")

    def save(self, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> Path:
        """Write a checkpoint, for good when this returns, and drop all but the last two.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; the checkpoints before it are whole.
        """
        place = self.path / f"checkpoint-{self._number + 1:08d}.safetensors"
        temporary = place.with_name(f"{place.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as target:
                for piece in tensor_file.pieces(arrays, notes):
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(place)
            _flush(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            before = f"{self._good[-1]} is whole" if self._good else "there is none before it"
            text = f"checkpoint {place} could not be written: {error.strerror}; {before}"
            raise OSError(error.errno, text) from error
        self._number += 1
        self._good = [*self._good, place][-KEPT:]
        self._drop([file for file in self.files() if file not in self._good])
        return place


def _number(file: Path) -> int:
    found = NAME.fullmatch(file.name)
    return int(found[1]) if found else 0


def _flush(folder: Path) -> None:
    """Make names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
