"""The model file from outside: other readers, every level, damage, and saves that fail."""

from __future__ import annotations

import json
import os
import re
import struct
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
from reference import Array

DTYPES = ("float32", "float64")
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
FORMS: list[dict[str, Any]] = [
    {"reset_after": after, "update_gate": update}
    for after in (True, False)
    for update in ("keep", "new")
]


def every_kind(dtype: str) -> dict[str, gru.Sequential]:
    """Models that together hold every kind of layer in every form."""
    of: dict[str, Any] = {"dtype": dtype}
    models = {
        f"gru {form}": [gru.GRU(3, 5, 2, bidirectional=i % 2 > 0, seed=i, **form, **of)]
        for i, form in enumerate(FORMS)
    }
    models |= {
        f"rnn {function}": [gru.RNN(3, 5, nonlinearity=function, bias=False, seed=4, **of)]
        for function in ("tanh", "relu")
    }
    models |= {
        f"activation {function}": [gru.Linear(3, 4, seed=5, **of), gru.Activation(function)]
        for function in ("relu", "tanh", "sigmoid", "softmax")
    }
    models |= {
        name: [gru.LSTM(3, 4, 2, bidirectional=True, dropout=0.5, seed=6, **of), pool]
        for name, pool in {
            "last": gru.Last(),
            "both ends": gru.Last(bidirectional=True),
            "mean": gru.Mean(),
            "max": gru.Max(),
        }.items()
    }
    models["embedding"] = [gru.Embedding(7, 3, seed=7, **of), gru.Linear(3, 2, bias=False, **of)]
    models["dropout"] = [gru.Linear(3, 300, seed=8, **of), gru.Dropout(1.0)]
    models["no parameters"] = [gru.Dropout(0.1), gru.Activation("tanh"), gru.Max()]
    return {name: gru.Sequential(layers) for name, layers in models.items()}


NAMES = list(every_kind("float32"))


def randomised(model: gru.Sequential) -> gru.Sequential:
    rng = np.random.default_rng(1)
    for block in model.blocks().values():
        block[...] = 0.7 * rng.normal(size=block.shape)
    return model


def example(model: gru.Sequential) -> Array:
    rng = np.random.default_rng(2)
    if model.input_dtype.kind == "i":
        return rng.integers(0, 7, (4, 6))
    return rng.normal(size=(4, 6, 3)).astype(model.dtype)


def small(**of: Any) -> gru.Sequential:
    return randomised(gru.Sequential([gru.GRU(3, 5, **of), gru.Last(), gru.Linear(5, 2)]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder of its own."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "m.safetensors"


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


# --- files that are not ours ----------------------------------------------------------------------


def safetensors_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


WEIGHT = {"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
FOREIGN = {
    "safetensors without metadata": safetensors_file(WEIGHT, b"\0" * 8),
    "safetensors of torch": safetensors_file(
        {"__metadata__": {"format": "pt"}, **WEIGHT}, b"8" * 8
    ),
    "metadata is a list": safetensors_file({"__metadata__": ["gru"]}),
    "metadata of numbers": safetensors_file({"__metadata__": {"format": 1}}),
    "format alone": safetensors_file({"__metadata__": {"format": "gru"}}),
    "later version": safetensors_file({"__metadata__": {"format": "gru", "format_version": "2"}}),
    "header is a list": safetensors_file([]),
    "header is null": safetensors_file(None),
    "header is no JSON": safetensors_file(b"{'a': 1}"),
    "header is not UTF-8": safetensors_file(b'{"__metadata__": {"format": "\xff"}}'),
    "header is empty": safetensors_file(b""),
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "longest header": b"\xff" * 8 + b"{}",
    "deep header": safetensors_file(b"[" * 500_000),
    "text": b"The quick brown fox jumps over the lazy dog.\n" * 9,
    "empty": b"",
    "seven bytes": b"1234567",
    "eight zeros": b"\0" * 8,
    "png": PNG,
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
    "zip": b"PK\x03\x04" + b"\0" * 60,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused(name: str, path: Path) -> None:
    path.write_bytes(FOREIGN[name])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        gru.load(path)


def test_nothing_to_load(path: Path) -> None:
    for missing in (path, path / "below", path.parent / ("x" * 300)):
        with pytest.raises(OSError, match=r"m\.safetensors|xxx") as caught:
            gru.load(missing)
        assert str(missing) in str(caught.value)
    with pytest.raises(FileNotFoundError):
        gru.load(path)
    with pytest.raises(IsADirectoryError) as folder:
        gru.load(path.parent)
    assert str(path.parent) in str(folder.value)
    path.write_text("a file")
    with pytest.raises(NotADirectoryError):
        gru.load(path / "below")


@pytest.mark.parametrize("bad", [None, 3, "a\0b", ["m"]], ids=repr)
def test_what_is_no_path(bad: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    model = small()
    model.save("a")
    for call in (gru.load, model.save):
        with pytest.raises((TypeError, ValueError, OSError)):
            call(bad)
    assert os.listdir() == ["a"]


def loads_in_a_process_of_its_own(path: Path) -> str:
    """The error of a load that might take the process, or all memory, with it."""
    program = f"""
import resource, gru
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
gru.load({str(path)!r})
"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("place", ["metadata", "format", "tensor"])
def test_a_deeply_nested_header_is_refused(place: str, path: Path) -> None:
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    header = {
        "metadata": b'{"__metadata__": {"a": %b}}',
        "format": b'{"__metadata__": {"format": %b}}',
        "tensor": b'{"__metadata__": {"format": "gru"}, "0.weight": %b}',
    }[place]
    path.write_bytes(safetensors_file(header % deep))
    error = loads_in_a_process_of_its_own(path)
    assert error.startswith(("ValueError: ", "gru.convert.damage.DamagedFileError: "))


# --- files that were ours -------------------------------------------------------------------------


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def forged(path: Path, change: Any) -> None:
    """Edit the header and mend the checksum, as an attacker or another writer would."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"]["checksum"] = "0" * 16
    change(header["__metadata__"], header)
    text = json.dumps(header, separators=(",", ":")).encode()
    made = safetensors_file(text, raw[8 + length :])
    digits = made.index(b'"checksum":"') + len(b'"checksum":"')
    path.write_bytes(made[:digits] + b"%016x" % fnv1a(made) + made[digits + 16 :])


def in_layer(**fields: Any) -> Any:
    """The first layer's description changed."""

    def change(metadata: dict[str, str], _: dict[str, Any]) -> None:
        layers = json.loads(metadata["architecture"])
        layers[0].update(fields)
        metadata["architecture"] = json.dumps(layers)

    return change


def in_metadata(**fields: Any) -> Any:
    return lambda metadata, _: metadata.update(fields)


def in_tensor(**fields: Any) -> Any:
    return lambda _, header: header["0.weight_ih_l0"].update(fields)


def untouched(*_: Any) -> None:
    """Only written again, by Python's JSON."""


def test_a_mended_checksum_is_right(path: Path) -> None:
    small().save(path)
    forged(path, untouched)
    gru.load(path)


LIES = {
    "hidden size": in_layer(hidden_size=6),
    "huge": in_layer(hidden_size=2**24, input_size=2**24, num_layers=1024),
    "larger than 64 bits": in_layer(hidden_size=2**62),
    "far larger": in_layer(hidden_size=10**30),
    "negative": in_layer(hidden_size=-5),
    "a float": in_layer(hidden_size=5.0),
    "many layers": in_layer(num_layers=10**9),
    "no layers": in_metadata(architecture="[]"),
    "nulls": in_metadata(architecture="[null]"),
    "kind": in_layer(kind="transformer"),
    "kind of another layer": in_layer(kind="lstm"),
    "dropout": in_layer(dropout=1e300),
    "update gate": in_layer(update_gate=""),
    "the other reset": in_layer(reset_after=False),
    "architecture is no JSON": in_metadata(architecture="["),
    "architecture is deep": in_metadata(architecture="[" * 100_000 + "]" * 100_000),
    "dtype": in_metadata(dtype="float64"),
    "unknown dtype": in_metadata(dtype="float16"),
    "empty self-check": in_metadata(self_check="[]"),
    "null self-check": in_metadata(self_check=json.dumps([None] * 4)),
    "wrong self-check": in_metadata(self_check="[0.5, 0.5, 0.5, 0.5]"),
    "self-check of words": in_metadata(self_check='["a", "b", "c", "d"]'),
    "notes are a list": in_metadata(user="[1]"),
    "notes are numbers": in_metadata(user='{"a": 1}'),
    "notes are missing": lambda metadata, _: metadata.pop("user"),
    "tensor shape": in_tensor(shape=[3, 15]),
    "tensor dtype": in_tensor(dtype="I32"),
    "tensor offsets": in_tensor(data_offsets=[-4, 176]),
    "tensor offsets beyond": in_tensor(data_offsets=[0, 2**63]),
    "tensor is a string": lambda _, header: header.update({"0.weight_ih_l0": "x"}),
    "tensor is missing": lambda _, header: header.pop("0.weight_ih_l0"),
    "another tensor": lambda _, header: header.update({"9.weight": header["0.weight_ih_l0"]}),
}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused(name: str, path: Path) -> None:
    small().save(path)
    forged(path, LIES[name])
    error = loads_in_a_process_of_its_own(path)
    assert error.startswith("ValueError"), error
    assert str(path) in error


def test_either_update_gate_reads_the_file(path: Path) -> None:
    """On disk z rows are in the keep convention, so what the layer wants does not show."""
    model = small()
    model.save(path)
    forged(path, in_layer(update_gate="new"))
    loaded = gru.load(path)
    assert loaded.layers[0].update_gate == "new"
    assert_same_bits(loaded(example(model)), model(example(model)))


@EVERY_DTYPE
def test_damage_is_noticed(dtype: str, path: Path) -> None:
    """50 truncations and 300 flipped bits of the largest mixed model; C++ does a small one."""
    layers = [
        gru.Embedding(7, 3, dtype=dtype),
        gru.GRU(3, 5, 2, bidirectional=True, update_gate="new", dtype=dtype),
        gru.LSTM(10, 4, dtype=dtype),
        gru.Mean(),
        gru.Linear(4, 3, dtype=dtype),
    ]
    model = randomised(gru.Sequential(layers))
    model.metadata["note"] = "x"
    model.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(4)
    damaged = [whole[:size] for size in rng.choice(len(whole), 50, replace=False)]
    for bit in rng.choice(8 * len(whole), 300, replace=False):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for each in [*damaged, whole + b"\0", whole[::-1], whole + whole]:
        path.write_bytes(each)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            gru.load(path)
    path.write_bytes(whole)
    gru.load(path)


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
