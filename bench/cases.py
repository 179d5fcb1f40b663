"""The grid: which networks and shapes are measured, and what is asked of each; knows no system."""

from __future__ import annotations

from dataclasses import dataclass, replace

from job import Job
from targets import RAGGED_PER_STEP, Target, forward_targets, step_targets, train_targets

FEW_AT_ONCE = tuple((100, batch, hidden, hidden) for hidden in (128, 256) for batch in (2, 4, 8))
FORWARD_SHAPES = (  # T B I H
    (1, 1, 32, 32),
    (100, 1, 32, 32),
    (100, 1, 128, 128),
    (100, 1, 256, 256),
    (100, 1, 512, 512),
    *FEW_AT_ONCE,
    (100, 8, 64, 64),
    (50, 16, 128, 128),
    (50, 32, 256, 256),
    (50, 64, 512, 512),
)
TRAIN_SHAPES = (
    (100, 1, 32, 32),
    (100, 1, 128, 128),
    *FEW_AT_ONCE,
    (100, 32, 16, 64),
    (50, 16, 128, 128),
    (50, 32, 256, 256),
    (50, 64, 512, 512),
)
STEP_SIZES = (8, 32, 128)
OTHER_SHAPES = ((100, 1, 128, 128), (50, 16, 128, 128), (50, 32, 256, 256))  # LSTM, RNN
DOUBLE_SHAPES = ((100, 1, 128, 128), (50, 32, 256, 256))
STACK = Job("gru", "forward", 50, 16, 64, 128, layers=2, directions=2)
RAGGED = Job("gru", "forward", 100, 32, 64, 128, ragged=True)

MODES = {"forward": "forward", "train": "fwd+bwd", "step": "step"}
QUICK = {
    "gru-after forward T100 B1 I32 H32",
    "gru-after forward T100 B1 I128 H128",
    "gru-after forward T50 B16 I128 H128",
    "gru-before forward T100 B1 I128 H128",
    "gru-after fwd+bwd T100 B1 I128 H128",
    "gru-after fwd+bwd T50 B16 I128 H128",
    "gru-after step stream H32",
    "gru-after forward ragged T100 B32 I64 H128",
    "lstm forward T50 B16 I128 H128",
}


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    group: str
    job: Job
    targets: tuple[Target, ...] = ()
    twin: Job | None = None  # another job of ours, timed along with it
    twin_name: str = ""

    @property
    def quick(self) -> bool:
        return self.name in QUICK


def cell_name(job: Job) -> str:
    return f"gru-{job.form}" if job.cell == "gru" else job.cell


def shape_name(job: Job) -> str:
    return f"T{job.steps} B{job.batch} I{job.inputs} H{job.hidden}"


def title(job: Job) -> str:
    """Return a name that holds everything in which cases differ."""
    words = [cell_name(job), MODES[job.mode]]
    if job.mode == "step":
        return " ".join([*words, "stream" if job.via == "stream" else "call", f"H{job.hidden}"])
    if job.layers * job.directions > 1:
        words.append(f"{job.layers}x{job.directions}")
    if job.ragged:
        words.append("ragged")
    if job.dtype == "float64":
        words.append("float64")
    return " ".join([*words, shape_name(job)])


def gru_cases(form: str) -> list[Case]:
    """Return sequences of one GRU form; "before" is timed beside "after"."""
    cases = []
    for mode, shapes in (("forward", FORWARD_SHAPES), ("train", TRAIN_SHAPES)):
        for shape in shapes:
            job = Job("gru", mode, *shape, form=form)
            targets = (forward_targets if mode == "forward" else train_targets)(job)
            twin = replace(job, form="after") if form == "before" else None
            group = f"GRU {MODES[mode]}, reset {form}"
            cases.append(Case(title(job), group, job, targets, twin, "reset after"))
    return cases


def step_cases() -> list[Case]:
    """Return single steps, each a call from Python."""
    cases = []
    for form, via in (("after", "stream"), ("after", "layer"), ("before", "stream")):
        for size in STEP_SIZES:
            job = Job("gru", "step", 1, 1, size, size, form=form, via=via)
            cases.append(Case(title(job), "One step, called from Python", job, step_targets(job)))
    return cases


def stack_cases() -> list[Case]:
    """Return the two-layer bidirectional stack."""
    jobs = [replace(STACK, mode=mode) for mode in ("forward", "train")]
    return [Case(title(job), "Stack and ragged batch", job) for job in jobs]


def ragged_cases() -> list[Case]:
    """Return the ragged batch, and the same with full lengths, which is also its twin."""
    cases = []
    for mode in ("forward", "train"):
        ragged = replace(RAGGED, mode=mode)
        full = replace(ragged, ragged=False)
        group = "Stack and ragged batch"
        name = "full lengths, per valid step"
        cases.append(Case(title(ragged), group, ragged, (RAGGED_PER_STEP,), full, name))
        cases.append(Case(title(full), group, full))
    return cases


def other_cases() -> list[Case]:
    """Return LSTM and RNN."""
    cases = []
    for cell in ("lstm", "rnn"):
        for mode in ("forward", "train"):
            jobs = [Job(cell, mode, *shape) for shape in OTHER_SHAPES]
            cases += [Case(title(job), "LSTM and RNN", job) for job in jobs]
    return cases


def double_cases() -> list[Case]:
    """Return float64."""
    cases = []
    for mode in ("forward", "train"):
        for shape in DOUBLE_SHAPES:
            job = Job("gru", mode, *shape, dtype="float64", stored="float64")
            cases.append(Case(title(job), "float64", job))
    return cases


def all_cases() -> list[Case]:
    """Return the whole grid, in the table's order."""
    gru = gru_cases("after") + gru_cases("before")
    rest = double_cases() + step_cases() + stack_cases() + ragged_cases() + other_cases()
    grid = gru + rest
    assert {case.name for case in grid} >= QUICK
    assert len({case.name for case in grid}) == len(grid)
    return grid


BUSY_JOBS = tuple(  # with one core kept busy by another process
    Job("gru", mode, 50, batch, hidden, hidden)
    for batch, hidden in ((16, 128), (32, 256))
    for mode in ("forward", "train")
)


def scaling_jobs() -> list[Job]:
    """Return every different job of ours in the grid, for two threads against one."""
    jobs = [case.job for case in all_cases() if case.job.mode != "step"]
    return list(dict.fromkeys(jobs))
