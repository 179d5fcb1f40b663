"""What is asked of each row, and whether it is met; knows neither names of rows nor systems.

Ratios are the other's time divided by ours, medians over rounds, unless a target says "at most".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from job import Job


@dataclass(frozen=True)
class Target:
    """One figure of a row and its bound."""

    against: str  # "best", a system's name, "twin", "limit", "gflops", "seconds", "call"
    bound: float
    most: bool = False  # the bound is an upper one
    one_thread: bool = False  # asked of one thread only


# Sequences at B = 1: hidden size -> ratio to the best peer.
SINGLE = {32: 2.5, 128: 1.2, 256: 1.1, 512: 1.15}
# A few at once, H >= 128: batch -> ratio, GFLOP/s. B = 4 is held to what B = 2 is.
BATCHED = {2: (1.1, 90.0), 4: (1.1, 90.0), 8: (1.15, 100.0)}
SINGLE_TRAIN = {32: 2.2, 128: 1.4}
LIMIT = Target("limit", 1.1, most=True, one_thread=True)
FORM = Target("twin", 1.15, most=True)  # reset-before against our own reset-after
RAGGED_PER_STEP = Target("twin", 1.25, most=True)  # a valid step against one of a full batch
CALL_SECONDS = 2e-6  # of a small layer's call for one step
STREAM_CALL_SECONDS = 0.8e-6  # that Python adds to a stream's step
STEP = {8: 8.0, 32: 8.0, 128: 3.5}  # against ONNX Runtime's call

BUSY_MEAN = 0.7  # two threads against one, a core kept busy by another process
SCALING_BATCH, SCALING, SCALING_FLOOR = 16, 1.7, 0.95  # two threads against one
START_SECONDS = 0.15


def forward_targets(job: Job) -> tuple[Target, ...]:
    """Return what is asked of a GRU over whole sequences, for inference."""
    if job.steps == 1:
        return ()
    if job.form == "before":
        bound = {1: 1.2}.get(job.batch, 1.0 if job.batch >= 8 else None)
        return (Target("best", bound), FORM) if bound else (FORM,)
    if job.batch == 1:
        return (Target("best", SINGLE[job.hidden]), LIMIT)
    if job.hidden < 128:
        return ()
    bound, rate = BATCHED.get(job.batch, (1.0, 100.0))
    return (Target("best", bound), Target("gflops", rate, one_thread=True))


def train_targets(job: Job) -> tuple[Target, ...]:
    """Return what is asked of a GRU forward and backward; PyTorch has only one form."""
    rate: tuple[Target, ...] = ()
    if job.batch == 1:
        best, torch = SINGLE_TRAIN[job.hidden], 10.0
    elif job.batch < 16:
        return ()  # nothing was asked of training a few sequences at once
    elif job.hidden >= 256:
        best, torch, rate = 1.0, 1.35, (Target("gflops", 95.0, one_thread=True),)
    else:
        best, torch = (1.35, 4.0) if job.hidden == 64 else (1.1, 2.5)
    return (Target("best", best), FORM if job.form == "before" else Target("torch", torch), *rate)


def step_targets(job: Job) -> tuple[Target, ...]:
    """Return what is asked of one step from Python."""
    if job.via != "stream":
        return (Target("seconds", CALL_SECONDS, most=True),) if job.hidden == 8 else ()
    call = Target("call", STREAM_CALL_SECONDS, most=True)
    return (Target("onnxruntime", STEP[job.hidden]), call)


def evaluate(target: Target, row: dict[str, Any]) -> dict[str, Any]:
    """Return the figure, the bound and whether it is met; ``None`` where it was not measured."""
    value = figure(target.against, row)
    met = None
    if value is not None:
        met = value <= target.bound if target.most else value >= target.bound
    return {
        "against": target.against,
        "bound": target.bound,
        "most": target.most,
        "value": value,
        "met": met,
    }


def figure(against: str, row: dict[str, Any]) -> float | None:
    """Return one figure of a measured row."""
    if against == "gflops":
        return row.get("gflops")
    if against == "call":
        return row.get("call_seconds")
    if against == "seconds":
        ours = row["systems"]["ours"]
        return ours["seconds"]["median"] if "seconds" in ours else None
    if against == "limit":
        return 1 / row["of_limit"] if row.get("of_limit") else None
    if against == "twin":
        return row.get("twin", {}).get("median")
    ratio = row["ratio"] if against == "best" else row["ratios"].get(against)
    return ratio["median"] if ratio else None
