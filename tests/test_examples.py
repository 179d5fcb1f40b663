"""Every script of examples/ runs in its reduced form, without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


CONVERSIONS = [path for path in EXAMPLES if path.stem.startswith("convert_")]
PICTURES = [path for path in EXAMPLES if path not in CONVERSIONS]


def run(script: Path, folder: Path, *options: str) -> str:
    command = [sys.executable, "-W", "error", str(script), "--quick", *options]
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("script", PICTURES, ids=lambda path: path.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if "scikit-learn" in script.read_text(encoding="utf-8"):
        pytest.importorskip("sklearn")
    picture = tmp_path / "picture.png"
    run(script, tmp_path, "--out", str(picture))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(tmp_path.iterdir()) == [picture]


@pytest.mark.parametrize("script", CONVERSIONS, ids=lambda path: path.stem)
def test_example_converts(script: Path, tmp_path: Path) -> None:
    """Those need the framework they are about; they print how far the outputs are apart."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip(script.stem.removeprefix("convert_"))
    found = re.findall(r"largest difference from .*: (\S+)", run(script, tmp_path))
    assert found
    assert all(float(number) < 1e-6 for number in found)
