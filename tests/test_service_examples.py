"""examples/service/: its scripts run, and so do the lines of its README and of docs/service.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from serving import LONG, NPY, Running, npy, numbers, read_npy, serve, settle

__all__ = ["serve"]  # a fixture

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "service"
STRICT = [sys.executable, "-W", "error"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of train.py, trained far too little."""
    path = tmp_path_factory.mktemp("example") / "speakers.safetensors"
    command = [*STRICT, str(EXAMPLE / "train.py"), "--quick", "--out", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert re.match(r"right at \d+% of the frames", done.stdout)
    return path


def test_the_client_gets_the_same_bits_both_ways(
    trained: Path, serve: Callable[..., Running]
) -> None:
    running = serve(str(trained))
    command = [*STRICT, str(EXAMPLE / "client.py"), running.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONG)
    assert "frames, the same bits: True" in done.stdout


def test_the_app_runs_in_uvicorn(trained: Path, tmp_path: Path) -> None:
    """Without our server: the address is what uvicorn says."""
    httpx = pytest.importorskip("httpx")
    log = tmp_path / "log"
    command = [*STRICT, "-m", "uvicorn", "--app-dir", str(EXAMPLE), "app:app", "--port", "0"]
    with (
        log.open("w") as err,
        subprocess.Popen(
            command, stderr=err, env={**os.environ, "GRU_MODEL": str(trained)}
        ) as server,
    ):
        try:
            settle(lambda: re.search(r"running on (\S+)", log.read_text()))
            url = re.search(r"running on (\S+)", log.read_text())
            assert url
            x = numbers(9, 12)
            answer = httpx.post(f"{url[1]}/predict", content=npy(x), headers=NPY, timeout=LONG)
            np.testing.assert_array_equal(read_npy(answer.content), gru.load(trained)(x[None])[0])
            server.terminate()
            server.wait(LONG)
        finally:
            server.kill()
    assert "Application shutdown complete" in log.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_readme_s_lines(trained: Path, tmp_path: Path, serve: Callable[..., Running]) -> None:
    running = serve(str(trained))
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    _, asking = re.findall(r"```sh\n(.*?)```", text, re.S)
    script = asking.replace("http://127.0.0.1:8000", running.url).replace("curl -s", "curl -sfS")
    script = script.replace("python ", f"{sys.executable} ")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    assert '{"status":"ready"}' in done.stdout
    assert 'gru_requests_total{code="200",route="/predict"} 2.0' in done.stdout
    x = np.ones((1, 5, 12), np.float32)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), gru.load(trained)(x)[0])


def test_the_documentation_s_code_and_limits(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gru.service import Settings

    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained, "speaker.safetensors")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "service.md", "exec"), names)
    app = names["app"]
    routes = set(re.findall(r"^\| (?:`GET |`POST |WebSocket `)(/\w*)`", text, re.M))
    assert routes == {route.path for route in app.routes}
    shown = dict(re.findall(r"^\| `--([\w-]+)` \| ([\d.,]+)", text, re.M))
    units = {"max-body": 2**20, "max-json": 2**10, "max-answer": 2**20}
    for name, value in shown.items():
        if name != "threads":
            wanted = getattr(Settings(), name.replace("-", "_"))
            assert float(value.replace(",", "")) * units.get(name, 1) == wanted, name
    metrics = set(re.findall(r"^\| `(gru_\w+)` \|", text, re.M))
    found = app.state.service.metrics.text().decode()
    assert metrics == {
        re.sub(r"^# TYPE (\w+) .*", r"\1", line)
        for line in found.splitlines()
        if line.startswith("# TYPE") and "_created" not in line
    }
