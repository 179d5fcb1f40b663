"""The command line and a reduced demo; that the full one keeps its promises is for CI to show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import check_demo
import gru
from gru.__main__ import main
from gru.demo.speech import scaled


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """One quick run in a process of its own: what it printed, wrote and left behind."""
    folder = tmp_path_factory.mktemp("demo")
    numbers = folder / "numbers.json"
    command = [sys.executable, "-W", "error", "-m", "gru", "demo", "--quick"]
    done = subprocess.run(
        [*command, "--out", str(folder / "out"), "--json", str(numbers)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout, json.loads(numbers.read_text()), folder / "out"


def test_it_prints_both_tables_and_a_stream(quick: tuple[str, dict[str, Any], Path]) -> None:
    text, numbers, _ = quick
    for cell in ("GRU, article form", "GRU, framework form", "LSTM", "RNN (tanh)"):
        assert text.count(f"  {cell:<20} ") == 2
    assert "a plain RNN does about as well" in text
    assert "step  1  speaker" in text
    assert "the same bits as" in text
    assert "NOT" not in text
    for row in numbers["speech"]:
        assert f"{row['parameters']:>10,} {row['median_seconds']:>8.1f}" in text
        assert f"{row['median_score']:.3f}" in text
    for row in numbers["memory"]:
        assert f"{row['median_score']:.4f}" in text
    assert f"{numbers['stream']['microseconds_per_step']:.1f} microseconds a step" in text


def test_the_saved_model_is_the_trained_one(quick: tuple[str, dict[str, Any], Path]) -> None:
    _, numbers, out = quick
    data, _ = scaled()
    model = gru.load(out / "gru.safetensors")
    assert "reset_after=False, update_gate='new'" in repr(model)
    accuracy = (model.predict(data.X_test).argmax(axis=1) == data.y_test).mean()
    assert accuracy == numbers["speech"][0]["scores"][0] == numbers["stream"]["accuracy"]
    shown = np.array(numbers["stream"]["probabilities"])
    assert shown.shape == (len(data.X_test[numbers["stream"]["utterance"]]), 9)
    np.testing.assert_allclose(shown.sum(axis=1), 1.0, rtol=1e-12)


def test_a_picture_where_matplotlib_is(quick: tuple[str, dict[str, Any], Path]) -> None:
    pytest.importorskip("matplotlib")
    _, numbers, out = quick
    assert numbers["picture"] == str(out / "demo.png")
    assert (out / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def scores(article: float = 0.97, gated: float = 0.001, plain: float = 0.167) -> dict[str, Any]:
    """What check_demo reads of the file."""
    cells = ("GRU, article form", "GRU, framework form", "LSTM", "RNN (tanh)")
    speech, memory = (article, 0.96, 0.5, 0.5), (gated, 0.001, 0.001, plain)
    return {
        "speech": [{"cell": c, "median_score": s} for c, s in zip(cells, speech, strict=True)],
        "memory": [{"cell": c, "median_score": s} for c, s in zip(cells, memory, strict=True)],
        "seconds": 40.0,
    }


def test_broken_promises_are_found(quick: tuple[str, dict[str, Any], Path]) -> None:
    assert check_demo.broken(scores(), seconds=60) == []
    for change, start in (
        ({"article": 0.95}, "speech: GRU, article form has a median accuracy of 0.950"),
        ({"gated": 0.02}, "memory: GRU, article form has a median error of 0.0200"),
        ({"gated": float("nan")}, "memory: GRU, article form has a median error of nan"),
        ({"plain": 0.001}, "memory: the plain RNN has a median error of 0.0010"),
    ):
        (line,) = check_demo.broken(scores(**change))
        assert line.startswith(start)
    assert check_demo.broken(scores(), seconds=40) == ["the demo took 40.0 s, promised are 40"]
    _, numbers, out = quick
    assert check_demo.broken(numbers)
    done = subprocess.run(
        [sys.executable, check_demo.__file__, str(out.parent / "numbers.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "speech: GRU, article form has" in done.stderr


def test_no_matplotlib_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gru.demo import picture
    from gru.plot import MissingError

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"gru-engine\[plot\]"):
        picture.draw(tmp_path / "x.png", {}, {}, [[1.0]], 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a command: train, predict, forecast, inspect, convert, serve, demo; gru --help"),
        (["dmeo"], "invalid choice: 'dmeo'"),
        (["demo", "--fast"], "unrecognized arguments: --fast"),
        (["demo", "--seeds", "0"], "--seeds: must be a whole number of at least 1, got '0'"),
        (["demo", "--seeds", "many"], "got 'many'"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--json"], "--json: expected one argument"),
        (["demo", "--json", "/no/such/folder/x.json"], "--json /no/such/folder/x.json: there is"),
        (["demo", "--json", "/dev/full"], "--json /dev/full: cannot be written: No space left"),
        (["demo", "--json", "-"], "--json -: needs a file"),
        (["demo", "--out", "/dev/null"], "--out /dev/null: is no folder"),
        (["demo", "--out", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"gru-engine {gru.__version__}\n"
