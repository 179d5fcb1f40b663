"""Every script of examples/ runs in its reduced form and writes its picture, without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if "scikit-learn" in script.read_text(encoding="utf-8"):
        pytest.importorskip("sklearn")
    picture = tmp_path / "picture.png"
    subprocess.run(
        [sys.executable, "-W", "error", str(script), "--quick", "--out", str(picture)],
        check=True,
        cwd=tmp_path,
    )
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(tmp_path.iterdir()) == [picture]
