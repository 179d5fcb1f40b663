"""Bodies and messages: JSON and ``.npy`` in, arrays out, and back; knows no route."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from io import BytesIO
from typing import Any, NoReturn, TypeAlias

import numpy as np

from gru._types import Array
from gru.service.engine import Interface
from gru.service.refusal import RefusalError

__all__ = ["JSON", "NPY", "array_of", "as_json", "as_npy", "parse", "parse_npy", "steps_of"]

JSON, NPY = "application/json", "application/x-npy"
Header: TypeAlias = tuple[tuple[int, ...], bool, np.dtype[Any]]

NO_NPY = "x must be a .npy file of version 1 or 2, as numpy.save writes it"
SHORT_HEADER = 256  # bytes: what is kept is small, whatever clients send
PIECE = 1000  # numbers that are written in one go
SHOWN = 60  # characters of what came that an error repeats


def refuse(message: str) -> NoReturn:
    """Say that a body is understood and cannot be used."""
    raise RefusalError(422, message)


# --- JSON ----------------------------------------------------------------------------------------


def _constant(name: str) -> NoReturn:
    refuse(f"the body must hold finite numbers, got {name}")


# Made once: `json.loads` would make a scanner at every call, which leaves strings behind in CPython
# (tests/test_service_memory.py).
_DECODER = json.JSONDecoder(parse_constant=_constant)
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def parse(body: bytes | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    RefusalError
        If it is something else.

    Examples
    --------
    >>> parse('{"x": [1, 2]}')
    {'x': [1, 2]}
    """
    try:
        found = _DECODER.decode(body if isinstance(body, str) else body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        refuse("the body must be JSON in UTF-8")
    except RecursionError:
        refuse("the body must be JSON, got lists that are nested too deep")
    except ValueError as error:
        if isinstance(body, bytes) and b"\0" in body:  # UTF-16 or UTF-32
            refuse("the body must be JSON in UTF-8")
        refuse(f"the body must be JSON: {error}")
    if not isinstance(found, dict):
        refuse(f"the body must be a JSON object, got {_kind(found)}")
    return found


def _kind(value: Any) -> str:
    """Return what came, in the words of JSON."""
    kinds = {list: "a list", dict: "an object", str: "a string", bool: "true or false"}
    if value is None:
        return "null"
    return kinds.get(type(value), "a number")


def array_of(name: str, value: Any, interface: Interface) -> Array:
    """Return one sequence (T, I), or (T,) tokens, as the engine takes it.

    Parameters
    ----------
    name : str
        What errors call it.
    value : list
        From JSON.

    Raises
    ------
    RefusalError
        If it is of another shape, or holds anything but finite numbers.

    Examples
    --------
    >>> array_of("x", [[1, 2], [3, 4]], Interface("float32", 2, False, 1, True))
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    if not isinstance(value, list):
        refuse(f"{name} must be a list of {_wanted(interface)}, got {_kind(value)}")
    try:
        found = np.asarray(value)
    except (ValueError, OverflowError):
        refuse(f"{name} must be a list of {_wanted(interface)}, got lists of different lengths")
    if not found.size and found.ndim == 1:
        found = found.reshape(0, *interface.step_shape)
    if found.dtype.kind not in "iuf":
        refuse(f"{name} must hold numbers alone, got {_stranger(value)}")
    return steps_of(name, found, interface)


def _stranger(value: Any) -> str:
    """Return the kind of the first thing in nested lists that is no number."""
    if isinstance(value, list):
        return next(filter(None, map(_stranger, value)), "")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "an integer too large" if abs(value) >= 2**63 else ""
    return _kind(value)


def _wanted(interface: Interface) -> str:
    if interface.tokens:
        return f"tokens from 0 to {interface.width - 1}"
    return f"steps of {interface.width} number{'s' * (interface.width > 1)} each"


def _inputs(interface: Interface) -> str:
    return "T" if interface.tokens else f"T, {interface.width}"


def steps_of(name: str, x: Array, interface: Interface, *, batch: bool = False) -> Array:
    """Return steps (T, I), or with ``batch`` (B, T, I), in the engine's dtype; checks all values.

    Raises
    ------
    RefusalError
        Naming the shape, or the place of the first value that is not finite or no token.

    Examples
    --------
    >>> import numpy as np
    >>> steps_of("x", np.array([[1e39]]), Interface("float32", 1, False, 1, True))
    Traceback (most recent call last):
    ...
    gru.service.refusal.RefusalError: x[0][0] must be finite in float32, got 1e+39
    """
    step = interface.step_shape
    if x.ndim != 1 + batch + len(step) or x.shape[1 + batch :] != step:
        axes = f"B, {_inputs(interface)}" if batch else _inputs(interface)
        refuse(f"{name} must have the shape ({axes}{',' * (axes == 'T')}), got {x.shape}")
    if interface.tokens:
        return _tokens(name, x, interface)
    found = x
    if x.dtype != interface.input_dtype:
        with np.errstate(over="ignore"):  # what overflows is found below
            found = x.astype(interface.input_dtype)
    if not np.isfinite(found).all():
        place = np.argwhere(~np.isfinite(found))[0]
        value = x[tuple(place)]
        at = "".join(f"[{i}]" for i in place)
        refuse(f"{name}{at} must be finite in {interface.dtype}, got {value:g}")
    return found


def _tokens(name: str, x: Array, interface: Interface) -> Array:
    if x.size and x.dtype.kind not in "iu":
        refuse(f"{name} must hold integers, got {x.dtype}")
    outside = (x < 0) | (x >= interface.width)
    if outside.any():
        place = np.argwhere(outside)[0]
        at = "".join(f"[{i}]" for i in place)
        refuse(f"{name}{at} must be from 0 to {interface.width - 1}, got {x[tuple(place)]}")
    return x.astype(np.int64, copy=False)


def as_json(key: str, value: Array | list[Array]) -> bytes:
    """Write an answer; reading its numbers gives the bits back, and those not finite are null.

    It goes piece by piece, so that a long answer in a worker thread leaves time to the others.

    Examples
    --------
    >>> import numpy as np
    >>> as_json("y", np.array([[0.5, np.nan]]))
    b'{"y":[[0.5,null]]}'
    """
    return f'{{"{key}":{_text(value)}}}'.encode()


def _text(value: Array | list[Array]) -> str:
    if isinstance(value, list) or value.ndim > 1:
        return f"[{','.join(map(_text, value))}]"
    pieces = [value[i : i + PIECE].tolist() for i in range(0, len(value), PIECE)]
    return f"[{','.join(map(_numbers, pieces))}]"


def _numbers(row: list[float]) -> str:
    try:
        return _ENCODER.encode(row)[1:-1]
    except ValueError:
        return _ENCODER.encode([one if math.isfinite(one) else None for one in row])[1:-1]


# --- .npy ----------------------------------------------------------------------------------------


def parse_npy(body: bytes, interface: Interface) -> Array:
    """Read an array of the model's dtype; it shares the body's memory.

    Nothing is reserved by what the header claims, and nothing in it is executed.

    Raises
    ------
    RefusalError
        If it is no such file, holds more or less than its header says, or another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> parse_npy(as_npy(np.zeros((1, 2))), Interface("float64", 2, False, 1, True))
    array([[0., 0.]])
    """
    start = _header_end(body)
    # Bodies of one client have one header, and NumPy takes 100 us to read it.
    read = _short_header if start <= SHORT_HEADER else _header
    shape, fortran, dtype = read(body[:start])
    _check_dtype(dtype, interface)
    size = dtype.itemsize * math.prod(shape)
    if len(body) - start != size:
        refuse(
            f"x must hold {size} bytes, as its shape {shape} and {dtype} say, "
            f"got {len(body) - start}"
        )
    found = np.frombuffer(body, dtype, offset=start)
    return found.reshape(shape, order="F" if fortran else "C")


def _header_end(body: bytes) -> int:
    """Return where the numbers begin: after magic, version, length of the header, and header."""
    wide = body[6:8] == b"\x02\x00"
    if body[:6] != b"\x93NUMPY" or not (wide or body[6:8] == b"\x01\x00"):
        refuse(NO_NPY)
    place = 12 if wide else 10
    return place + int.from_bytes(body[8:place], "little")


def _header(head: bytes) -> Header:
    file = BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        one = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception:  # NumPy's reader tries a tokenizer too, which raises what it likes
        refuse(NO_NPY)
    if any(size < 0 for size in shape):
        refuse(f"x must have a shape of sizes from 0, got {shape}")
    return shape, fortran, dtype


_short_header = lru_cache(256)(_header)


def _check_dtype(dtype: np.dtype[Any], interface: Interface) -> None:
    if interface.tokens:
        if dtype.kind not in "iu":
            refuse(f"x must hold integers, got {dtype}")
    elif dtype.newbyteorder("=") != interface.input_dtype:
        wanted = interface.dtype
        refuse(f"x must hold {wanted}, got {dtype}; send x.astype({wanted!r})")


def as_npy(value: Array) -> bytes:
    r"""Write an array as ``numpy.save`` does.

    Examples
    --------
    >>> import numpy as np
    >>> as_npy(np.zeros(2))[:6]
    b'\x93NUMPY'
    """
    return _written_header(value.shape, value.dtype.str) + value.tobytes()


@lru_cache(256)
def _written_header(shape: tuple[int, ...], dtype: str) -> bytes:
    file = BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()
