"""What the machine could do at best: measured limits, and the shortest time they leave a job."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import gru
from job import GATES, Job
from systems import BENCH, BUILD, cmake_build, cores_for

KERNELS = BUILD / "bench" / "gru_kernels"


@dataclass(frozen=True)
class Limits:
    """What one core does."""

    fma: dict[str, float]  # dtype -> FLOP/s
    bandwidth: Sequence[tuple[float, float]]  # bytes of the working set, bytes/s read
    steps: dict[str, float]  # seconds of a stream's step from C++
    isa: str

    def bytes_per_second(self, size: float) -> float:
        """Return the bandwidth at a working set, between the measured ones by its logarithm."""
        sizes, rates = zip(*sorted(self.bandwidth), strict=True)
        return float(np.interp(np.log(size), np.log(sizes), rates))


def parse(report: dict[str, Any]) -> Limits:
    """Read what the kernels' program prints."""
    fma = {dtype: rate * 1e9 for dtype, rate in report["fma_gflops"].items()}
    pairs = [(float(at["bytes"]), at["gbs"] * 1e9) for at in report["bandwidth_gbs"]]
    return Limits(fma, pairs, report.get("step_seconds", {}), report["isa"])


def step_seconds(job: Job, limits: Limits) -> float | None:
    """Return how long a stream's step takes from C++."""
    return limits.steps.get(f"{job.cell}_{job.form} H={job.hidden} {job.dtype}")


def measure() -> tuple[dict[str, Any], str]:
    """Build and run the kernels' program; return its report, or why there is none."""
    if not (BENCH / "CMakeLists.txt").exists():
        return {}, "bench/CMakeLists.txt is missing"
    problem = cmake_build(BENCH.parent, KERNELS.parent, "gru_kernels", ["-DGRU_BENCH=ON"])
    if problem:
        return {}, problem
    found: list[dict[str, Any]] = []
    for words in (["--limits"], ["--only", "step", "--isa", gru.active_isa()]):
        pin = partial(os.sched_setaffinity, 0, cores_for(1))
        command = [str(KERNELS), *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin)
        if done.returncode:
            return {}, (done.stderr.strip().splitlines() or ["it failed"])[-1]
        found.append(json.loads(done.stdout))
    report, steps = found
    report["step_seconds"] = {
        f"{row['cell']} {row['shape']} {row['type']}": row["us"] * 1e-6 for row in steps["rows"]
    }
    return report, ""


@dataclass(frozen=True)
class Work:
    """What one job must do at least, over all layers."""

    input_flops: float  # products whose rows are all steps at once
    hidden_flops: float  # products that go step by step
    steps: int
    hidden_bytes: float  # of one layer's recurrent weights, all directions
    layers: int


def work_of(job: Job) -> Work:
    """Count the work of a forward pass: 2 FLOP for each weight and row."""
    rows, wide = int(job.lengths().sum()), GATES[job.cell] * job.hidden * job.directions
    inputs = sum(job.width(layer) for layer in range(job.layers))
    size = np.dtype(job.dtype).itemsize
    return Work(
        2.0 * rows * wide * inputs,
        2.0 * rows * wide * job.hidden * job.layers,
        int(job.lengths().max()),
        float(wide * job.hidden * size),
        job.layers,
    )


def flops(job: Job) -> float:
    """Return the job's FLOPs; backward takes twice what forward takes."""
    work = work_of(job)
    return (work.input_flops + work.hidden_flops) * (3 if job.mode == "train" else 1)


def limit_seconds(job: Job, limits: Limits, threads: int) -> float:
    """Return the shortest time that the limits leave.

    The input product, and in backward the gradients of the weights and of x, have all steps as rows
    and are bound by FMA. What goes step by step is bound by FMA or by reading the recurrent weights
    once a step, whichever takes longer; with N threads each core reads its part of them.
    """
    work = work_of(job)
    fma = limits.fma[job.dtype] * threads
    part = work.hidden_bytes / threads
    reading = work.layers * work.steps * part / limits.bytes_per_second(part)
    stepwise = max(work.hidden_flops / fma, reading)
    forward = work.input_flops / fma + stepwise
    if job.mode != "train":
        return forward
    # dx and dW_x like the input product, dh like the recurrent one, dW_h with all steps at once.
    return forward + (2 * work.input_flops + work.hidden_flops) / fma + stepwise
