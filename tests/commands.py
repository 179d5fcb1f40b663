"""What the tests of the command line share: files to read, and fixtures that run a command."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import gru
from gru.__main__ import main

__all__ = [
    "COLUMNS",
    "FAST",
    "Ran",
    "Run",
    "command",
    "files",
    "folder",
    "saved_models",
    "waves",
    "write",
]

FAST = ("--hidden", "8", "--epochs", "3", "--quiet")
COLUMNS = ("--id", "wave", "--time", "t", "--target", "label")


def write(name: str, rows: Sequence[Sequence[object]]) -> str:
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return name


def waves(seed: int = 0, ids: int = 30, *, text: bool = True) -> list[list[object]]:
    """Two kinds of waves with gaps and a categorical column, in the order of time."""
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = [["wave", "t", "x", "y", "site", "label"]]
    for i in range(ids):
        kind = i % 2
        phase, steps = rng.uniform(0, 6), rng.integers(6, 15)
        x = np.sin(phase + (0.4 + 0.8 * kind) * np.arange(steps + 1))
        for t in range(steps):
            label = ["slow", "fast"][kind] if text else 10 + 3 * float(x[t + 1])
            gap = rng.random() < 0.05
            noise = round(float(rng.normal()), 3)
            site = ["north", "south"][int(rng.random() < 0.5)]
            rows.append([f"w{i}", t, "" if gap else float(x[t].round(4)), noise, site, label])
    return rows


def files() -> set[str]:
    return set(os.listdir())


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))


Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process, in an empty folder, and expect its code."""

    def call(*arguments: str, code: int = 0) -> Ran:
        ended: object = 0
        if code:
            with pytest.raises(SystemExit) as stopped:
                main(arguments)
            ended = stopped.value.code
        else:
            main(arguments)
        out, err = capsys.readouterr()
        assert ended == code, err
        return Ran(ended, out, err)

    return call


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, one without columns, and one whose columns are another's."""
    folder = tmp_path_factory.mktemp("models")
    here = os.getcwd()
    os.chdir(folder)
    write("a.csv", waves())
    main(["train", "a.csv", *COLUMNS, "--out", "model", "--metrics", "s.json", *FAST])
    plain = gru.Sequential([gru.GRU(3, 4, seed=0)])
    plain.save("plain")
    plain.metadata.update(gru.load("model").metadata)
    plain.save("other")
    os.chdir(here)
    return folder
