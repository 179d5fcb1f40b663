"""The files of checkpoints: damage is seen, full disks and bad settings are named."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gru import tensor_file
from gru.checkpoint import Folder
from resumed import fit, model


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b"", lambda content: b"\0" * 99])
def test_the_older_of_two_is_used(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    wanted, _ = fit(tmp_path)
    newest = Folder(tmp_path).files()[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"{newest.name}: .*checkpoint-00000003.* is used"):
        found, _ = fit(tmp_path, resume=True)
    assert found == wanted
    assert [path.name[-13:-12] for path in Folder(tmp_path).files()] == ["3", "5"]
    for path in Folder(tmp_path).files():
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no checkpoint can be read: .*00000005.*; .*00000003"):
        fit(tmp_path, resume=True)


def test_any_changed_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    arrays = {"a": np.arange(5, dtype=np.float32), "b": np.zeros((0, 2)), "c": np.array([True])}
    content = b"".join(tensor_file.pieces(arrays, {"step": 1, "name": "é"}))
    path.write_bytes(content)
    found, notes = tensor_file.read(path)
    assert notes == {"step": 1, "name": "é"}
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    for i in range(len(content)):
        for bad in (content[:i], content[:i] + bytes([content[i] ^ 4]) + content[i + 1 :]):
            path.write_bytes(bad)
            with pytest.raises(tensor_file.DamagedFileError, match="file: "):
                tensor_file.read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(tensor_file.DamagedFileError, match="file: "):
        tensor_file.read(path)


def test_a_checkpoint_is_a_safetensors_file(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    made = model()
    fit(tmp_path, made)
    found = library.load_file(Folder(tmp_path).files()[-1])
    for name, block in made.blocks().items():
        assert np.array_equal(found[f"model.{name}"], block)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk; a child sets it for itself."""
    wanted, _ = fit()
    fit(tmp_path, epochs=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from resumed import fit\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "fit(sys.argv[1], resume=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "OSError: [Errno 27] checkpoint " in done.stderr
    assert "00000003.safetensors could not be written: File too large; " in done.stderr
    assert "checkpoint-00000002.safetensors is whole" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert fit(tmp_path, resume=True)[0] == wanted
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"resume": True}, ValueError, "resume needs checkpoint, the folder of the run"),
        ({"folder": ""}, ValueError, "checkpoint must be the name of a folder, got ''"),
        ({"folder": b""}, ValueError, "checkpoint must be the name of a folder, got ''"),
        ({"folder": 3}, TypeError, "checkpoint must be a string or a path, got 3"),
        ({"folder": "x", "resume": "yes"}, TypeError, "resume must be True or False, got 'yes'"),
        ({"folder": "x", "checkpoint_minutes": -1}, ValueError, "minutes must be at least 0"),
    ],
)
def test_bad_settings(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fit(**change)
