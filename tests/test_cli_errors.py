"""Commands that end early: refused with one whole line and code 2, interrupted, unread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gru
from bad_commands import BAD_COMMANDS
from commands import COLUMNS, FAST, Run, files, waves, write


@pytest.mark.parametrize(("text", "arguments", "message"), BAD_COMMANDS)
def test_refusals(
    text: str, arguments: tuple[str, ...], message: str, command: Run, saved_models: Path
) -> None:
    for name in {"model", "plain", "other"} & set(arguments):
        Path(name).write_bytes((saved_models / name).read_bytes())
    Path("a.csv").write_text(text)
    before = {name: Path(name).read_bytes() for name in files()}
    done = command(*arguments, code=2)
    start = f"gru {arguments[0]}: error: "
    *said, last = done.err.splitlines()
    if message.endswith("*"):
        assert last.startswith(start + message[:-1])
    else:
        assert last == start + message
    assert all(line.startswith(f"gru {arguments[0]}: ") and "error" not in line for line in said)
    assert done.out == ""
    assert {name: Path(name).read_bytes() for name in files()} == before


def test_a_training_that_diverges_is_one_line(command: Run) -> None:
    write("a.csv", waves(text=False))
    done = command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, "--lr", "1e30", code=1)
    assert done.err.startswith("gru train: error: epoch ")
    assert done.err.endswith("; a smaller --lr may help\n")
    assert done.err.count("\n") == 1
    assert files() == {"a.csv"}


def test_a_full_disk_leaves_the_old_file(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    Path("p.csv").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = command("predict", "m", "a.csv", "--out", "p.csv", "--quiet", code=2)
    assert done.err == "gru predict: error: [Errno 28] No space left on device\n"
    assert Path("p.csv").read_text() == "old"
    assert files() == {"a.csv", "m", "p.csv"}


def test_links_are_followed_and_modes_kept(command: Run) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    Path("real.csv").write_text("old")
    Path("real.csv").chmod(0o640)
    Path("link.csv").symlink_to("real.csv")
    command("predict", "m", "a.csv", "--out", "link.csv", "--quiet")
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith("wave,prediction,")
    assert Path("real.csv").stat().st_mode & 0o777 == 0o640


def test_control_c_in_the_middle(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gru, "fit", pressed)
    write("a.csv", waves())
    done = command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, code=130)
    assert done.err == "gru train: interrupted; unfinished files were not written\n"
    assert files() == {"a.csv"}


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "gru", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def test_a_real_control_c(folder: Path) -> None:
    write("a.csv", waves())
    process = start("train", "a.csv", *COLUMNS, "--out", "m", "--epochs", "1000000")
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(5)]  # it is about to train, or does
    assert lines[-1] == "gru train: 30 ids of 6 to 14 rows: 24 to learn from, 6 held out\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "gru train: interrupted; unfinished files were not written\n"
    assert {path.name for path in folder.iterdir()} == {"a.csv"}


def test_nobody_reads(saved_models: Path) -> None:
    process = start("predict", str(saved_models / "model"), str(saved_models / "a.csv"), "--quiet")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, "")
    process.stderr.close()


def test_a_process_of_its_own(saved_models: Path) -> None:
    done = start("predict", str(saved_models / "model"), str(saved_models / "a.csv"))
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert out.splitlines()[0] == "wave,prediction,probability_fast,probability_slow"
    assert len(out.splitlines()) == 31
    assert "accuracy" in err
