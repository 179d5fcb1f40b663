"""What the installed distribution promises: its name, needs, extras, size and a quiet import."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import gru
from gru import _core

DISTRIBUTION = metadata.distribution("gru-engine")
LARGEST_WHEEL = 3_000_000  # bytes

# All that an import may not pull in: extras, peers, and what is imported when it is used.
UNWANTED = [
    "gru.data",
    "gru.diagnostics",
    "gru.estimators",
    "gru.forecasting",
    "gru.functional",
    "gru.losses",
    "gru.optim",
    "gru.plot",
    "gru.service",
    "gru.train",
    "h5py",
    "hypothesis",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pandas",
    "prometheus_client",
    "pytest",
    "scipy",
    "sklearn",
    "starlette",
    "torch",
    "tqdm",
    "uvicorn",
    "websockets",
]


def requirements() -> dict[str, set[str]]:
    """Extra -> names of its requirements; "" holds those of the bare distribution."""
    found: dict[str, set[str]] = {"": set()}
    for requirement in DISTRIBUTION.requires or []:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*[\"']([\w.-]+)[\"']", requirement)
        assert name
        found.setdefault(extra[1] if extra else "", set()).add(name[0].lower())
    return found


def test_name_and_version() -> None:
    assert DISTRIBUTION.metadata["Name"] == "gru-engine"
    assert DISTRIBUTION.metadata["Requires-Python"] == ">=3.10"
    assert DISTRIBUTION.metadata["License-Expression"] == "Apache-2.0"
    assert gru.__version__ == DISTRIBUTION.version == gru.build_info()["version"]


def test_it_needs_numpy_and_tqdm_alone() -> None:
    assert requirements()[""] == {"numpy", "tqdm"}


def test_extras() -> None:
    extras = set(DISTRIBUTION.metadata.get_all("Provides-Extra") or [])
    assert extras >= {"plot", "test", "peers", "dev"}
    assert extras == {extra for extra in requirements() if extra}
    assert "matplotlib" in requirements()["plot"]
    assert requirements()["sklearn"] == {"scikit-learn"}
    assert {"starlette", "uvicorn", "websockets"} <= requirements()["service"]
    assert requirements()["service"] < requirements()["peers"]
    assert "pytest" in requirements()["test"]
    assert {"torch", "onnx", "onnxruntime"} <= requirements()["peers"]


def test_the_tests_need_nothing_heavy() -> None:
    assert not requirements()["test"] & (requirements()["peers"] | requirements()["plot"])


def test_it_is_typed() -> None:
    assert files("gru").joinpath("py.typed").is_file()
    assert files("gru").joinpath("_core.pyi").is_file()


def test_a_wheel_is_small() -> None:
    package, module = Path(gru.__file__).parent, Path(_core.__file__)
    found = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert package / "py.typed" in found
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in {*found, module}:
            wheel.write(path, path.name if path == module else str(path.relative_to(package)))
    assert len(packed.getvalue()) <= LARGEST_WHEEL


def fresh(program: str) -> Any:
    """What a new interpreter prints, read as JSON; OpenBLAS, which is NumPy's, starts no thread."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_an_import_pulls_in_nothing_else() -> None:
    modules = fresh("import json, sys, gru; print(json.dumps(sorted(sys.modules)))")
    assert "gru._core" in modules
    assert set(UNWANTED) & set(modules) == set()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux counts threads there")
def test_an_import_starts_no_thread() -> None:
    assert fresh("import os, gru; print(len(os.listdir('/proc/self/task')))") == 1


def test_every_public_name_is_there() -> None:
    """Some are imported when first asked for; all of them are listed, found, and found again."""
    assert set(gru.__all__) <= set(dir(gru))
    for name in gru.__all__:
        assert getattr(gru, name) is getattr(gru, name)
    with pytest.raises(AttributeError, match="module 'gru' has no attribute 'Gru'"):
        gru.Gru  # noqa: B018
