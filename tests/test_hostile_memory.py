"""A small file of many small things takes at most twice its size in memory while it is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LEAST = 8 << 20  # what a file of less than 4 MB may take

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, int]]:
    folder = tmp_path_factory.mktemp("swollen")
    done = subprocess.run(
        [sys.executable, str(TESTS / "swollen.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, tuple[str, int, int]] = json.loads(done.stdout)
    return found


def test_all_are_refused(opened: dict[str, tuple[str, int, int]]) -> None:
    assert len(opened) > 50
    assert {name: what for name, (what, _, _) in opened.items() if what != "refused"} == {}


def test_memory_is_at_most_twice_the_file(opened: dict[str, tuple[str, int, int]]) -> None:
    sizes = {name: (size, most) for name, (_, size, most) in opened.items()}
    assert {name: s for name, s in sizes.items() if s[1] > max(2 * s[0], LEAST)} == {}
    large = [most for name, (size, most) in sizes.items() if size > LEAST // 3]
    assert max(large) > LEAST // 4  # the files are as bad as is allowed, or this shows nothing
