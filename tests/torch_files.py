"""Writes the two file formats of PyTorch by hand, right and wrong in any detail, for tests."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from reference import Array

STORAGES = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage"}
NAMES = {"<f4": "F32", "<f8": "F64", "<f2": "F16"}


def text(value: str) -> bytes:
    """A string on the pickle's stack."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def called(name: str, *arguments: bytes) -> bytes:
    """A call, which a reader may refuse."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + tuple_of(*arguments) + b"R"


def tensor(
    key: str,
    count: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    *,
    offset: int = 0,
    storage: str = "FloatStorage",
) -> bytes:
    """What torch.save writes for a tensor."""
    steps = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    place = tuple_of(
        text("storage"),
        b"ctorch\n" + storage.encode() + b"\n",
        text(key),
        text("cpu"),
        number(count),
    )
    return called(
        "torch._utils _rebuild_tensor_v2",
        place + b"Q",
        number(offset),
        tuple_of(*map(number, shape)),
        tuple_of(*map(number, steps if strides is None else strides)),
        b"\x89",
        called("collections OrderedDict"),
    )


def dict_of(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def program(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def archive(
    pickle: bytes, storages: Mapping[str, bytes], *, compressed: bool = False, **more: bytes
) -> bytes:
    """The zip file around a pickle."""
    out = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", how) as file:
        file.writestr("net/data.pkl", pickle)
        for key, raw in storages.items():
            file.writestr(f"net/data/{key}", raw)
        for name, raw in more.items():
            file.writestr(f"net/{name}", raw)
    return out.getvalue()


def pt(arrays: Mapping[str, Array]) -> bytes:
    """A whole file of contiguous arrays."""
    entries = {
        name: tensor(str(i), a.size, a.shape, storage=STORAGES[a.dtype.str])
        for i, (name, a) in enumerate(arrays.items())
    }
    raw = {str(i): a.tobytes() for i, a in enumerate(arrays.values())}
    return archive(program(dict_of(entries)), raw)


def safetensors(arrays: Mapping[str, Array]) -> bytes:
    """A whole file of arrays."""
    header: dict[str, Any] = {}
    at = 0
    for name, a in arrays.items():
        place = [at, at + a.nbytes]
        header[name] = {"dtype": NAMES[a.dtype.str], "shape": a.shape, "data_offsets": place}
        at += a.nbytes
    return headed(header, b"".join(a.tobytes() for a in arrays.values()))


def headed(header: Any, raw: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    given = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(given)) + given + raw


def gru_arrays(inputs: int, hidden: int, dtype: str = "<f4", seed: int = 0) -> dict[str, Array]:
    """The arrays of a GRU with PyTorch's names."""
    rng = np.random.default_rng(seed)
    shapes = {
        "weight_ih_l0": (3 * hidden, inputs),
        "weight_hh_l0": (3 * hidden, hidden),
        "bias_ih_l0": (3 * hidden,),
        "bias_hh_l0": (3 * hidden,),
    }
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
