"""What a file is, is told from its content; what is none of ours is named."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gru
from gru.convert.formats import UnknownFormatError, kind


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for name in names:
            target.writestr(name, "x")
    return made.getvalue()


def safetensors(metadata: dict[str, str]) -> bytes:
    text = json.dumps({"__metadata__": metadata}).encode()
    return len(text).to_bytes(8, "little") + text


HDF5 = b"\x89HDF\r\n\x1a\n"
KNOWN = {
    "safetensors with metadata": (safetensors({"format": "pt"}), "safetensors"),
    "safetensors without": (b"\x02" + bytes(7) + b"{}", "safetensors"),
    "safetensors cut off": (safetensors({"format": "pt"})[:20], "safetensors"),
    "ours in other words": (safetensors({"a": "b", "format": "gru"}), "gru"),
    "keras": (archive("metadata.json", "config.json", "model.weights.h5"), "keras"),
    "torch": (archive("model/data.pkl", "model/data/0"), "torch"),
    "torch without a folder": (archive("data.pkl"), "torch"),
    "hdf5": (HDF5 + bytes(100), "hdf5"),
    "hdf5 behind another's block": (bytes(2048) + HDF5, "hdf5"),
    "onnx": (bytes([8, 10, 18, 2]) + b"me" + bytes([58, 3, 1, 2, 3]), "onnx"),
    "onnx cut off": (bytes([8, 10, 58, 127, 1]), "onnx"),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("suffix", ["", ".pt", ".txt"])
def test_the_content_counts_and_not_the_name(name: str, suffix: str, tmp_path: Path) -> None:
    content, wanted = KNOWN[name]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    assert kind(path) == wanted


def test_one_damaged_bit_does_not_make_our_file_another_systems(tmp_path: Path) -> None:
    """Its tensors have names that a PyTorch reader could take, without the layers between."""
    path = tmp_path / "m"
    gru.Sequential([gru.GRU(2, 3), gru.Last(), gru.Linear(3, 1)]).save(path)
    whole = path.read_bytes()
    assert kind(path) == "gru"
    for bit in range(8 * 400):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert kind(path) == "gru"


def legacy_pickle() -> bytes:
    return b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def npy() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(2))
    return made.getvalue()


UNKNOWN = {
    "empty": (b"", "it is empty"),
    "text": ("\n  Größe\nzweite".encode(), "it looks like text that begins with 'Größe'"),
    "long text": (b"a" * 9000, "begins with '" + "a" * 37 + "...'"),
    "text cut inside a character": (("a" + "ß" * 4000).encode(), "looks like text"),
    "json": (b'{"class_name": "Sequential"}', """begins with '{"class_name": "Sequential"}'"""),
    "web page": (b"<!DOCTYPE html><html>", "a web page instead of a file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS"),
    "old torch": (legacy_pickle(), "PyTorch's format from before version 1.6"),
    "pickle": (b"\x80\x04\x95\x10\x00", "a Python pickle, which may run code"),
    "npy": (npy(), r"a NumPy array \(.npy\)"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0", "a PNG picture"),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip archive; unpack it first"),
    "other bytes": (b"\x01\x02\x03\xff", "begins with the bytes 01 02 03 ff"),
    "a wheel": (archive("a/b.py", "c"), "neither config.json, .* it holds 'a/b.py', 'c'$"),
    "many entries": (archive(*"abcdef"), "it holds 'a', 'b', 'c', ...$"),
    "an empty zip": (archive(), "it holds nothing"),
    "zip cut off": (archive("config.json")[:-8], "cut off or damaged"),
    "protobuf of another kind": (b"\x08\x0a\x9a\x06\x01a", "begins with the bytes"),
    "ever the same field": (b"\x08\x01" * 3000 + b"\x3a\x00", "begins with the bytes"),
    "onnx without a graph": (b"\x08\x0a\x12\x02me", "begins with the bytes"),
}


def empty_entries(count: int, announced: int) -> bytes:
    """A zip file of empty members that all have one header, as a bomb has them."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", *[0] * 8, 1, 0) + b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 1, *[0] * 6) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, announced, 47 * count, len(local), 0)
    return local + entry * count + end


@pytest.mark.parametrize(("count", "announced"), [(50_000, 50_000), (20_000, 2)])
def test_a_zip_of_many_entries_takes_little_memory(
    count: int, announced: int, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.pt"
    path.write_bytes(empty_entries(count, announced))
    tracemalloc.start()
    with pytest.raises(UnknownFormatError, match="a longer directory than a model"):
        kind(path)
    took = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2_500_000


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_none_is_named(name: str, tmp_path: Path) -> None:
    content, message = UNKNOWN[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnknownFormatError, match=message) as caught:
        gru.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_what_is_wrong_is_told_apart(tmp_path: Path) -> None:
    """Each error has a public class, and all have one that is a ValueError."""
    path = tmp_path / "model.onnx"
    gru.export(gru.Sequential([gru.LSTM(3, 4)]), path)
    whole = path.read_bytes()
    wrong = {
        gru.DamagedFileError: whole[:-20],
        gru.UnsupportedError: whole.replace(b"LSTM", b"XSTM"),
        gru.UnknownFormatError: b"epoch,loss",
    }
    for error, content in wrong.items():
        path.write_bytes(content)
        with pytest.raises(error) as caught:
            gru.load(path)
        assert type(caught.value) is error
        assert issubclass(error, gru.FileError)
    assert issubclass(gru.FileError, ValueError)
