"""Options of a training run: each is the library's own, and a run that was stopped goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gru
from commands import COLUMNS, FAST, Run, waves, write
from gru.cli.schedule import schedule
from gru.recipe import recipe
from gru.scaling import Scaler
from gru.schedules import Cosine, OneCycle, ReduceOnPlateau, Schedule, Step, WarmUp

SEEN = ("--features", "x,y", "--holdout", "0")


def by_hand(model: gru.Sequential, **options: object) -> dict[str, np.ndarray]:
    """Parameters after training on the waves without gaps."""
    full = [row for row in waves()[1:] if row[2] != ""]
    ids = list(dict.fromkeys(row[0] for row in full))
    X = [np.array([row[2:4] for row in full if row[0] == name], float) for name in ids]
    y = np.array([int(str(name)[1:]) % 2 == 0 for name in ids], int)  # fast 0, slow 1
    training = {"optimizer": gru.Adam(3e-3), "epochs": 3, "seed": 0, "verbose": False} | options
    gru.fit(model, Scaler.of(X).scale(X), y, **training)
    return model.parameters


@pytest.mark.parametrize(
    ("options", "settings", "training"),
    [
        (("--input-dropout", "0.2"), {"input_dropout": 0.2}, {}),
        (("--recurrent-dropout", "0.3"), {"recurrent_dropout": 0.3}, {}),
        (("--zoneout", "0.1", "--layers", "2"), {"zoneout": 0.1, "num_layers": 2}, {}),
        (("--layer-norm",), {"layer_norm": True}, {}),
        (("--weight-decay", "0.5"), {}, {"optimizer": gru.AdamW(3e-3, weight_decay=0.5)}),
        (("--l2", "0.01"), {}, {"l2": 0.01}),
        (("--schedule", "warm-up:steps=2+cosine"), {}, {"schedule": WarmUp(2, then=Cosine())}),
    ],
)
def test_an_option_is_the_library_s(
    options: tuple[str, ...],
    settings: dict[str, object],
    training: dict[str, object],
    command: Run,
) -> None:
    write("a.csv", [row for row in waves() if row[2] != ""])
    command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, *SEEN, *options)
    found = gru.load("m").parameters
    model = recipe(2, 2, hidden_size=8, seed=0, **settings)
    wanted = by_hand(model, **training)
    assert all((found[name] == wanted[name]).all() for name in wanted)
    other = by_hand(recipe(2, 2, hidden_size=8, seed=0))
    assert not all((found[name] == other[name]).all() for name in other)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cosine", Cosine()),
        ("cosine:final=0.1,steps=50", Cosine(0.1, 50)),
        ("one-cycle:rise=0.5,first=0.1,final=1e-3", OneCycle(0.5, 0.1, 1e-3)),
        ("step:every=3", Step(3)),
        ("step:by=0.5,every=3", Step(3, 0.5)),
        ("plateau:patience=3,by=0.5,min_delta=0,cooldown=2,final=0.01",
         ReduceOnPlateau(3, 0.5, min_delta=0.0, cooldown=2, final=0.01)),
        ("warm-up:steps=9,first=0", WarmUp(9, first=0.0)),
        ("warm-up:steps=9+one-cycle", WarmUp(9, then=OneCycle())),
    ],
)  # fmt: skip
def test_schedules_have_one_text_each(text: str, wanted: Schedule) -> None:
    assert repr(schedule(text)) == repr(wanted)


def test_a_plateau_lowers_the_rate(command: Run) -> None:
    write("a.csv", waves())
    options = ("--schedule", "plateau:patience=0,by=0.5,min_delta=0.9", "--lr", "0.004")
    found = json.loads(command("train", "a.csv", *COLUMNS, "--out", "m", *FAST, *options).out)
    assert found["history"]["lr"] == [0.004, 0.004, 0.002]
    assert found["ids"] == {"train": 19, "validation": 5, "holdout": 6}
    assert found["options"]["schedule"] == options[1]


def test_a_memory_limit_changes_no_bit(command: Run) -> None:
    write("a.csv", waves())
    train = ("train", "a.csv", *COLUMNS, *FAST, "--out")
    command(*train, "free")
    refused = command(*train, "m", "--memory-limit", "1KB", code=2)
    (least,) = re.findall(r"--memory-limit must be at least (\d+) bytes", refused.err)
    command(*train, "m", "--memory-limit", least)
    assert Path("m").read_bytes() == Path("free").read_bytes()


def test_gradients_that_reach_back_a_few_rows(command: Run) -> None:
    write("a.csv", waves(text=False))
    train = ("train", "a.csv", *COLUMNS, *FAST, "--out")
    losses = {}
    for steps in ("3", "4", "1000"):
        found = json.loads(command(*train, "m", "--bptt-steps", steps).out)
        losses[steps] = found["history"]["loss"]
        assert found["options"]["bptt_steps"] == int(steps)
    whole = json.loads(command(*train, "m").out)["history"]["loss"]
    np.testing.assert_allclose(losses["1000"], whole, rtol=1e-5)
    assert abs(losses["3"][0] - losses["4"][0]) > 1e-4


RUN = ("--checkpoint", "run", "--log", "run.csv")


def test_a_run_goes_on_to_the_same_bits(command: Run) -> None:
    write("a.csv", waves())
    train = ("train", "a.csv", *COLUMNS, "--hidden", "8", "--zoneout", "0.2", "--out")
    command(*train, "whole", "--epochs", "5", "--log", "whole.csv", "--quiet")
    new = command(*train, "m", "--epochs", "2", *RUN, "--resume")
    assert "gru train: no run in run yet; this is a new one\n" in new.err
    assert Path("m").read_bytes() != Path("whole").read_bytes()
    on = command(*train, "m", "--epochs", "5", *RUN, "--resume")
    assert "gru train: going on from run/checkpoint-00000002.safetensors\n" in on.err
    assert Path("m").read_bytes() == Path("whole").read_bytes()
    lines, wanted = [Path(name).read_text().splitlines() for name in ("run.csv", "whole.csv")]
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,lr,seconds"
    assert [line.rsplit(",", 1)[0] for line in lines] == [line.rsplit(",", 1)[0] for line in wanted]
    assert len(lines) == 6


def test_options_of_a_run_that_never_saved_do_not_count(command: Run) -> None:
    write("a.csv", waves())
    train = ("train", "a.csv", *COLUMNS, *FAST, *RUN, "--out", "m", "--resume")
    Path("run").mkdir()
    Path("run/options.json").write_text("{}")
    command(*train, "--zoneout", "0.1")
    assert json.loads(Path("run/options.json").read_text())["zoneout"] == 0.1
    command(*train, "--zoneout", "0.1")


def test_another_run_is_no_run_to_go_on_with(command: Run) -> None:
    write("a.csv", waves())
    train = ("train", "a.csv", *COLUMNS, *FAST, *RUN, "--out", "m")
    command(*train)
    kept = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert command(*train, code=2).err == (
        "gru train: error: --checkpoint run: holds a run already; give --resume to go on with it, "
        "or another folder\n"
    )
    other = command(*train, "--resume", "--zoneout", "0.1", "--features", "x", code=2)
    assert other.err == (
        "gru train: error: --resume: the run in run had other options: --features was None and "
        "is ['x']; --zoneout was 0.0 and is 0.1\n"
    )
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == kept
    write("a.csv", waves(seed=1))
    data = command(*train, "--resume", code=2)
    assert data.err.startswith("gru train: error: run holds a run with other settings: data was ")
    for damaged in ("[", "[]", "{}"):
        Path("run/options.json").write_text(damaged)
        assert command(*train, "--resume", code=2).err == (
            "gru train: error: run/options.json: is damaged\n"
        )


def test_control_c_says_how_to_go_on(folder: Path) -> None:
    write("a.csv", waves())
    train = [sys.executable, "-m", "gru", "train", "a.csv", *COLUMNS, "--out", "m"]
    process = subprocess.Popen(
        [*train, "--epochs", "1000000", "--checkpoint", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not Path("run/checkpoint-00000002.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    *_, where, last = err.splitlines()
    newest = sorted(name for name in os.listdir("run") if name.endswith(".safetensors"))[-1]
    assert where == f"gru train: --resume goes on from run/{newest}"
    assert last == "gru train: interrupted; unfinished files were not written"
    assert {path.name for path in folder.iterdir()} == {"a.csv", "run"}
