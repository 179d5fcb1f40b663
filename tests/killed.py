"""Trains in children that are killed with SIGKILL at random moments, and resumes them.

Run as a program, so that the children are forked from a process with one thread:
``python killed.py FOLDER KILLS SEED`` prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import gru

EPOCHS = 4


def train(folder: Path | None, acknowledge: int | None = None) -> gru.Sequential:
    """A run with all that has a state: dropout, momentum, schedule, early stopping, callback."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(2, 7, 20)]
    y = np.array([int(item.sum() > 0) for item in X])
    model = gru.Sequential(
        [
            gru.GRU(2, 6, num_layers=2, dropout=0.2, seed=0),
            gru.Last(),
            gru.Dropout(0.2),
            gru.Linear(6, 2, seed=0),
        ]
    )
    plateau = gru.schedules.ReduceOnPlateau(0, 0.5)
    gru.fit(
        model,
        X,
        y,
        optimizer=gru.Adam(0.05),
        epochs=EPOCHS,
        batch_size=6,
        seed=3,
        validation=(X[:7], y[:7]),
        schedule=gru.schedules.WarmUp(3, then=plateau),
        early_stopping=gru.EarlyStopping(patience=3),
        callbacks=[Tell(acknowledge)],
        checkpoint=folder,
        checkpoint_minutes=0.0,  # after each step
        resume=folder is not None,
        verbose=False,
    )
    return model


class Tell(gru.Callback):
    """Tells the parent which epochs it may rely on; its own state counts steps."""

    def __init__(self, pipe: int | None) -> None:
        self.pipe, self.steps = pipe, 0

    def on_fit_start(self, run: gru.Run) -> None:
        self._say(f"resumed {run.epoch} {len(run.history)} {self.steps - run.step}\n")

    def on_step_end(self, run: gru.Run) -> None:
        self.steps += 1

    def on_checkpoint(self, run: gru.Run) -> None:
        self._say(f"done {run.epoch}\n")

    def _say(self, text: str) -> None:
        if self.pipe is not None:
            os.write(self.pipe, text.encode())

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


def weights(model: gru.Sequential) -> str:
    return b"".join(block.tobytes() for block in model.blocks().values()).hex()


def child(folder: Path, delay: float) -> tuple[bool, list[str]]:
    """Train in a child and kill it after a while: whether it was killed, and what it told."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            os.close(reading)
            made = train(folder, writing)
            (folder / "weights").write_text(weights(made))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    _, ended = os.waitpid(process, 0)
    if not os.WIFSIGNALED(ended) and os.WEXITSTATUS(ended):
        raise SystemExit(f"a child failed; it told {lines}")
    return os.WIFSIGNALED(ended), lines


def main(root: Path, kills: int, seed: int) -> None:
    gru.set_num_threads(1)
    start = time.perf_counter()
    wanted = weights(train(None))
    plain = time.perf_counter() - start
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {"kills": 0, "runs": 0, "lost": [], "same": True, "starts": []}
    while found["kills"] < kills:
        folder = root / f"run{found['runs']}"
        killed, safe = True, 0
        while killed:
            killed, lines = child(folder, float(rng.uniform(0.0, 0.02 + plain)))
            found["kills"] += killed
            for line in lines:
                word, epoch, *rest = line.split()
                if word == "resumed":
                    found["starts"].append(int(epoch))
                    if int(epoch) < safe or rest != [epoch, "0"]:
                        found["lost"].append([safe, line])
                else:
                    safe = int(epoch)
        found["same"] &= (folder / "weights").read_text() == wanted
        left = sorted(p.name for p in folder.iterdir() if p.suffix != ".safetensors")
        found["same"] &= left == ["weights"] and len(list(folder.iterdir())) == 3
        found["runs"] += 1
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
