"""What the figures were measured on: machine, commit, versions, and how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from gru import _core
from systems import BENCH

BUSY = 0.05  # a part of the cores that others use from which on a run is doubtful


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def caches() -> dict[str, str]:
    """Return the sizes of one core's caches."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (index / name).read_text().strip() for name in ("level", "type", "size")
        )
        found[f"L{level}{kind[0].lower() if kind != 'Unified' else ''}"] = size
    return found


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=BENCH, capture_output=True, text=True)
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """Return the commit, and whether files that count differ from it."""
    changed = git("status", "--porcelain", "--", "..", ":!results")
    dirty = bool(changed) or core_is_older()
    return {"commit": git("rev-parse", "--short=10", "HEAD"), "dirty": dirty}


def core_is_older() -> bool:
    """Return whether C++ sources changed after the core that is imported was built."""
    built = Path(_core.__file__).stat().st_mtime
    return any(path.stat().st_mtime > built for path in (BENCH.parent / "cpp").rglob("*.[ch]pp"))


def busy_share(seconds: float = 0.5) -> float:
    """Return which part of all cores works now, while we do not."""

    def ticks() -> tuple[int, int]:
        values = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(values[:8]), values[3] + values[4]  # all; idle and waiting

    total, idle = ticks()
    time.sleep(seconds)
    total_after, idle_after = ticks()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def describe() -> dict[str, Any]:
    """Return all that does not depend on a system."""
    return {
        "date": date.today().isoformat(),
        **commit(),
        "machine": {
            "cpu": cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "caches": caches(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_before": os.getloadavg()[0],
            "busy_before": busy_share(),
        },
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
