"""Damaged and hostile files of every format: a model or one clear error, little memory, no crash.

Files are opened in processes of their own, which a crash would end and whose memory is limited.
``GRU_FUZZ_SEED`` chooses other damage, ``GRU_FUZZ_EACH`` how much of it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from samples import COMMITTED, SAMPLES

SEED = os.environ.get("GRU_FUZZ_SEED", "1")
EACH = os.environ.get("GRU_FUZZ_EACH", "1500")
TESTS = Path(__file__).parent
AT_ONCE = 2
ENDS_WITHIN = 600  # seconds; it takes about 60


def run(program: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a Python program; OpenBLAS, which is NumPy's, starts no threads that need memory."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )


# --- damage from a seed ---------------------------------------------------------------------------


def fuzzed(folder: Path, name: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    place = folder / name
    place.mkdir()
    return run([str(TESTS / "hostile.py"), str(place), SEED, EACH, str(COMMITTED / name)]), place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Any]]:
    """All samples, each in a process, two at a time."""
    folder = tmp_path_factory.mktemp("hostile")
    pool = ThreadPoolExecutor(AT_ONCE)
    return {name: pool.submit(fuzzed, folder, name) for name in SAMPLES}


def counts(runs: dict[str, Future[Any]], name: str) -> dict[str, float]:
    done, folder = runs[name].result()
    case = (folder / "case").read_text() if (folder / "case").exists() else "none"
    last = f"the last case was {case}the damaged file is {folder / 'damaged'}"
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{last}"
    found: dict[str, float] = json.loads(done.stdout)[name]
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_no_damage_does_harm(name: str, runs: dict[str, Future[Any]]) -> None:
    found = counts(runs, name)
    size = (COMMITTED / name).stat().st_size
    assert found["model"] + found["refused"] == size + int(EACH)
    assert found["refused"] >= size  # each file that is cut off, at least


def test_there_is_damage_enough(runs: dict[str, Future[Any]]) -> None:
    total = sum(counts(runs, name)[what] for name in SAMPLES for what in ("model", "refused"))
    assert total >= 20_000
