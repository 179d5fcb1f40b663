"""Model files that are refused: foreign ones, and ours when damaged or forged."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from model_files import (
    EVERY_DTYPE,
    example,
    randomised,
    small,
)

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
    "header of many values": safetensors_file(
        b'{"__metadata__":{"format":"gru"},"w":[%s]}' % b",".join([b"{}"] * 200_000)
    ),
    "header of many names": safetensors_file(
        b'{"__metadata__":{"format":"gru"},%s}' % b",".join(b'"%x":0' % i for i in range(90_000))
    ),
    "header of one text": safetensors_file(
        b'{"__metadata__":{"format":"gru","a":"%s"}}' % (b"a" * 2_000_000)
    ),
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
