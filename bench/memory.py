"""Peak bytes of one forward and backward pass, ours and PyTorch's, each in a fresh process."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from job import Job, write_arrays
from process import DeadError, Process, RefusedError
from systems import OURS, Crew

SYSTEMS = (OURS, "torch")


def measure(job: Job, crew: Crew, folder: Path) -> dict[str, Any]:
    """Return name -> peak bytes and, of ours, what is kept between forward and backward."""
    job = replace(job, threads=crew.threads, path=str(folder / "memory"))
    # The first call of a process also brings in code; a tiny job of the same kind does so before.
    tiny = replace(job, steps=2, batch=2, ragged=False, path=str(folder / "tiny"))
    for one in (job, tiny):
        write_arrays(one)
    found = {}
    for name in SYSTEMS:
        if name not in crew.live:
            continue
        try:
            found[name] = in_fresh_process(crew, name, job, tiny)
        except (DeadError, RefusedError):
            continue  # the row itself says why
    for one in (job, tiny):
        shutil.rmtree(one.path)
    return found


def in_fresh_process(crew: Crew, name: str, job: Job, tiny: Job) -> dict[str, Any]:
    """Return the peak of the first call: nothing is left over from earlier ones."""
    process = Process(crew.launch(name))
    try:
        process.await_ready()
        process.ask("prepare", "tiny", tiny.line())
        process.ask("burst", "tiny", "1", "1")
        process.ask("drop", "tiny")
        process.ask("prepare", "main", job.line())
        peak, saved = map(int, process.ask("memory", "main").split())
    finally:
        process.close()
    found: dict[str, Any] = {"peak_bytes": peak}
    if saved:
        found |= {"saved_bytes": saved, "saved_per_unit": per_unit(job, saved)}
    return found


def per_unit(job: Job, saved: int) -> float:
    """Return the numbers kept for each step, row and unit, without the layers' inputs."""
    rows = int(job.lengths().sum())
    inputs = rows * sum(job.width(layer) for layer in range(job.layers))
    units = rows * job.layers * job.directions * job.hidden
    return (saved / np.dtype(job.dtype).itemsize - inputs) / units
