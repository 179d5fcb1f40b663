"""How long whole processes take to start: gru with a model, against what else one could import."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import targets
from measure import quartiles

Show = Callable[[dict[str, Any]], None]

SAVE_MODEL = """
import sys, gru
gru.Sequential([gru.GRU(12, 64), gru.Last(), gru.Linear(64, 9)]).save(sys.argv[1])
"""
STARTS = {
    "gru, a model loaded": "import sys, gru; gru.load(sys.argv[1])",
    "numpy alone": "import numpy",
    "torch alone": "import torch",
    "python alone": "pass",
}


def start(folder: Path, rounds: int, seed: int, show: Show) -> None:
    """Time whole processes in turns."""
    model = str(folder / "model.safetensors")
    subprocess.run([sys.executable, "-c", SAVE_MODEL, model], check=True)
    rng = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for turn in range(rounds + 1):
        for name in rng.sample(list(STARTS), len(STARTS)):
            took = run_seconds(STARTS[name], model)
            if took is not None and turn:  # the first turn fills the file cache
                times[name].append(took)
    for name, seconds in times.items():
        if not seconds:
            continue
        row: dict[str, Any] = {"case": name, "seconds": quartiles(seconds)}
        if name.startswith("gru"):
            met = statistics.median(seconds) <= targets.START_SECONDS
            row["target"] = {"bound": targets.START_SECONDS, "met": met}
        show(row)


def run_seconds(code: str, argument: str) -> float | None:
    """Return how long a process takes, or ``None`` where it fails."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True)
    return time.perf_counter() - began if done.returncode == 0 else None
