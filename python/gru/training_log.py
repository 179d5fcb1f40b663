"""A run's numbers in a file, one line an epoch, as CSV or JSON lines; knows no model."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gru import check
from gru.history import History

__all__ = ["TrainingLog"]

KINDS = (".csv", ".jsonl")


class TrainingLog:
    """Writes a line for each epoch as soon as it is over.

    The columns are epoch (from 1), loss, metrics, val_loss, val_metrics, lr and seconds. A number
    that is not finite is empty in CSV and null in JSON.

    Parameters
    ----------
    path : str or path
        A name that ends in ``.csv`` or ``.jsonl``. An existing file is replaced.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or ends in something else.
    OSError
        If its folder does not exist, or later the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> history = History("mae", loss=[0.5], metric=[0.25], seconds=[1.5], lr=[0.1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = TrainingLog(os.path.join(folder, "run.csv"))
    ...     log.start(history)
    ...     print(log.path.read_text(), end="")
    epoch,loss,mae,lr,seconds
    1,0.5,0.25,0.1,1.5
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(os.fsdecode(check.path("log", path)))
        if self.path.suffix not in KINDS:
            raise ValueError(f"log must end in .csv or .jsonl, got {str(self.path)!r}")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"log must lie in a folder that exists, got {str(self.path)!r}")
        if self.path.is_dir():
            raise IsADirectoryError(f"log must be a file, got the folder {str(self.path)!r}")

    def start(self, history: History) -> None:
        """Write the epochs that a resumed run has already, or an empty file."""
        self.path.write_text("", encoding="utf-8")
        for index in range(len(history)):
            self.write(history, index)

    def write(self, history: History, index: int) -> None:
        """Append one epoch."""
        line = self._line(_row(history, index), first=index == 0)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line)

    def _line(self, row: Mapping[str, float | None], *, first: bool) -> str:
        if self.path.suffix == ".jsonl":
            return json.dumps(row, allow_nan=False) + "\n"
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if first:
            writer.writerow(row)
        writer.writerow(row.values())
        return text.getvalue()


def _row(history: History, index: int) -> dict[str, float | None]:
    found = {"lr": history.lr[index], "seconds": history.seconds[index]}
    numbers = {**history.epoch(index), **found}
    shown = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"epoch": index + 1, **shown}
