"""The worker's end of the pipe: takes jobs, times calls, writes outputs; knows no system.

A request is one line, a reply is one line. Between requests the process blocks in a read, so it
uses no core while another system is measured.

=============================  ==================================================================
``prepare SLOT key=value ...``  make a task; ``ok NOTE``, or ``absent REASON``
``check SLOT PREFIX``           one call; writes ``PREFIX.NAME.bin``, ``ok NAME ...``
``burst SLOT CALLS EACH``       warm up, then time CALLS calls: ``ok NS ...``
``memory SLOT``                 peak bytes of one call: ``ok PEAK SAVED``
``drop SLOT``                   forget a task
=============================  ==================================================================
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, Protocol

import numpy as np

from job import Array, Job, read_arrays

WARM_UP_SECONDS = 1e-3  # long enough for a sleeping pool, the clock rate and the caches


class AbsentError(Exception):
    """The system has no way of doing a job."""


@dataclass
class Task:
    """A job that a system is ready to run: ``function(*arguments[k])`` is one timed call."""

    function: Callable[..., Any]
    arguments: Sequence[tuple[Any, ...]]  # one entry an input
    outputs: Callable[[], dict[str, Array]]  # what the first input gives; see measure.py for names
    note: str = ""  # which of several ways of calling was the fastest
    enter: Callable[[], None] = lambda: None  # before a burst
    saved_bytes: Callable[[], int] = lambda: 0  # kept between forward and backward, where known


class System(Protocol):
    """What a worker brings."""

    def version(self) -> str:
        """Return the version in one word."""
        ...

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        """Make a task, with everything done that need not be done at every call."""
        ...


def fastest(tasks: Sequence[Task], seconds: float = 0.05) -> Task:
    """Return the task with the quickest call, by the median over a short trial."""
    if len(tasks) == 1:
        return tasks[0]

    def trial(task: Task) -> float:
        task.enter()
        warm_up(task)
        times, end = [], perf_counter() + seconds
        while len(times) < 3 or perf_counter() < end:
            start = perf_counter()
            task.function(*task.arguments[len(times) % len(task.arguments)])
            times.append(perf_counter() - start)
        return float(np.median(times))

    return min(tasks, key=trial)


def warm_up(task: Task) -> None:
    end = perf_counter() + WARM_UP_SECONDS
    while True:
        for arguments in task.arguments:
            task.function(*arguments)
            if perf_counter() > end:
                return


def burst(task: Task, calls: int, each: bool) -> list[float]:
    """Return nanoseconds: of each call, or the mean of all if a call is too short for a clock."""
    task.enter()
    warm_up(task)
    function, rotation = task.function, task.arguments
    order = [rotation[k % len(rotation)] for k in range(calls)]
    if not each:
        start = perf_counter_ns()
        for arguments in order:
            function(*arguments)
        return [(perf_counter_ns() - start) / calls]
    times = []
    for arguments in order:
        start = perf_counter_ns()
        function(*arguments)
        times.append(float(perf_counter_ns() - start))
    return times


def status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def peak_bytes(task: Task) -> int:
    """Return how far one call raises the resident memory at its highest point."""
    task.enter()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else the call could live in pages that were freed before
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = status_bytes("VmRSS")
    task.function(*task.arguments[0])
    return status_bytes("VmHWM") - before


class Worker:
    """Answers requests for one system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.tasks: dict[str, Task] = {}

    def prepare(self, slot: str, *words: str) -> str:
        job = Job.parse(list(words))
        self.tasks[slot] = self.system.prepare(job, read_arrays(job))
        return self.tasks[slot].note

    def check(self, slot: str, prefix: str) -> str:
        self.tasks[slot].enter()
        outputs = self.tasks[slot].outputs()
        for name, array in outputs.items():
            np.ascontiguousarray(array).tofile(f"{prefix}.{name}.bin")
        return " ".join(outputs)

    def burst(self, slot: str, calls: str, each: str) -> str:
        return " ".join(f"{t:.1f}" for t in burst(self.tasks[slot], int(calls), each == "1"))

    def memory(self, slot: str) -> str:
        task = self.tasks[slot]
        peak = peak_bytes(task)
        return f"{peak} {task.saved_bytes()}"

    def drop(self, slot: str) -> str:
        self.tasks.pop(slot, None)
        gc.collect()
        return ""


def serve(system: System) -> None:
    """Answer requests until the other end closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like a reply
    worker = Worker(system)
    gc.disable()  # a collection in one burst and not in another would be noise
    print(f"ready {system.version()}", file=replies, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        try:
            reply = f"ok {getattr(worker, command)(*words)}"
        except AbsentError as reason:
            reply = f"absent {reason}"
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip() or type(error).__name__
            reply = f"failed {type(error).__name__}: {text.splitlines()[0]}"
        print(reply, file=replies, flush=True)
