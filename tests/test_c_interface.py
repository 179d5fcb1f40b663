"""The C interface from Python's ctypes: another language that can call C."""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.cmake import cmake_dir

FUNCTIONS = [
    "gru_model_load",
    "gru_model_load_memory",
    "gru_model_destroy",
    "gru_model_info",
    "gru_model_describe",
    "gru_model_forward",
    "gru_stream_create",
    "gru_stream_fork",
    "gru_stream_destroy",
    "gru_stream_step",
    "gru_stream_run",
    "gru_stream_reset",
    "gru_stream_state_bytes",
    "gru_stream_get_state",
    "gru_stream_set_state",
]
OK, INVALID, SYSTEM = 0, 1, 2


class Info(c.Structure):
    _fields_ = [
        ("input_dtype", c.c_int32),
        ("output_dtype", c.c_int32),
        ("input_features", c.c_int64),
        ("output_features", c.c_int64),
        ("pools", c.c_int32),
        ("layers", c.c_int32),
    ]


@pytest.fixture(scope="module")
def library() -> c.CDLL:
    try:
        path = cmake_dir().parents[1] / "libgru.so"
    except FileNotFoundError as error:
        pytest.skip(str(error))
    library = c.CDLL(str(path))
    library.gru_last_error.restype = c.c_char_p
    library.gru_version.restype = c.c_char_p
    assert library.gru_abi_version() == 1
    assert library.gru_version().decode() == gru.__version__
    return library


def test_the_header_names_what_the_library_has(library: c.CDLL) -> None:
    header = (cmake_dir().parents[2] / "include" / "gru" / "gru.h").read_text()
    for name in FUNCTIONS:
        assert f" {name}(" in header
        assert getattr(library, name)


def pointer(array: np.ndarray) -> c.c_void_p:
    return c.c_void_p(array.ctypes.data)


def size(array: np.ndarray) -> c.c_size_t:
    return c.c_size_t(array.nbytes)


def loaded(library: c.CDLL, path: Path) -> c.c_void_p:
    model = c.c_void_p()
    assert library.gru_model_load(str(path).encode(), c.byref(model)) == OK
    return model


MODELS: list[tuple[str, Any]] = [
    ("float32", lambda d: [gru.GRU(3, 8, dtype=d, seed=0), gru.Linear(8, 2, dtype=d, seed=1)]),
    ("float64", lambda d: [gru.LSTM(3, 8, num_layers=2, dtype=d, seed=0), gru.Mean()]),
    ("float32", lambda d: [gru.Embedding(9, 4, dtype=d, seed=0), gru.RNN(4, 5, dtype=d, seed=1)]),
]


@pytest.mark.parametrize(("dtype", "layers"), MODELS)
def test_forward_and_streams_have_pythons_bits(
    library: c.CDLL, dtype: str, layers: Any, tmp_path: Path
) -> None:
    model = gru.Sequential(layers(dtype))
    model.save(tmp_path / "m")
    handle, info = loaded(library, tmp_path / "m"), Info()
    assert library.gru_model_info(handle, c.byref(info)) == OK
    tokens = info.input_dtype == 2
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (2, 7)) if tokens else rng.normal(size=(2, 7, 3)).astype(dtype)
    lengths = np.array([7, 4])
    expected = model(x, lengths=lengths)
    y = np.full_like(expected, np.nan)
    forward = (handle, c.c_int64(2), c.c_int64(7), pointer(x), size(x), pointer(lengths))
    assert library.gru_model_forward(*forward, pointer(y), size(y)) == OK
    np.testing.assert_array_equal(y, expected)
    assert library.gru_model_forward(*forward, pointer(y), c.c_size_t(1)) == INVALID
    assert library.gru_last_error() == f"y_bytes must be {y.nbytes}, got 1".encode()

    stream = c.c_void_p()
    assert library.gru_stream_create(handle, c.c_int64(2), c.byref(stream)) == OK
    y = np.empty((2, 7, info.output_features), dtype)
    run = (pointer(x), size(x), pointer(y), size(y))
    assert library.gru_stream_run(stream, c.c_int64(7), *run) == OK
    np.testing.assert_array_equal(y, model.stream(2).run(x))
    assert library.gru_stream_destroy(stream) == OK
    assert library.gru_stream_run(stream, c.c_int64(7), *run) == INVALID
    assert library.gru_model_destroy(handle) == OK
    assert library.gru_model_destroy(handle) == INVALID
    assert b"was destroyed" in library.gru_last_error()


def test_an_exported_header_holds_what_loads_from_memory(library: c.CDLL, tmp_path: Path) -> None:
    model = gru.Sequential([gru.GRU(3, 4, seed=0)])
    gru.export(model, tmp_path / "weights.h")
    text = (tmp_path / "weights.h").read_text()
    body = text[text.rindex("] = {") + 5 : text.rindex("};")]
    content = bytes(int(number) for number in body.split(","))
    handle = c.c_void_p()
    load = library.gru_model_load_memory
    assert load(content, c.c_size_t(len(content)), c.byref(handle)) == OK
    for size_ in range(0, len(content), 97):
        assert load(content, c.c_size_t(size_), c.byref(handle)) == INVALID
        assert not handle.value
        assert b"the model in memory is not an intact gru model file" in library.gru_last_error()


def test_errors_belong_to_their_thread(library: c.CDLL) -> None:
    from concurrent.futures import ThreadPoolExecutor

    handle = c.c_void_p()
    assert library.gru_model_load(b"/nowhere/m", c.byref(handle)) == SYSTEM
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(library.gru_last_error).result() == b""
    assert b"/nowhere/m" in library.gru_last_error()
