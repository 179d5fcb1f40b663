"""Damaged and hostile files of every format: a model or one clear error, little memory, no crash.

Files are opened in processes of their own, which a crash would end and whose memory is limited.
``GRU_FUZZ_SEED`` chooses other damage, ``GRU_FUZZ_EACH`` how much of it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from samples import COMMITTED, SAMPLES

SEED = os.environ.get("GRU_FUZZ_SEED", "1")
EACH = os.environ.get("GRU_FUZZ_EACH", "4000")
TESTS = Path(__file__).parent
AT_ONCE = 2
ENDS_WITHIN = 1800  # seconds; all of it takes about 80 on two free cores


def run(program: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a Python program; OpenBLAS, which is NumPy's, starts no threads that need memory."""
    places = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": places},
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
import json, sys, warnings
import gru
from pathlib import Path
from hostile import limit_memory, opens, resident
warnings.simplefilter("error")
gru.load(sys.argv[1])
limit_memory()
before = resident()
found = [opens(Path(path), gru.load) for path in sys.argv[2:]]
print(json.dumps([found, resident() - before]))
"""


def opened(sample: str, *paths: Path) -> tuple[list[str], int]:
    """What became of files in a process of its own, and the most memory that one took there."""
    done = run(["-c", LOAD, str(COMMITTED / sample), *map(str, paths)])
    assert done.returncode == 0, done.stderr[-3000:]
    found, memory = json.loads(done.stdout)
    return found, memory


def archive(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return path


def entries(name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(COMMITTED / name) as source:
        return {entry: source.read(entry) for entry in source.namelist()}


@pytest.mark.parametrize("name", ["torch.pt", "model.keras"])
def test_a_zip_bomb_takes_no_memory(name: str, tmp_path: Path) -> None:
    """Any of the first entries is 100 MB of zeros, packed a thousandfold."""
    bombs = []
    for entry in list(entries(name))[:3]:
        held = entries(name) | {entry: bytes(100_000_000)}
        bombs.append(archive(tmp_path / str(len(bombs)), held, zipfile.ZIP_DEFLATED))
    found, memory = opened(name, *bombs)
    assert set(found) <= {"refused", "model"}  # what is not needed need not be read
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


# --- little files that ask for much ---------------------------------------------------------------


def state_dict(path: Path, tensors: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.save(tensors, path)


def expanded(path: Path) -> None:
    """1.2 GB of zeros, of which the file holds one."""
    zero = pytest.importorskip("torch").zeros(1).expand(30_000, 10_000)
    state_dict(path, {"weight_ih_l0": zero, "weight_hh_l0": zero})


def tied(path: Path) -> None:
    """Three hundred layers with the same numbers."""
    numbers = pytest.importorskip("torch").zeros(600, 200)
    names = [f"{role}_l{i}" for role in ("weight_ih", "weight_hh") for i in range(300)]
    state_dict(path, dict.fromkeys(names, numbers))


def long_key(path: Path) -> None:
    """A key that each of the names below it would repeat."""
    one = pytest.importorskip("torch").zeros(1)
    state_dict(path, {"k" * 300_000: {f"a{i}.weight": one for i in range(2000)}})


def graph(path: Path, nodes: list[Any], constants: dict[str, Any], width: int) -> None:
    onnx = pytest.importorskip("onnx")
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs = [onnx.helper.make_tensor_value_info("x", 1, ["t", "b", width])]
    outputs = [onnx.helper.make_tensor_value_info("y", 1, None)]
    made = [onnx.helper.make_node(kind, *given, **more) for kind, *given, more in nodes]
    whole = onnx.helper.make_graph(made, "g", inputs, outputs, tensors)
    opset = [onnx.helper.make_opsetid("", 17)]
    path.write_bytes(
        onnx.helper.make_model(whole, opset_imports=opset, ir_version=8).SerializeToString()
    )


def shared(path: Path) -> None:
    """Four hundred nodes with the same numbers."""
    nodes: list[Any] = []
    for i in range(400):
        nodes.append(("GRU", [f"s{i}" if i else "x", "W", "W"], [f"y{i}"], {}))
        nodes.append(("Squeeze", [f"y{i}", "one"], [f"s{i + 1}" if i < 399 else "y"], {}))
    graph(path, nodes, {"W": np.zeros((1, 600, 200), np.float32), "one": np.array([1])}, 200)


def wide(path: Path) -> None:
    """One number for each of half a billion features."""
    nodes = [("Add", ["x", "one"], ["a"], {}), ("Relu", ["a"], ["y"], {})]
    graph(path, nodes, {"one": np.ones(1, np.float32)}, 500_000_000)


def squared(path: Path, first: str) -> None:
    """A size, or a number, that is squared forty times."""
    nodes: list[Any] = [("Shape", ["x"], ["s0"], {})] if first == "size" else []
    nodes += [("Mul", [f"s{i}"] * 2, [f"s{i + 1}"], {}) for i in range(40)]
    nodes.append(("Reshape", ["x", "s40"], ["y"], {}))
    graph(path, nodes, {} if first == "size" else {"s0": np.array([3])}, 5)


MUCH: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "expanded": ("torch.pt", expanded, "made by expand"),
    "tied": ("torch.pt", tied, "more than 4 times the file"),
    "a long key": ("torch.pt", long_key, "keys too long"),
    "shared": ("model.onnx", shared, "more than 4 times the file"),
    "wide": ("model.onnx", wide, "more than 4 times the file"),
    "a size squared": ("model.onnx", partial(squared, first="size"), "more than any size"),
    "a number squared": ("model.onnx", partial(squared, first="number"), "more than any size"),
}


@pytest.mark.parametrize("name", MUCH)
def test_a_little_file_cannot_ask_for_much_memory(name: str, tmp_path: Path) -> None:
    sample, make, message = MUCH[name]
    path = tmp_path / "asks"
    make(path)
    assert path.stat().st_size < 1_000_000
    found, memory = opened(sample, path)
    assert found == ["refused"]
    assert memory < 24_000_000
    with pytest.raises(ValueError, match=message) as caught:
        gru.load(path)
    assert len(str(caught.value)) < 5000


# --- memory ---------------------------------------------------------------------------------------

SIZE = 700  # units: a file of 12 MB


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
        held["torch.pt" if format == "torch" else "other"] = rng.bytes(12_000_000)
        archive(path, held)
    return path


def damaged(content: bytes, format: str) -> list[bytes]:
    """The file cut at its end and in its middle, and where that is seen, with a byte too much."""
    made = [content[:-1], content[: len(content) // 2]]
    if format in ("gru", "safetensors"):
        made.append(content + b"x")
    if format == "gru":
        made.append(content[:-1] + bytes([content[-1] ^ 255]))
    return made


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
    assert len(whole) > 10_000_000
    paths = []
    for i, content in enumerate(damaged(whole, format)):
        paths.append(tmp_path / str(i))
        paths[-1].write_bytes(content)
    found, memory = opened(sample, *paths)
    assert set(found) == {"refused"}
    assert memory <= 2 * len(whole)
