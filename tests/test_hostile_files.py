"""Damaged and hostile files of every format: a model or one clear error, little memory, no crash.

Files are opened in processes of their own, which a crash would end and whose memory is limited.
``GRU_FUZZ_SEED`` chooses other damage, ``GRU_FUZZ_EACH`` how much of it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from samples import COMMITTED, SAMPLES

SEED = os.environ.get("GRU_FUZZ_SEED", "1")
EACH = os.environ.get("GRU_FUZZ_EACH", "1500")
TESTS = Path(__file__).parent
AT_ONCE = 2
ENDS_WITHIN = 600  # seconds; it takes about 60


def run(program: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a Python program; OpenBLAS, which is NumPy's, starts no threads that need memory."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )


# --- damage from a seed ---------------------------------------------------------------------------


def fuzzed(folder: Path, name: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    place = folder / name
    place.mkdir()
    return run([str(TESTS / "hostile.py"), str(place), SEED, EACH, str(COMMITTED / name)]), place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Any]]:
    """All samples, each in a process, two at a time."""
    folder = tmp_path_factory.mktemp("hostile")
    pool = ThreadPoolExecutor(AT_ONCE)
    return {name: pool.submit(fuzzed, folder, name) for name in SAMPLES}


def counts(runs: dict[str, Future[Any]], name: str) -> dict[str, float]:
    done, folder = runs[name].result()
    case = (folder / "case").read_text() if (folder / "case").exists() else "none"
    last = f"the last case was {case}the damaged file is {folder / 'damaged'}"
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{last}"
    found: dict[str, float] = json.loads(done.stdout)[name]
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_no_damage_does_harm(name: str, runs: dict[str, Future[Any]]) -> None:
    found = counts(runs, name)
    size = (COMMITTED / name).stat().st_size
    assert found["model"] + found["refused"] == size + int(EACH)
    assert found["refused"] >= size  # each file that is cut off, at least


def test_there_is_damage_enough(runs: dict[str, Future[Any]]) -> None:
    total = sum(counts(runs, name)[what] for name in SAMPLES for what in ("model", "refused"))
    assert total >= 20_000


# --- files made to harm ---------------------------------------------------------------------------

LOAD = """\
import resource, sys, warnings
import gru
from pathlib import Path
from hostile import limit_memory, opens, resident
warnings.simplefilter("error")
gru.load(sys.argv[1])
before = resident()
print(opens(Path(sys.argv[2]), gru.load), resident() - before)
"""


def opened(path: Path, sample: str) -> tuple[str, int]:
    """What became of a file in a process of its own, and the memory that it took there."""
    done = run(["-c", LOAD, str(COMMITTED / sample), str(path)])
    assert done.returncode == 0, done.stderr[-3000:]
    found, memory = done.stdout.rsplit(" ", 1)
    return found, int(memory)


def archive(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return path


def entries(name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(COMMITTED / name) as source:
        return {entry: source.read(entry) for entry in source.namelist()}


@pytest.mark.parametrize("name", ["torch.pt", "model.keras"])
@pytest.mark.parametrize("which", range(3))
def test_a_zip_bomb_takes_no_memory(name: str, which: int, tmp_path: Path) -> None:
    """Any of the first entries is 300 MB of zeros, packed a thousandfold."""
    held = entries(name)
    held[list(held)[which]] = bytes(300_000_000)
    found, memory = opened(archive(tmp_path / "bomb", held, zipfile.ZIP_DEFLATED), name)
    assert found in ("refused", "model")  # an entry that is not needed need not be read
    assert memory < 16_000_000


class Harm:
    """Its pickle runs a command when it is read as Python reads it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.place}",)


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    for protocol in range(2, 6):
        content = pickle.dumps({"weight_ih": Harm(trap)}, protocol)
        held = {
            name: content if name.endswith("data.pkl") else value
            for name, value in entries("torch.pt").items()
        }
        path = archive(tmp_path / "net.pt", held)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            gru.load(path)
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a Python pickle, which may run code"):
            gru.load(path)
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()  # the trap is one


# --- memory ---------------------------------------------------------------------------------------

SIZE = 1200  # units: a file of 35 MB


def large(format: str, path: Path) -> Path:
    """A GRU without biases in a large file of one format."""
    rng = np.random.default_rng(0)
    layer = gru.GRU(SIZE, SIZE, bias=False, seed=0)
    if format == "safetensors":
        tensors = {name: np.array(value) for name, value in layer.parameters.items()}
        header, at = {}, 0
        for name, value in tensors.items():
            end = at + value.nbytes
            header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [at, end]}
            at = end
        text = json.dumps(header).encode()
        content = b"".join(value.tobytes() for value in tensors.values())
        path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    elif format == "onnx":
        gru.export(layer, path.with_suffix(".onnx"))
        path.with_suffix(".onnx").rename(path)
    elif format == "gru":
        gru.Sequential([layer]).save(path)
    else:
        held = entries({"torch": "torch.pt", "keras": "model.keras"}[format])
        held["torch.pt" if format == "torch" else "other"] = rng.bytes(35_000_000)
        archive(path, held)
    return path


DAMAGE = {
    "cut": lambda content: content[:-1],
    "halved": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "its start is changed": lambda content: content[:300].replace(b"1200", b"1201") + content[300:],
    "its end is changed": lambda content: content[:-1] + bytes([content[-1] ^ 255]),
}


@pytest.mark.parametrize(
    ("format", "sample"),
    [
        ("gru", "gru.safetensors"),
        ("safetensors", "torch.safetensors"),
        ("onnx", "model.onnx"),
        ("torch", "torch.pt"),
        ("keras", "model.keras"),
    ],
)
def test_a_damaged_file_takes_at_most_twice_its_size(
    format: str, sample: str, tmp_path: Path
) -> None:
    whole = large(format, tmp_path / "whole").read_bytes()
    assert len(whole) > 30_000_000
    for name, damage in DAMAGE.items():
        path = tmp_path / "damaged"
        path.write_bytes(damage(whole))
        found, memory = opened(path, sample)
        if found == "refused":
            assert memory <= 2 * len(whole), name
        else:
            assert found == "model", found
