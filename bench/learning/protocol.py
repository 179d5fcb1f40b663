"""The worker's end of the pipe: gets a task, trains when it is told to; knows no system.

A request is one line, a reply is one line. Between requests the process blocks in a read, so it
uses no core while another system is measured.

==========================  =====================================================================
``prepare FOLDER THREADS``  read a task, get ready and warm up; ``ok NOTE``
``fit PATH``                train from the start in PATH; ``ok JSON``: see :class:`Fitted`
==========================  =====================================================================
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from job import Array
from learning.task import Start, Task, read, read_start


@dataclass(frozen=True)
class Fitted:
    """What one training gave."""

    seconds: float
    first: float  # mean loss of the first epoch
    last: float  # and of the last
    score: float  # accuracy on the test set; language: bits per character


class System(Protocol):
    """What a worker brings."""

    def version(self) -> str:
        """Return the version in one word."""
        ...

    def prepare(self, task: Task, arrays: dict[str, Array], threads: int) -> str:
        """Lay the data out and warm up; say which way of training is taken."""
        ...

    def fit(self, start: Start) -> Fitted:
        """Train once."""
        ...


def answer(system: System, command: str, words: list[str]) -> str:
    if command == "prepare":
        return system.prepare(*read(Path(words[0])), int(words[1]))
    return json.dumps(asdict(system.fit(read_start(Path(words[0])))))


def serve(system: System) -> None:
    """Answer requests until the other end closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like a reply
    print(f"ready {system.version()}", file=replies, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        try:
            reply = f"ok {answer(system, command, words)}"
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip() or type(error).__name__
            reply = f"failed {type(error).__name__}: {text.splitlines()[0]}"
        print(reply, file=replies, flush=True)
