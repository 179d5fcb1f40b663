"""Commands that end early: refused with one whole line and code 2, interrupted, unread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gru
from bad_commands import BAD_COMMANDS
from commands import COLUMNS, FAST, Run, files, waves, write
from gru.__main__ import main
from gru.cli.resuming import newest


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


NUMBERS = ("", "1", "2", "3.5", "1e30", "-1e-30", "1e400", "0x1", "٣", "NA", "nan", "inf", "True")
WORDS = st.sampled_from((*NUMBERS, "a", "b", 'x "y"\n,z', "2024-01-01", "2024-01-02T10:00Z"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), *[WORDS] * 3), max_size=12),
    times=st.sampled_from([(), ("--time", "t")]),
    command=st.sampled_from(["train", "forecast"]),
    per=st.sampled_from([(), ("--per", "row"), ("--holdout", "0")]),
)
def test_no_table_ends_in_a_traceback(
    rows: list[tuple[str, ...]],
    times: tuple[str, ...],
    command: str,
    per: tuple[str, ...],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("a.csv", [("wave", "t", "x", "label"), *rows])
    given = [command, "a.csv", "--id", "wave", *times, "--hidden", "2", "--epochs", "1"]
    if command == "train":
        arguments = [*given, "--target", "label", "--out", "m", *per]
    else:
        arguments = [*given, "--target", "x", "--horizon", "1"]
    code = ended(arguments)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert all(line.startswith(f"gru {command}: ") for line in lines)
    assert [f"gru {command}: error: " in line for line in lines[-1:]] == [code == 2]
    assert bool(out) == (code == 0)
    assert code in (0, 2)


def ended(arguments: list[str]) -> object:
    """The code with which a command ends."""

    def whole() -> None:
        main(arguments)
        sys.exit(0)

    with pytest.raises(SystemExit) as stopped:
        whole()
    return stopped.value.code


def test_a_training_that_diverges_is_one_line(command: Run) -> None:
    write("a.csv", waves(text=False))
    done = command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, "--lr", "1e30", code=1)
    assert done.err.startswith("gru train: error: epoch ")
    assert done.err.endswith("; a smaller --lr may help\n")
    assert done.err.count("\n") == 1
    assert files() == {"a.csv"}


@pytest.mark.parametrize(
    ("more", "which"), [((), "last good weights"), (("--patience", "9"), "best weights so far")]
)
def test_what_a_training_had_learned_before_it_diverged_is_written(
    more: tuple[str, ...], which: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = gru.fit

    def spoil(run: gru.Run) -> None:
        if run.epoch == 2:
            run.optimizer.lr = 1e30

    def spoiled(*given: Any, callbacks: list[Any], **settings: Any) -> gru.History:
        return fit(*given, callbacks=[*callbacks, spoil], **settings)

    write("a.csv", waves(text=False))
    short = ("train", "a.csv", *COLUMNS, *FAST, *more, "--batch", "4", "--metrics", "s.json")
    command(*short, "--out", "wanted", "--epochs", "2")
    Path("s.json").unlink()
    monkeypatch.setattr(gru, "fit", spoiled)
    done = command(*short, "--out", "m", "--epochs", "4", code=1)
    assert done.err.startswith("gru train: error: epoch 3, step ")
    assert done.err.endswith(f"; a smaller --lr may help; wrote m with the {which}\n")
    assert done.err.count("\n") == 1
    assert files() == {"a.csv", "m", "wanted"}
    wanted, found = (gru.load(name).blocks() for name in ("wanted", "m"))
    assert all(np.array_equal(found[name], block) for name, block in wanted.items())
    command("predict", "m", "a.csv", "--quiet")


def test_a_checkpoint_is_no_model(command: Run) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", "--checkpoint", "run", *FAST)
    file = str(newest("run"))
    done = command("predict", file, "a.csv", code=2)
    wanted = (
        "a checkpoint of a training run, not a model; go on with the run, by gru train --resume"
    )
    assert done.err.startswith(f"gru predict: error: {file}: ")
    assert wanted in done.err
    with pytest.raises(ValueError, match=r"or gru.fit\(..., checkpoint=FOLDER, resume=True\), and"):
        gru.load(file)


def test_a_full_disk_leaves_the_old_file(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.csv", waves())
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST)
    Path("p.csv").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = command("predict", "m", "a.csv", "--out", "p.csv", "--quiet", code=2)
    assert (
        done.err == "gru predict: error: --out p.csv: cannot be written: No space left on device\n"
    )
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
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # A test run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_real_control_c(folder: Path) -> None:
    write("a.csv", waves())
    process = start("train", "a.csv", *COLUMNS, "--out", "m", "--epochs", "1000000")
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(6)]  # it is about to train, or does
    assert lines[-1].startswith("gru train: model: GRU(4, 64), ")
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
