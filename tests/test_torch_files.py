"""Files of PyTorch that are damaged or hostile: a clear error each, no code run, little memory."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from gru.convert import pickled, safetensors
from torch_files import (
    archive,
    called,
    dict_of,
    gru_arrays,
    headed,
    number,
    program,
    pt,
    tensor,
    text,
    tuple_of,
)
from torch_files import safetensors as safetensors_file

WRITERS = {"net.pt": pt, "net.safetensors": safetensors_file}
EVERY_WRITER = pytest.mark.parametrize("name", WRITERS)
ARRAYS = gru_arrays(2, 2)
NUMBERS = {"0": bytes(24)}


def written(folder: Path, content: bytes, name: str = "net.pt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# --- whole files ----------------------------------------------------------------------------------


@EVERY_WRITER
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_a_file_without_torch(name: str, dtype: str, tmp_path: Path) -> None:
    arrays = gru_arrays(3, 4, dtype)
    layer = gru.load_torch(written(tmp_path, WRITERS[name](arrays), name), "")
    for key, array in arrays.items():
        assert_same_bits(layer.parameters[key], array.astype(layer.dtype), key)


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**16, 64, dtype=np.uint16)
    header = {"w": {"dtype": "BF16", "shape": [64], "data_offsets": [0, 128]}}
    path = written(tmp_path, headed(header, bits.tobytes()))
    found = np.asarray(safetensors.read(path)["w"])
    assert found.dtype == np.float32
    assert_same_bits(found.view(np.uint32), bits.astype(np.uint32) << 16)


def test_a_file_of_a_big_endian_machine(tmp_path: Path) -> None:
    content = archive(
        program(dict_of({"w": tensor("0", 6, (2, 3))})),
        {"0": np.arange(6, dtype=">f4").tobytes()},
        byteorder=b"big",
    )
    found = np.asarray(pickled.read(written(tmp_path, content))["w"])
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.dtype == np.dtype("=f4")


def test_views_of_one_storage(tmp_path: Path) -> None:
    raw = {"0": np.arange(12, dtype="<f4").tobytes()}
    views = {
        "whole": tensor("0", 12, (3, 4)),
        "transposed": tensor("0", 12, (4, 3), (1, 4)),
        "every other": tensor("0", 12, (2, 2), (4, 2), offset=3),
        "scalar": tensor("0", 12, (), offset=7),
        "none": tensor("0", 12, (0, 5)),
    }
    found = pickled.read(written(tmp_path, archive(program(dict_of(views)), raw)))
    whole = np.arange(12.0).reshape(3, 4)
    assert np.asarray(found["whole"]).tolist() == whole.tolist()
    assert np.asarray(found["transposed"]).tolist() == whole.T.tolist()
    assert np.asarray(found["every other"]).tolist() == [[3, 5], [7, 9]]
    assert np.asarray(found["scalar"]) == 7
    assert np.asarray(found["none"]).shape == (0, 5)


def test_plain_containers(tmp_path: Path) -> None:
    """Protocols 3 to 5 of Python's own pickler; PyTorch writes 2."""
    given = {
        "a": [1, 2.5, None, True, b"x", ("y", 10**30)],
        3: {},
        (1, "b"): [[]],
        "long": "z" * 300,
    }
    for protocol in (3, 4, 5):
        content = archive(pickle.dumps(given, protocol), {})
        assert pickled.read(written(tmp_path, content)) == given


# --- pickles that are programs --------------------------------------------------------------------

EXIT = program(called("os system", text("touch ran")))
PROGRAMS = {
    "os.system": (EXIT, "os.system"),
    "builtins": (program(called("builtins eval", text("1"))), "builtins.eval"),
    "getattr": (program(called("builtins getattr", text("1"), text("x"))), "builtins.getattr"),
    "a stack's global": (program(text("posix") + text("system") + b"\x93"), "posix.system"),
    "an old instance": (program(b"(" + text("touch ran") + b"ios\nsystem\n"), "opcode INST"),
    "an object": (program(b"(cos\nsystem\n" + text("ls") + b"o"), "os.system"),
    "newobj": (program(b"ctorch\nSize\n)\x81"), "opcode NEWOBJ"),
    "an extension": (program(b"\x82\x01"), "opcode EXT1"),
    "a text reference": (program(b"Pname\n"), "opcode PERSID"),
    "a module": (program(called("torch.nn.modules.rnn GRU")), "torch.nn.modules.rnn.GRU"),
    "numpy": (program(b"cnumpy\ndtype\n"), "numpy.dtype"),
    "deep names": (program(b"ctorch\n_utils.os.system\n"), "torch._utils.os.system"),
    "bytes": (program(called("torch.storage _load_from_bytes", text("x"))), "_load_from_bytes"),
    "a number is called": (program(number(1) + b")R"), "an object of int"),
    "a storage type is called": (program(called("torch FloatStorage")), "torch.FloatStorage"),
    "a dtype is called": (program(called("torch float32")), "torch.float32"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_pickle_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = PROGRAMS[name]
    path = written(tmp_path, archive(content, {}))
    with pytest.raises(ValueError, match=message) as caught:
        gru.load_torch(path)
    assert str(path) in str(caught.value)
    assert os.listdir() == ["net.pt"]


BROKEN = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "empty stack": b".",
    "two objects": b"}}.",
    "no mark": b"}u.",
    "no memo": b"h\x05.",
    "a key alone": program(b"}(K\1u"),
    "a list as a key": program(b"}(]K\1u"),
    "a deep key": program(b"}(" + b")" + b"\x85" * 1000 + b"K\1u"),
    "a key twice": program(dict_of({"a": b"N"})[:-1] + text("a") + b"Nu"),
    "fills a number": program(b"K\1K\2a"),
    "builds a number": program(b"K\1}b"),
    "a mark as a value": program(b"((\x85"),
    "no pairs": program(called("collections OrderedDict", b"](K\1e")),
    "a huge string": program(b"\x8d" + struct.pack("<Q", 2**62)),
    "a huge text": program(b"X" + struct.pack("<I", 2**31)),
    "huge bytes": program(b"\x8e" + struct.pack("<Q", 2**63)),
    "a negative length": program(b"T" + struct.pack("<i", -1)),
    "an unknown opcode": b"\x80\x02\xff.",
    "a reference to a number": program(b"K\1Q"),
    "a short reference": program(tuple_of(text("storage")) + b"Q"),
    "no such storage": program(tensor("1", 6, (6,))),
    "a path": program(tensor("../../../etc/passwd", 6, (6,))),
    "a wrong count": program(tensor("0", 7, (6,))),
    "a huge count": program(tensor("0", 2**31 - 1, (6,))),
    "a wider type": program(tensor("0", 6, (6,), storage="DoubleStorage")),
    "an unknown type": program(tensor("0", 6, (6,), storage="Float8_e4m3fnStorage")),
    "beyond the storage": program(tensor("0", 6, (7,))),
    "an offset beyond": program(tensor("0", 6, (3,), offset=4)),
    "strides beyond": program(tensor("0", 6, (2, 3), (6, 1))),
    "a negative stride": program(tensor("0", 6, (6,), (-1,), offset=5)),
    "a negative size": program(tensor("0", 6, (-1,))),
    "fewer strides": program(tensor("0", 6, (2, 3), (1,))),
    "many axes": program(tensor("0", 6, (1,) * 40)),
    "no storage": program(called("torch._utils _rebuild_tensor_v2", *[number(0)] * 4)),
    "no arguments": program(called("torch._utils _rebuild_tensor_v2")),
    "a parameter of nothing": program(called("torch._utils _rebuild_parameter", b"N")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, archive(BROKEN[name], NUMBERS))
    with pytest.raises(ValueError, match=r"net\.pt: "):
        gru.load_torch(path)


def test_a_view_of_any_size_is_not_made(tmp_path: Path) -> None:
    """expand() claims what no file has to hold."""
    views = {
        "weight_ih_l0": tensor("0", 6, (3 * 2**20, 2**20), (0, 0)),
        "weight_hh_l0": tensor("0", 6, (3 * 2**20, 2**20), (0, 0)),
    }
    path = written(tmp_path, archive(program(dict_of(views)), NUMBERS))
    with pytest.raises(ValueError, match="expand"):
        gru.load_torch(path, "")
    with pytest.raises(ValueError, match="expand"):
        np.asarray(pickled.read(path)["weight_ih_l0"])


# --- zip files ------------------------------------------------------------------------------------


def test_what_is_compressed_is_refused(tmp_path: Path) -> None:
    bomb = program(dict_of({"w": tensor("0", 2**22, (2**22,))}))
    path = written(tmp_path, archive(bomb, {"0": bytes(2**24)}, compressed=True))
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match="is compressed"):
        pickled.read(path)


def test_odd_archives(tmp_path: Path) -> None:
    good = pt(ARRAYS)
    end = good.rindex(b"PK\5\6")
    odd = {
        "no pickle": archive(b"", {}).replace(b"net/data.pkl", b"net/datas.pk"),
        "byteorder": archive(program(b"}"), {}, byteorder=b"middle"),
        "a comment": good[:-2] + b"\3\0abc",
        "something before": b"abc" + good,
        "something after": good + b"abc",
        "a member too many": good[: end + 10] + b"\xff\0" + good[end + 12 :],
        "a directory elsewhere": good[: end + 16] + struct.pack("<L", 7) + good[end + 20 :],
        "another local name": good.replace(b"net/data/1", b"net/data/7", 1),
        "encrypted": good.replace(b"PK\1\2\x14\x03\x14\0\0", b"PK\1\2\x14\x03\x14\0\1"),
    }
    for name, content in odd.items():
        assert content != good, name
        with pytest.raises(ValueError, match=r"net\.pt: "):
            pickled.read(written(tmp_path, content))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_twice_or_on_top_of_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, pt(ARRAYS))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("net/data/0", bytes(48))
    with pytest.raises(ValueError, match="occurs twice"):
        pickled.read(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", program(b"}"))
        file.writestr("net/data/0", bytes(48))
        file.infolist()[1].header_offset = 0
    with pytest.raises(ValueError, match="another name where it begins"):
        pickled.read(path)


def test_files_of_other_formats(tmp_path: Path) -> None:
    others = {
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.": "before version 1.6",
        b"\x80\x04}.": "pickle",
        bytes(257) + b"ustar" + bytes(250): "tar",
        b"": "empty",
        b"PK\3\4": "cut off",
        b"weights": "text",
    }
    for content, message in others.items():
        with pytest.raises(ValueError, match=message):
            gru.load_torch(written(tmp_path, content))
    own = tmp_path / "own.safetensors"
    gru.Sequential([gru.GRU(3, 4, reset_after=False)]).save(own)
    with pytest.raises(ValueError, match=r"open it with gru\.load"):
        gru.load_torch(own, "0")
    with pytest.raises(ValueError, match=r"open it with gru\.load"):
        safetensors.read(own)
    with pytest.raises(FileNotFoundError):
        gru.load_torch(tmp_path / "none.pt")
    with pytest.raises(IsADirectoryError):
        gru.load_torch(tmp_path)


def test_a_file_that_changes_is_not_read_on(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        path = written(tmp_path, write(ARRAYS), name)
        reader = pickled.read if name == "net.pt" else safetensors.read
        found = reader(path)
        written(tmp_path, write(gru_arrays(3, 2)), name)
        with pytest.raises(ValueError, match="has changed"):
            np.asarray(found["weight_ih_l0"])


# --- safetensors headers --------------------------------------------------------------------------


def place(shape: list[Any], *offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


HEADERS: dict[str, Any] = {
    "a list": [],
    "null": None,
    "no JSON": b"{'a': 1}",
    "no UTF-8": b'{"\xff": 1}',
    "NaN": b'{"a": NaN}',
    "deep": b'{"a":' + b"[" * 200_000,
    "deep and whole": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a name twice": b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    b'"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "a field twice": b'{"a": {"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 8]}},
    "one field more": {"a": place([2], 0, 8) | {"strides": [1]}},
    "a number": {"a": 3},
    "unknown dtype": {"a": place([8], 0, 8, dtype="F8_E4M3")},
    "dtype of a list": {"a": place([8], 0, 8, dtype=["F32"])},
    "too few bytes": {"a": place([3], 0, 8)},
    "too many bytes": {"a": place([1], 0, 8)},
    "beyond the end": {"a": place([4], 0, 16)},
    "terabytes": {"a": place([2**40], 0, 2**42)},
    "an overflow": {"a": place([2**62, 2**62], 0, 8)},
    "negative": {"a": place([-2], 0, -8)},
    "a negative offset": {"a": place([2], -8, 0)},
    "a float": {"a": place([2.0], 0, 8)},
    "a bool": {"a": place([True], 0, 4), "b": place([1], 4, 8)},
    "ends before it starts": {"a": place([2], 8, 0)},
    "three offsets": {"a": place([2], 0, 8, 8)},
    "overlap": {"a": place([2], 0, 8), "b": place([1], 4, 8)},
    "the same place": {"a": place([2], 0, 8), "b": place([2], 0, 8)},
    "a gap": {"a": place([1], 4, 8)},
    "bytes left": {"a": place([1], 0, 4)},
    "many axes": {"a": place([2] + [1] * 40, 0, 8)},
    "metadata of numbers": {"__metadata__": {"a": 1}, "a": place([2], 0, 8)},
    "metadata of a list": {"__metadata__": [], "a": place([2], 0, 8)},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_do_not_fit(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, headed(HEADERS[name], bytes(8)), "net.safetensors")
    with pytest.raises(ValueError, match=r"net\.safetensors: "):
        safetensors.read(path)


def test_lengths_of_headers(tmp_path: Path) -> None:
    whole = safetensors_file(ARRAYS)
    for length in (0, 1, 2**20, 2**63, 2**64 - 1):
        path = written(tmp_path, struct.pack("<Q", length) + whole[8:], "net.safetensors")
        with pytest.raises(ValueError, match=r"net\.safetensors: "):
            safetensors.read(path)
    path = written(tmp_path, headed(b" " * (2**21) + b"{}"), "net.safetensors")
    with pytest.raises(ValueError, match="longer than a model's"):
        safetensors.read(path)


def test_any_order_and_types_that_are_not_asked_for(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": place([1], 12, 16),
        "n": place([1], 4, 12, dtype="I64"),
        "a": place([], 0, 4),
        "none": place([0, 3], 16, 16),
    }
    raw = struct.pack("<fqf", 1.5, -7, np.nan)
    found = safetensors.read(written(tmp_path, headed(header, raw)))
    assert np.asarray(found["a"]) == 1.5
    assert np.asarray(found["n"]).tolist() == [-7]
    assert np.isnan(np.asarray(found["b"])).all()
    assert np.asarray(found["none"]).shape == (0, 3)


# --- damage of every kind -------------------------------------------------------------------------


@EVERY_WRITER
def test_cut_off_at_every_byte(name: str, tmp_path: Path) -> None:
    whole = WRITERS[name](ARRAYS)
    for length in range(len(whole)):
        path = written(tmp_path, whole[:length], name)
        with pytest.raises(ValueError, match="net"):
            gru.load_torch(path, "")


@EVERY_WRITER
def test_flipped_bits(name: str, tmp_path: Path) -> None:
    """Either a clear error, or a layer with other numbers: a safetensors file has no checksum."""
    whole = WRITERS[name](ARRAYS)
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(2000):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[at] ^= 1 << int(rng.integers(0, 8))
        refused += not opens(written(tmp_path, bytes(content), name))
    assert refused > 500


def opens(path: Path) -> bool:
    """Whether a file opens; anything but a layer or a ValueError that names it fails the test."""
    problem = ""
    layer = None
    try:
        layer = gru.load_torch(path, "")
    except ValueError as error:
        problem = str(error)
    assert repr(layer) == "GRU(2, 2)" or str(path) in problem
    return not problem


@EVERY_WRITER
def test_a_flipped_bit_of_a_number_shows_where_there_is_a_sum(name: str, tmp_path: Path) -> None:
    whole = bytearray(WRITERS[name](ARRAYS))
    at = whole.index(ARRAYS["weight_hh_l0"].tobytes())
    whole[at + 5] ^= 4
    path = written(tmp_path, bytes(whole), name)
    if name == "net.safetensors":
        assert opens(path)
    else:
        with pytest.raises(ValueError, match="storage '1' is damaged: its checksum does not fit"):
            gru.load_torch(path, "")


# --- memory ---------------------------------------------------------------------------------------

PEAK = """
import gc, sys, tracemalloc
import gru
from gru.convert import pickled, safetensors, torch
def status():
    lines = open("/proc/self/status").read().splitlines()
    return {l.split(":")[0]: int(l.split()[1]) * 1024 for l in lines if l.startswith("Vm")}
gru.load_torch(sys.argv[1], "")
gc.collect()
open("/proc/self/clear_refs", "w").write("5")
before = status()["VmRSS"]
try:
    layer = gru.load_torch(sys.argv[2], "")
except ValueError:
    pass
print(status()["VmHWM"] - before)
"""


def peak(folder: Path, path: Path) -> int:
    """Bytes by which opening a file raises a process's memory at most, by the kernel's count."""
    small = written(folder, safetensors_file(ARRAYS), "small.safetensors")
    command = [sys.executable, "-c", PEAK, str(small), str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)


needs_proc = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux counts a process's memory there"
)
ALLOWED = 12 << 20  # what the interpreter itself takes to import and to parse


@needs_proc
@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
@EVERY_WRITER
def test_memory_of_a_large_file(name: str, dtype: str, tmp_path: Path) -> None:
    """The layer itself and one array of the file; float16 is held as float32."""
    path = written(tmp_path, WRITERS[name](gru_arrays(1400, 1400, dtype)), name)
    size = path.stat().st_size
    layer = size * 4 // int(dtype[-1])
    assert peak(tmp_path, path) < layer + size // 2 + ALLOWED


def hostile(kind: str) -> bytes:
    size = 2**21
    empty = b'"%07d":{"dtype":"F32","shape":[],"data_offsets":[0,0]}'
    headers = {
        "lists in a header": b'{"a":[' + b"[]," * (size // 3) + b"0]}",
        "empty tensors": b"{" + b",".join(empty % i for i in range(size // 60)) + b"}",
    }
    if kind in headers:
        return headed(headers[kind])
    pickles = {
        "lists": b"]" * size,
        "dicts": b"}" * size,
        "remembered": b"]" + b"\x94" * size,
        "recalled": b"]q\0" + b"h\0" * size,
        "pairs again": b"](" + b"K\1K\2\x86" * 9000 + b"eq\0"
        b"0" + b"ccollections\nOrderedDict\nh\0\x85R" * 9000,
    }
    return archive(program(pickles.get(kind, b"}")), {})


@needs_proc
@pytest.mark.parametrize(
    "kind",
    [
        "lists in a header",
        "empty tensors",
        "lists",
        "dicts",
        "remembered",
        "recalled",
        "pairs again",
    ],
)
def test_memory_of_a_hostile_file(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, hostile(kind))
    assert peak(tmp_path, path) < 2 * path.stat().st_size + 5 * ALLOWED
