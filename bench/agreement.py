"""Whether two systems computed the same thing; knows neither who they are nor how fast."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from job import Array, Job

# Forward in absolute figures, because states lie in [-1, 1]; each gradient as a part of the largest
# entry of its array, because a sum over T * B rows has no size of its own.
FORWARD = {"float32": 2e-5, "float64": 1e-12}
GRADIENT = {"float32": 1e-4, "float64": 1e-11}


def read_output(prefix: str, name: str, dtype: str) -> Array:
    """Read what a worker's ``check`` wrote."""
    return np.fromfile(Path(f"{prefix}.{name}.bin"), dtype)


def is_gradient(name: str) -> bool:
    return name.startswith("d")


def error(job: Job, name: str, got: Array, wanted: Array) -> float:
    """Return how far an output is off, in the terms of the tolerances."""
    if got.size != wanted.size:
        return float("inf")
    difference = np.abs(got.astype(np.float64) - wanted)
    if name in ("y", "dx") and job.ragged:  # what stands at padded steps is nobody's business
        difference = difference.reshape(*job.valid().shape, -1)[job.valid()]
    scale = float(np.abs(wanted).max()) if is_gradient(name) else 1.0
    return float(difference.max()) / scale


def compare(job: Job, names: Iterable[str], got: str, wanted: str) -> dict[str, float]:
    """Return the errors of all outputs that a worker wrote; ``wanted`` is in float64."""
    errors = {}
    for name in names:
        output = read_output(got, name, job.dtype)
        errors[name] = error(job, name, output, read_output(wanted, name, "float64"))
    return errors


def complaint(job: Job, errors: dict[str, float]) -> str:
    """Return what is off by more than the tolerance, or nothing."""
    worst = ""
    for name, value in errors.items():
        bound = (GRADIENT if is_gradient(name) else FORWARD)[job.dtype]
        if not value <= bound:  # so that nan is off too
            worst = f"{name} is off by {value:.1e}, {bound:.0e} is allowed"
    return worst
