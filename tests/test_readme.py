"""README.md's example runs as it stands, and its table names the forms there are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import gru

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    block = re.search(r"## Ten lines\n\n```python\n(.*?)```", README, re.S)
    assert block is not None
    exec(compile(block.group(1), "README.md", "exec"), {})
    answers = capsys.readouterr().out.split()
    speech = gru.datasets.japanese_vowels()
    assert len(answers) == len(speech.X_test[0])
    assert int(answers[-1]) == speech.y_test[0]


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
