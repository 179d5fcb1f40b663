"""README.md's example runs as it stands, and its table names the forms there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def run(heading: str, names: dict[str, Any]) -> None:
    """Run the code under a heading, with the names that are there."""
    block = re.search(rf"## {heading}\n\n```python\n(.*?)```", README, re.S)
    assert block is not None
    exec(compile(block.group(1), "README.md", "exec"), names)


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    run("Ten lines", names)
    answers = capsys.readouterr().out.split()
    speech = gru.datasets.japanese_vowels()
    assert len(answers) == len(speech.X_test[0])
    assert int(answers[-1]) == speech.y_test[0]
    pytest.importorskip("matplotlib")
    run("See why it learns", names)
    assert capsys.readouterr().out.splitlines()[2].startswith("0.l0 gru")
    assert {path.name for path in tmp_path.iterdir()} >= {"flow.png", "gates.png"}


def test_the_table_of_forms() -> None:
    rows = re.findall(r"`reset_after=(\w+), update_gate=\"(\w+)\"`", README)
    assert {(r == "True", g) for r, g in rows} == {
        (after, gate) for after in (True, False) for gate in ("keep", "new")
    }
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    outputs = [gru.GRU(3, 4, reset_after=r == "True", update_gate=g, seed=0)(x)[0] for r, g in rows]
    for i, one in enumerate(outputs):
        for other in outputs[i + 1 :]:
            assert not np.allclose(one, other)
