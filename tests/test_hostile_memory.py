"""A small file of many small things takes at most twice its size in memory while it is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LEAST = 8 << 20  # what a file of less than 4 MB may take
# What the C library is given back goes back to the system at once: else it would not be seen to be
# taken again.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, int]]:
    folder = tmp_path_factory.mktemp("swollen")
    done = subprocess.run(
        [sys.executable, str(TESTS / "swelling.py"), str(folder)],
        env=os.environ | GIVEN_BACK,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, tuple[str, int, int]] = json.loads(done.stdout)
    return found


def test_all_are_refused(opened: dict[str, tuple[str, int, int]]) -> None:
    assert len(opened) > 70
    bad = ("model", "died")
    assert {name: what for name, (what, _, _) in opened.items() if what.startswith(bad)} == {}


@pytest.mark.parametrize("kind", [".onnx", ".weights.h5", ".keras", ".safetensors", ".pt"])
def test_what_would_be_made_is_why(kind: str, opened: dict[str, tuple[str, int, int]]) -> None:
    why = [what for name, (what, _, _) in opened.items() if name.endswith(kind)]
    counted = [what for what in why if re.search(r"would take more than \d+ bytes of memory", what)]
    assert len(counted) >= 5, why


def test_memory_is_at_most_twice_the_file(opened: dict[str, tuple[str, int, int]]) -> None:
    sizes = {name: (size, most) for name, (_, size, most) in opened.items()}
    assert {name: s for name, s in sizes.items() if s[1] > max(2 * s[0], LEAST)} == {}
    assert max(most for _, most in sizes.values()) > LEAST // 2  # it can be measured
