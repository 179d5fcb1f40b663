"""Files of commands: whether they can be written is tried first, and all appear or none."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gru
from commands import COLUMNS, FAST, Run, files, waves, write
from gru.writing import probe
from gru.writing import write as write_files

FULL = os.strerror(errno.ENOSPC)
REFUSED = "cannot be written: "
ABSENT = os.strerror(errno.ENOENT)


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("it trains before it has tried the files")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "/dev/full"), f"--out /dev/full: {REFUSED}{FULL}"),
        (("--out", "m", "--metrics", "/dev/full"), f"--metrics /dev/full: {REFUSED}{FULL}"),
        (("--out", "m", "--report", "/dev/full"), f"--report /dev/full: {REFUSED}{FULL}"),
        (("--out", "/proc/m"), f"--out /proc/m: {REFUSED}{ABSENT}"),
        (("--out", "m", "--log", "/proc/m.csv"), f"--log /proc/m.csv: {REFUSED}{ABSENT}"),
        (("--out", "m", "--log", "no/m.csv"), "--log no/m.csv: there is no folder {folder}/no"),
        (("--out", "m.csv", "--log", "m.csv"), "--log m.csv: is --out as well"),
        (("--out", "m", "--checkpoint", "m"), "--out m: is what is read as well"),
        (("--out", "m", "--checkpoint", "a.csv"), "--checkpoint: must be a folder, got 'a.csv'"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said_before_training(
    options: tuple[str, ...], message: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gru, "fit", never)
    write("a.csv", waves())
    done = command("train", "a.csv", *COLUMNS, *FAST, *options, code=2)
    assert done.err == f"gru train: error: {message.format(folder=os.getcwd())}\n"
    assert files() == {"a.csv"}


def run(arguments: tuple[str, ...], **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "gru", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


def small_files() -> None:
    """Let a process write no file above 2 kB, as if the disk were almost full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_room_for_the_model_is_tried_before_training(folder: Path) -> None:
    write("a.csv", waves())
    done = run(
        ("train", "a.csv", *COLUMNS, "--out", "m", "--epochs", "1000000"),
        stdout=subprocess.DEVNULL,
        preexec_fn=small_files,
        timeout=60,
    )
    last = done.stderr.splitlines()[-1]
    assert last == "gru train: error: --out m: cannot be written: File too large"
    assert done.returncode == 2
    assert files() == {"a.csv"}


def closed() -> None:
    os.close(1)


@pytest.mark.parametrize(
    ("stdout", "start", "message"), [("/dev/full", None, FULL), ("/dev/null", closed, "is closed")]
)
def test_a_stdout_that_takes_nothing_is_said_before_training(
    stdout: str, start: Callable[[], None] | None, message: str, folder: Path
) -> None:
    write("a.csv", waves())
    train = ("train", "a.csv", *COLUMNS, "--out", "n", "--epochs", "1000000")
    with open(stdout, "wb") as target:
        done = run(train, stdout=target, preexec_fn=start, timeout=60)
    assert (done.returncode, done.stderr) == (2, f"gru train: error: stdout: {message}\n")
    assert files() == {"a.csv"}


@pytest.mark.parametrize("command", ["predict", "inspect", "forecast"])
def test_a_full_stdout_is_named(command: str, folder: Path, saved_models: Path) -> None:
    model, table = str(saved_models / "model"), str(saved_models / "a.csv")
    arguments = {
        "predict": ("predict", model, table, "--quiet"),
        "inspect": ("inspect", model),
        "forecast": ("forecast", table, "--target", "y", "--horizon", "2", "--quiet"),
    }
    with open("/dev/full", "wb") as full:
        done = run(arguments[command], stdout=full)
    assert (done.returncode, done.stderr) == (2, f"gru {command}: error: stdout: {FULL}\n")


def failing(after: int) -> Callable[[int], None]:
    """An fsync that finds the disk full at one of its calls."""
    calls = iter(range(1000))

    def fsync(descriptor: int) -> None:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, FULL)

    return fsync


@pytest.mark.parametrize(("after", "name"), [(0, "m"), (1, "r.png"), (2, "s.json")])
def test_a_disk_that_fills_up_leaves_all_old_files(
    after: int, name: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    write("a.csv", waves())
    outputs = ("--out", "m", "--report", "r.png", "--metrics", "s.json")
    fit = gru.fit

    def fills(*arguments: Any, **options: Any) -> gru.History:
        history = fit(*arguments, **options)
        monkeypatch.setattr(os, "fsync", failing(after))
        return history

    for old in ("m", "r.png", "s.json"):
        Path(old).write_text("old")
    monkeypatch.setattr(gru, "fit", fills)
    done = command("train", "a.csv", *COLUMNS, *FAST, *outputs, code=2)
    assert done.err == f"gru train: error: {name}: {FULL}\n"
    assert files() == {"a.csv", "m", "r.png", "s.json"}
    assert {Path(old).read_text() for old in ("m", "r.png", "s.json")} == {"old"}


def test_a_probe_leaves_no_trace(folder: Path) -> None:
    Path("old").write_text("old")
    before = os.stat("old")
    probe("old", 100_000)
    probe("new", 100_000)
    assert files() == {"old"}
    assert os.stat("old") == before


def test_devices_get_what_a_function_writes(folder: Path) -> None:
    read, written = os.pipe()
    write_files({f"/dev/fd/{written}": lambda path: path.write_bytes(b"whole"), "a": b"b"})
    os.close(written)
    assert os.read(read, 100) == b"whole"
    os.close(read)
    assert files() == {"a"}
