"""Training that is killed and goes on as if nothing had happened: ``checkpoint`` and ``resume``.

A process that trains is killed (SIGKILL, as when memory runs out) whenever it has done some epochs,
and started again with the same call until it is done. Its losses and final weights are those of a
run that nobody killed, bit for bit. ``python examples/resume.py`` takes about ten seconds and
writes ``resume.png`` (needs matplotlib).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import gru


def train(folder: Path, epochs: int) -> None:
    """Train in a folder, or go on with what was begun there; save the model."""
    speech = gru.datasets.japanese_vowels()
    cell = gru.GRU(12, 32, recurrent_dropout=0.2, seed=0)  # also the dropout goes on where it was
    model = gru.Sequential([cell, gru.Last(), gru.Linear(32, 9, seed=1)])
    gru.fit(
        model,
        speech.X_train,
        speech.y_train,
        optimizer=gru.Adam(3e-3),
        schedule=gru.schedules.Cosine(),
        epochs=epochs,
        checkpoint=folder / "run",
        resume=True,
        log=folder / "log.csv",
        verbose=False,
    )
    model.save(folder / "model.safetensors")


def losses(folder: Path) -> list[float]:
    """Return the losses of the finished epochs; a line of the log is written whole or not yet."""
    try:
        with open(folder / "log.csv", newline="") as log:
            return [float(row["loss"]) for row in csv.DictReader(log)]
    except FileNotFoundError:
        return []


def killed(folder: Path, epochs: int, patience: int) -> list[float]:
    """Train in a process of its own, killed after so many more epochs; return the losses so far."""
    process = get_context("spawn").Process(target=train, args=(folder, epochs))
    last = len(losses(folder)) + patience
    process.start()
    while process.is_alive() and (last >= epochs or len(losses(folder)) < last):
        time.sleep(0.005)
    process.kill()
    process.join()
    return losses(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="resume.png", help="where the picture goes")
    parser.add_argument("--quick", action="store_true", help="few epochs, killed once")
    options = parser.parse_args()

    epochs, patience = (4, 2) if options.quick else (60, 13)
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        whole.mkdir(), broken.mkdir()
        train(whole, epochs)
        lives = [0]
        while not (broken / "model.safetensors").exists():
            lives.append(len(killed(broken, epochs, patience)))
            print(f"process {len(lives) - 1} ended after epoch {lives[-1]} of {epochs}")
        curve, again = losses(whole), losses(broken)
        first, second = (gru.load(f / "model.safetensors").blocks() for f in (whole, broken))
    print("losses of all epochs are", "equal" if curve == again else "DIFFERENT")
    same = all(np.array_equal(first[key], second[key]) for key in first)
    print("final weights are", "the same bits" if same else "DIFFERENT")

    axes = gru.plot.figure(size=(8.0, 4.0)).subplots()
    axes.plot(range(1, epochs + 1), curve, color="#cccccc", linewidth=8, label="never killed")
    for i, (begin, end) in enumerate(pairwise(lives)):
        steps = range(max(begin, 1), end + 1)  # joined to the epoch before
        axes.plot(steps, [again[step - 1] for step in steps], label=f"process {i + 1}")
    deaths = lives[1:-1]
    axes.plot(deaths, [again[end - 1] for end in deaths], "kx", markersize=9, label="killed")
    axes.set(xlabel="epoch", ylabel="loss", title="Killed, resumed, and the same")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.figure.savefig(options.out)
    print(f"wrote {options.out}")
