"""A folder that holds the last two states of a run; knows files, not what is in them.

A checkpoint is written to a temporary file beside its place, which is flushed to the disk and
renamed; then the folder is flushed. So there is a whole checkpoint at every moment.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gru import check, tensor_file
from gru._types import Array

__all__ = ["Folder"]

KEPT = 2
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
        If it is no path.

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
        self.path = Path(os.fsdecode(check.path("checkpoint", path)))
        self._good: list[Path] = []
        self._number = 0

    def files(self) -> list[Path]:
        """Return the checkpoints, oldest first, damaged ones included."""
        found = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(file for file in found if NAME.fullmatch(file.name))

    def start(self, *, resume: bool) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Make the folder ready; return the newest whole checkpoint if a run is resumed.

        Raises
        ------
        FileExistsError
            If there are checkpoints and the run is not resumed; nothing is changed.
        ValueError
            If there are checkpoints and all are damaged.
        """
        existing = self.files()
        if existing and not resume:
            raise FileExistsError(
                f"{self.path} holds checkpoints of an earlier run; give resume=True to continue "
                "it, or another folder"
            )
        self._make()
        for file in self.path.iterdir():
            if LEFT.fullmatch(file.name):  # of a process that was killed while it wrote
                file.unlink(missing_ok=True)
        if not existing:
            return None
        self._number = _number(existing[-1])
        found = self.load()
        if self._good == existing[-1:]:
            self._drop(existing[:-KEPT])
        return found

    def _drop(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            _flush(self.path.parent)

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
