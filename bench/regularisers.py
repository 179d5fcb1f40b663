#!/usr/bin/env python3
"""Time what regularisers and memory_limit add to a training step, in turns with the step without.

Prints two Markdown tables. README.md beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import figures
import gru
import machine
from measure import Entry, interleave, quartiles, ratio
from report import markdown
from systems import cores_for
from workers.protocol import Task, Worker

ROUNDS, QUICK_ROUNDS = 25, 2
INPUTS = 8
NONE, WHOLE = "none", "whole tape"
RATES: dict[str, dict[str, float]] = {
    NONE: {},
    "dropout": {"dropout": 0.2},
    "input dropout": {"input_dropout": 0.2},
    "recurrent dropout": {"recurrent_dropout": 0.2},
    "zoneout": {"zoneout": 0.1},
}
RATES["all together"] = {name: rate for rates in RATES.values() for name, rate in rates.items()}
MOST_ADDED, MOST_REPEATED = 1.10, 1.40  # asked: of regularisers, of the least memory limit
SHAPES = ((64, 100, 16), (32, 50, 32), (1, 200, 32), (32, 50, 64), (16, 100, 128))  # B T H
LONG = (  # cell, B, T, H
    ("GRU", 1, 20_000, 64),
    ("GRU", 32, 1000, 32),
    ("GRU", 16, 500, 128),
    ("GRU", 64, 200, 64),
    ("LSTM", 1, 20_000, 64),
    ("LSTM", 32, 500, 64),
    ("RNN", 32, 1000, 64),
)


class Here:
    """A worker in this process, for whoever asks one through a pipe otherwise."""

    def __init__(self, tasks: dict[str, Task]) -> None:
        self.worker = Worker(None)  # type: ignore[arg-type]
        self.worker.tasks = tasks

    def ask(self, command: str, *words: str) -> str:
        return str(getattr(self.worker, command)(*words))

    def settle(self) -> None:
        """Nothing spins: there is one thread."""


def step(layer: Any, shape: tuple[int, int, int], limit: int | None = None) -> Task:
    """Return one forward and backward as a task; inputs take turns."""
    batch, steps, hidden = shape
    rng = np.random.default_rng(0)
    dy = rng.standard_normal((batch, steps, hidden), dtype=np.float32)
    xs = [rng.standard_normal((batch, steps, INPUTS), dtype=np.float32) for _ in range(3)]

    def call(x: np.ndarray) -> None:
        _, _, tape = layer.forward(x, memory_limit=limit)
        layer.backward(tape, dy)

    return Task(call, [(x,) for x in xs], dict)


def least_limit(layer: Any, batch: int, steps: int) -> int:
    """Return the least limit for a call, which the error about a smaller one names."""
    try:
        layer.forward(np.zeros((batch, steps, INPUTS), np.float32), memory_limit=1)
    except ValueError as error:
        return int(re.findall(r"at least (\d+) bytes", str(error))[0])
    return 1


def measure(tasks: dict[str, Task], rounds: int, rng: random.Random) -> dict[str, list[float]]:
    """Return the median of each task's burst, round by round, the tasks taking turns."""
    here = Here(tasks)
    entries = [Entry(name, here, slot=name) for name in tasks]  # type: ignore[arg-type]
    for entry in entries:
        entry.calibrate()
    bursts, _ = interleave(entries, rounds, rng)
    return {name: [float(np.median(burst)) for burst in found] for name, found in bursts.items()}


def against(times: dict[str, list[float]], name: str, plain: str, most: float) -> str:
    """Return the ratio to the plain step, round by round, and whether it is what is asked."""
    found = ratio(times[name], times[plain])
    mark = "" if found["median"] <= most else " MISSED"
    return f"{found['median']:.2f} [{found['q1']:.2f}, {found['q3']:.2f}]{mark}"


Measure = Callable[[dict[str, Task]], dict[str, list[float]]]


def regularisers(timed: Measure, shapes: Sequence[tuple[int, int, int]]) -> list[str]:
    """Time every regulariser of a GRU of two layers."""
    rows = []
    for batch, steps, hidden in shapes:
        shape = (batch, steps, hidden)
        layers = {n: gru.GRU(INPUTS, hidden, 2, seed=0, **rates) for n, rates in RATES.items()}
        times = timed({name: step(layer, shape) for name, layer in layers.items()})
        rows.append([
            f"B{batch} T{steps} H{hidden}",
            figures.timing(quartiles(times[NONE])),
            *(against(times, name, NONE, MOST_ADDED) for name in RATES if name != NONE),
        ])  # fmt: skip
    header = ["GRU, two layers", "none, µs", *(f"{name} / none" for name in RATES if name != NONE)]
    return markdown(header, rows)


def limits(timed: Measure, cases: Sequence[tuple[str, int, int, int]]) -> list[str]:
    """Time the least memory limit against the whole tape, one layer."""
    rows = []
    for cell, batch, steps, hidden in cases:
        layer, shape = getattr(gru, cell)(INPUTS, hidden, seed=0), (batch, steps, hidden)
        x = np.zeros((batch, steps, INPUTS), np.float32)
        least, whole = least_limit(layer, batch, steps), layer.forward(x)[2].nbytes
        times = timed({WHOLE: step(layer, shape), "least": step(layer, shape, least)})
        rows.append([
            f"{cell} B{batch} T{steps} H{hidden}",
            figures.timing(quartiles(times[WHOLE])),
            figures.kib(whole),
            figures.kib(least),
            against(times, "least", WHOLE, MOST_REPEATED),
        ])  # fmt: skip
    return markdown(["", "whole tape, µs", "its KiB", "least limit, KiB", "least / whole"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0, help="of the order in which they work")
    parser.add_argument("--quick", action="store_true", help="two shapes, two rounds: does it run?")
    options = parser.parse_args()
    few = 2 if options.quick else None
    rounds, rng = QUICK_ROUNDS if options.quick else options.rounds, random.Random(options.seed)
    about = machine.describe()
    if about["machine"]["busy_before"] > machine.BUSY:
        busy = about["machine"]["busy_before"]
        print(f"WARNING: others keep {busy:.0%} of the cores busy: these figures will mislead")
    os.sched_setaffinity(0, cores_for(1))
    gru.set_num_threads(1)

    def timed(tasks: dict[str, Task]) -> dict[str, list[float]]:
        return measure(tasks, rounds, rng)

    dirty = " with changes" if about["dirty"] else ""
    print(
        f"{about['date']}, commit {about['commit']}{dirty}, {rounds} rounds, one thread, ", end=""
    )
    print(f"{about['machine']['cpu']}, {gru.active_isa()}; I = {INPUTS}\n")
    print("\n".join(regularisers(timed, SHAPES[-2:] if few else SHAPES)), "", sep="\n", flush=True)
    print("\n".join(limits(timed, LONG[3:5] if few else LONG)))
    print(f"\nAsked: at most {MOST_ADDED:.2f} and {MOST_REPEATED:.2f}, the median.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
