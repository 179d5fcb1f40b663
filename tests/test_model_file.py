"""The model file from outside: what comes back, other readers, every level, saves that fail."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from model_files import (
    EVERY_DTYPE,
    FORMS,
    NAMES,
    every_kind,
    example,
    randomised,
    small,
)

# --- what comes back ------------------------------------------------------------------------------


@EVERY_DTYPE
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_layer_comes_back(name: str, dtype: str, path: Path, isa: str) -> None:
    model = randomised(every_kind(dtype)[name])
    model.save(path)
    loaded, x = gru.load(path), example(model)
    assert repr(loaded) == repr(model)
    specs = [[layer.core(dtype).spec for layer in each.layers] for each in (loaded, model)]
    assert specs[0] == specs[1]
    assert list(loaded.parameters) == list(model.parameters)
    for key, value in model.parameters.items():
        assert_same_bits(loaded.parameters[key], value, key)
    for where in ({}, {"lengths": [6, 0, 3, 1]}):
        assert_same_bits(loaded(x, **where), model(x, **where))
    y, tape = model.forward(x, seed=3)
    y_loaded, tape_loaded = loaded.forward(x, seed=3)
    assert_same_bits(y_loaded, y)
    gradients = loaded.backward(tape_loaded, y)
    for key, value in model.backward(tape, y).items():
        assert_same_bits(gradients[key], value, key)
    again = path.with_name("again")
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


@EVERY_DTYPE
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_level_loads_at_any_level(
    name: str, dtype: str, path: Path, restore_isa: None
) -> None:
    model = randomised(every_kind(dtype)[name])
    for saved, loaded in product(gru.isa_levels(), repeat=2):
        gru.set_isa(saved)
        model.save(path)
        gru.set_isa(loaded)
        assert_same_bits(gru.load(path)(example(model)), model(example(model)))


@EVERY_DTYPE
@pytest.mark.parametrize(("inputs", "scale"), [(512, 1e6), (12, 1e4), (12, 1e-30)])
def test_weights_of_any_size_load_at_any_level(
    inputs: int, scale: float, dtype: str, path: Path, restore_isa: None
) -> None:
    """Levels round differently; where large terms cancel, by more than a share of what is left."""
    levels = gru.isa_levels()
    for seed in range(40):
        layer = gru.Linear(inputs, 64, seed=seed, dtype=dtype)
        layer.parameters["weight"] *= scale
        gru.set_isa(levels[-1])
        gru.Sequential([layer]).save(path)
        gru.set_isa(levels[0])
        gru.load(path)


ODD = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "largest": None, "-0": -0.0, "tiny": 1e-40}


@EVERY_DTYPE
@pytest.mark.parametrize("kind", ["gru", "gru new", "rnn relu", "linear"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_weights_come_back(odd: str, kind: str, dtype: str, path: Path) -> None:
    """A network that has diverged can be saved and looked at: the same bits, even so."""
    layer = {
        "gru": gru.GRU(3, 5, dtype=dtype),
        "gru new": gru.GRU(3, 5, update_gate="new", dtype=dtype),
        "rnn relu": gru.RNN(3, 5, nonlinearity="relu", dtype=dtype),
        "linear": gru.Linear(3, 5, dtype=dtype),
    }[kind]
    value = np.finfo(dtype).max if ODD[odd] is None else ODD[odd]
    for every in (False, True):
        for parameter in layer.parameters.values():
            parameter.ravel()[:: 1 if every else 3] = value
        model = gru.Sequential([layer])
        model.save(path)
        loaded = gru.load(path)
        for key, parameter in model.parameters.items():
            assert_same_bits(loaded.parameters[key], parameter, key)


NOTES = [
    {},
    {"": ""},
    {"checksum": "0" * 16, "format": "pt", "__metadata__": "{}", "architecture": "[]"},
    {'"checksum":"': '"checksum":"0123456789abcdef"'},
    {"text": "\u00e9\u4e16\U0001f600 \\ \" ' / \n\t\x00\x1f"},
    {"long": "x" * 100_000, **{str(i): str(i) for i in range(1000)}},
]


@pytest.mark.parametrize("notes", NOTES, ids=range(len(NOTES)))
def test_metadata_comes_back(notes: dict[str, str], path: Path) -> None:
    model = small()
    model.metadata.update(notes)
    model.save(path)
    assert gru.load(path).metadata == notes


@pytest.mark.parametrize(
    "name",
    ["a b", "\u00e9\u4e16", "x" * 255, "-", "m.tmp", os.fsdecode(b"\xff"), b"\xfe"],
    ids=repr,
)
def test_any_file_name(name: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    model = small()
    model.save(name)
    assert_same_bits(gru.load(name).parameters["2.bias"], model.parameters["2.bias"])
    assert os.listdir() == [os.fsdecode(name)]


# --- other readers --------------------------------------------------------------------------------


@EVERY_DTYPE
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_safetensors_reader_opens_it(form: dict[str, Any], dtype: str, path: Path) -> None:
    """PyTorch's names and shapes; the z rows in the convention of PyTorch, whatever the layer's."""
    safetensors = pytest.importorskip("safetensors")
    layers = [gru.GRU(3, 5, 2, bidirectional=True, dtype=dtype, **form), gru.Last()]
    model = randomised(gru.Sequential([*layers, gru.Linear(10, 2, dtype=dtype)]))
    model.metadata["classes"] = "a b"
    model.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
        assert file.metadata()["format"] == "gru"
    assert {"0.weight_ih_l0", "0.bias_hh_l1_reverse", "2.weight"} <= set(tensors)
    assert set(tensors) == set(model.parameters)
    for key, value in model.parameters.items():
        wanted = value.copy()
        if form["update_gate"] == "new" and key.startswith("0."):
            wanted[5:10] *= -1
        assert_same_bits(tensors[key], wanted, key)


@pytest.mark.parametrize("update", ["keep", "new"])
def test_a_torch_gru_reads_it(update: str, path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors")
    layer = gru.GRU(3, 5, 2, bidirectional=True, update_gate=update, dtype="float64")
    model = randomised(gru.Sequential([layer]))
    model.save(path)
    net = torch.nn.GRU(3, 5, 2, bidirectional=True, batch_first=True, dtype=torch.float64)
    with safetensors.safe_open(path, framework="pt") as file:
        named = {key.removeprefix("0."): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    net.load_state_dict(named)
    x = example(model)
    with torch.no_grad():
        y, _ = net(torch.from_numpy(x))
    np.testing.assert_allclose(model(x), y.numpy(), rtol=0, atol=1e-12)


# --- saves that fail ------------------------------------------------------------------------------


def test_a_save_over_a_file_replaces_it(path: Path) -> None:
    small().save(path)
    old = path.read_bytes()
    model = small(update_gate="new")
    model.save(path)
    assert path.read_bytes() != old
    assert repr(gru.load(path)) == repr(model)
    assert os.listdir(path.parent) == [path.name]


def test_a_loaded_model_survives_its_file(path: Path) -> None:
    """Nothing is mapped: the file may be overwritten, truncated and removed."""
    model = small()
    model.save(path)
    loaded = gru.load(path)
    path.write_bytes(b"")
    path.unlink()
    assert_same_bits(loaded(example(model)), model(example(model)))


def test_a_folder_in_the_way(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_text("kept")
    with pytest.raises(OSError, match=r"m\.safetensors"):
        small().save(path)
    assert os.listdir(path.parent) == [path.name]
    assert (path / "kept").read_text() == "kept"


@pytest.mark.parametrize("where", ["missing/m", "file/m", "x" * 256])
def test_a_path_that_cannot_be(where: str, path: Path) -> None:
    (path.parent / "file").write_text("a file")
    with pytest.raises(OSError, match=where):
        small().save(path.parent / where)
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder where not even root writes")
def test_an_unwritable_folder() -> None:
    with pytest.raises(OSError, match=r"/proc/self/m\.safetensors"):
        small().save("/proc/self/m.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_keeps_its_file(path: Path) -> None:
    small().save(path)
    old = path.read_bytes()
    path.parent.chmod(0o555)
    with pytest.raises(PermissionError, match=r"m\.safetensors"):
        small().save(path)
    path.parent.chmod(0o755)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_FSIZE")
def test_a_save_that_runs_out_of_space_keeps_the_old_file(path: Path) -> None:
    """The limit on a file's size stands in for a full disk: the write stops half-way."""
    small().save(path)
    old = path.read_bytes()
    program = f"""
import resource, signal, gru
model = gru.Sequential([gru.GRU(64, 64)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
model.save({str(path)!r})
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("OSError"), last
    assert path.name in last
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "notes", [{"a": 1}, {1: "a"}, {"a": None}, ["a"], {"a": "\ud800"}], ids=repr
)
def test_notes_that_are_no_text_are_refused(notes: Any, path: Path) -> None:
    model = small()
    model.save(path)
    old = path.read_bytes()
    model.metadata = notes
    with pytest.raises((TypeError, ValueError)):
        model.save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ({str(i): "" for i in range(20_000)}, "has more than 32768 values"),
        ({"a": "b" * 2_000_000}, r"has \d+ bytes, more than a model's"),
    ],
    ids=["many", "long"],
)
def test_notes_that_could_not_be_read_are_not_written(
    notes: dict[str, str], why: str, path: Path
) -> None:
    model = small()
    model.metadata = notes
    with pytest.raises(ValueError, match=f"model.* could not be opened again: .*{why}"):
        model.save(path)
    assert not path.exists()
    model.metadata = {name: text[:900_000] for name, text in list(notes.items())[:10_000]}
    model.save(path)
    assert gru.load(path).metadata == model.metadata


def test_a_symbolic_link_and_its_target_both_load(path: Path) -> None:
    small().save(path)
    link = path.with_name("link")
    link.symlink_to(path.name)
    assert_same_bits(gru.load(link).parameters["2.bias"], gru.load(path).parameters["2.bias"])


def test_threads_may_save_to_one_path(path: Path) -> None:
    """Each save succeeds, the file is always one of theirs, and nothing else is left behind."""
    models = [gru.Sequential([gru.GRU(8, 40, seed=seed)]) for seed in range(8)]
    models[0].save(path)

    def work(model: gru.Sequential) -> None:
        for _ in range(10):
            model.save(path)
            gru.load(path)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, models)) == [None] * 8
    assert os.listdir(path.parent) == [path.name]


def test_a_model_is_saved_under_the_umask(path: Path) -> None:
    """A service under another user reads it: as any new file, and not as a temporary one."""
    path.with_name("new").write_text("new")
    small().save(path)
    assert path.stat().st_mode == path.with_name("new").stat().st_mode
