"""Our two threads against our one: over the grid, and with one core kept busy."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import targets
from cases import BUSY_JOBS, scaling_jobs, title
from job import Job, write_arrays
from measure import Bursts, Entry, interleave, quartiles, ratio
from systems import OURS, Crew, cores_for

THREADS = 2
BUSY_ROUNDS = 4  # times as many: a 99th percentile needs calls
ONE, TWO = "1 thread", "2 threads"
Show = Callable[[dict[str, Any]], None]


def thread_bursts(job: Job, crew: Crew, folder: Path, rounds: int, seed: int) -> Bursts:
    """Time a job of ours on one thread and on two, in turns, in one process with two cores."""
    path = folder / "threads"
    job = replace(job, path=str(path))
    write_arrays(job)
    process = crew.live[OURS]
    entries = [Entry(label, process, str(n)) for n, label in ((1, ONE), (2, TWO))]
    for entry in entries:
        entry.prepare(replace(job, threads=int(entry.slot)))
        entry.calibrate()
    bursts, dead = interleave(entries, rounds, random.Random(f"{seed} {title(job)}"))
    if dead:
        raise RuntimeError(f"our worker ended: {dead}")
    for entry in entries:
        entry.drop()
    shutil.rmtree(path)
    return bursts


def scaling(folder: Path, rounds: int, seed: int, chosen: Callable[[str], Any], show: Show) -> None:
    """Two threads against one, for all shapes of the grid."""
    with Crew([OURS], THREADS, folder) as crew:
        for job in scaling_jobs():
            if not chosen(title(job)):
                continue
            bursts = thread_bursts(job, crew, folder, rounds, seed)
            one, two = ([float(np.median(b)) for b in bursts[label]] for label in (ONE, TWO))
            gain = ratio(one, two)
            bound = targets.SCALING if job.batch >= targets.SCALING_BATCH else targets.SCALING_FLOOR
            show(
                {
                    "case": title(job),
                    "one": quartiles(one),
                    "two": quartiles(two),
                    "ratio": gain,
                    "target": {"bound": bound, "met": gain["median"] >= bound},
                }
            )


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one of the two cores busy from another process."""
    spin = f"import os; os.sched_setaffinity(0, {{{cores_for(THREADS)[0]}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin], start_new_session=True)
    time.sleep(0.2)  # until it spins
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tail(seconds: list[float]) -> dict[str, float]:
    return {
        "median": float(np.median(seconds)),
        "mean": float(np.mean(seconds)),
        "p99": float(np.percentile(seconds, 99)),
        "calls": len(seconds),
    }


def busy(folder: Path, rounds: int, seed: int, chosen: Callable[[str], Any], show: Show) -> None:
    """Two threads against one while another process keeps one of the two cores busy."""
    with Crew([OURS], THREADS, folder) as crew, busy_core():
        for job in BUSY_JOBS:
            if not chosen(title(job)):
                continue
            bursts = thread_bursts(job, crew, folder, BUSY_ROUNDS * rounds, seed)
            one, two = (tail([t for burst in bursts[label] for t in burst]) for label in (ONE, TWO))
            gain = one["mean"] / two["mean"]
            met = gain >= targets.BUSY_MEAN
            show(
                {
                    "case": title(job),
                    "one": one,
                    "two": two,
                    "ratio_of_means": gain,
                    "target": {"bound": targets.BUSY_MEAN, "met": met},
                }
            )
