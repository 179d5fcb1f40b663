"""README.md's example runs as it stands, and its table names the forms there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.cmake import cmake_dir

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
    exec(compile(snippet("In a service", "python"), "README.md", "exec"), names)
    steps = min(len(x) for x in speech.X_test[:2])
    expected = [names["model"](x[None, :steps])[0] for x in speech.X_test[:2]]
    np.testing.assert_array_equal(names["scores"], expected)
    pytest.importorskip("matplotlib")
    run("See why it learns", names)
    assert capsys.readouterr().out.splitlines()[2].startswith("0.l0 gru")
    assert {path.name for path in tmp_path.iterdir()} >= {"flow.png", "gates.png"}


def snippet(heading: str, language: str) -> str:
    block = re.search(rf"## {heading}\n.*?```{language}\n(.*?)```", README, re.S)
    assert block is not None
    return block[1]


def test_the_sections_from_cpp_and_from_c_build_and_run(tmp_path: Path) -> None:
    """Both print what Python's stream gives, in a project made of the snippets alone."""
    if not (shutil.which("cmake") and shutil.which("c++") and shutil.which("cc")):
        pytest.skip("needs CMake and compilers")
    try:
        folder = cmake_dir()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    model = gru.Sequential([gru.GRU(12, 64, seed=0), gru.Last(), gru.Linear(64, 9, seed=1)])
    model.save(tmp_path / "speaker.safetensors")
    gru.export(model, tmp_path / "weights.h")
    frame, stream = np.zeros((1, 12), np.float32), model.stream()
    for t in range(100):
        frame[0, t % 12] += np.float32(0.1)
        scores = stream.step(frame)
    for heading, language in (("From C\\+\\+", "cpp"), ("From C", "c")):
        project = tmp_path / language
        project.mkdir()
        (project / f"program.{language}").write_text(snippet(heading, language))
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\n"
            f"project(readme LANGUAGES {'CXX' if language == 'cpp' else 'C'})\n"
            f"add_executable(program program.{language})\n"
            "target_include_directories(program PRIVATE ..)\n" + snippet("From C\\+\\+", "cmake")
        )
        for command in (
            ["cmake", "-S", project, "-B", project / "build", f"-Dgru_DIR={folder}"],
            ["cmake", "--build", project / "build"],
            [project / "build" / "program"],
        ):
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert np.float32(done.stdout) == scores[0, 0]


def test_the_section_in_a_service_serves(tmp_path: Path) -> None:
    """The commands as they stand, but for the installation and the port."""
    for needed in ("starlette", "uvicorn", "websockets", "prometheus_client"):
        pytest.importorskip(needed)
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    model = gru.Sequential([gru.GRU(12, 64, seed=0), gru.Last(), gru.Linear(64, 9, seed=1)])
    model.save(tmp_path / "speaker.safetensors")
    _, serve, ask = snippet("In a service", "sh").splitlines()
    assert serve.startswith("gru serve ")
    assert " --port 8000" in serve
    command = [sys.executable, "-m", *serve.replace(" --port 8000", " --port 0").split()]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = re.search(r":(\d+)", server.stdout.readline())
            assert port
            asked = shlex.split(ask.replace("localhost:8000", f"127.0.0.1:{port[1]}"))
            answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
            x = np.arange(1, 13, dtype=np.float32).reshape(1, 1, 12)
            np.testing.assert_array_equal(
                np.array(json.loads(answer.stdout)["y"], np.float32), model(x)[0]
            )
        finally:
            server.terminate()
        assert server.wait(60) == 0


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
