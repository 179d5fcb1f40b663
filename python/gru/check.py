"""Checks of single arguments; each error names the argument, what is expected and what came.

Arrays that go to the engine as they are, are checked there. This is for all the rest.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from gru._types import Array

__all__ = [
    "LARGEST_SIZE",
    "MOST_LAYERS",
    "MOST_THREADS",
    "array",
    "flag",
    "instance",
    "integer",
    "memory",
    "number",
    "numbers",
    "pair",
    "path",
    "seed",
    "several",
    "text",
    "texts",
]

T = TypeVar("T")

# The engine's own limits, which it checks again where there is no Python: files and C++.
LARGEST_SIZE = 2**24
MOST_LAYERS = 1024
MOST_THREADS = 1024


def _shown(value: Any) -> str:
    """Return what came in a few words: small values as they are, else the type."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        whole = repr(value)
        return whole if len(whole) <= 60 else f"{whole[:57]}..."
    return type(value).__name__


def _range(low: float, high: float) -> str:
    return f"of at least {low}" if high == np.inf else f"from {low} to {high}"


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], wanted: str) -> T:
    """Return a value of one type, or of one of several.

    Raises
    ------
    TypeError
        If it is of another.

    Examples
    --------
    >>> instance("tape", None, int, "a number")
    Traceback (most recent call last):
    ...
    TypeError: tape must be a number, got None
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {_shown(value)}")
    return value


def integer(
    name: str, value: Any, low: int, high: float = np.inf, *, kind: str = "an integer"
) -> int:
    """Return an integer of any kind but bool as an int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it lies outside ``low .. high``.

    Examples
    --------
    >>> integer("epochs", -1, 0)
    Traceback (most recent call last):
    ...
    ValueError: epochs must be an integer of at least 0, got -1
    """
    if type(value) is int and low <= value <= high:
        return value  # as at every step of a training, where words would take time
    wanted = f"{name} must be {kind} {_range(low, high)}, got {_shown(value)}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(wanted)
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(wanted) from None
    if not low <= found <= high:
        raise ValueError(wanted)
    return found


def number(name: str, value: Any) -> float:
    """Return a real number of any kind but bool; its range is the caller's.

    Raises
    ------
    TypeError
        If it is no number.

    Examples
    --------
    >>> import numpy as np
    >>> number("lr", np.float32(0.5))
    0.5
    """
    scalar = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, bool) or not isinstance(scalar, (int, float)):
        raise TypeError(f"{name} must be a number, got {_shown(value)}")
    return scalar


UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def memory(name: str, value: Any) -> int:
    """Return a number of bytes: an integer of at least 1, or text such as "64MB"; None is 0.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> memory("memory_limit", "64MB"), memory("memory_limit", "1.5 GiB"), memory("limit", None)
    (64000000, 1610612736, 0)
    """
    if value is None:
        return 0
    if not isinstance(value, str):
        return integer(name, value, 1, kind="None, text such as '64MB', or a number of bytes")
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]i?B)?", value.strip(), re.ASCII)
    size = int(float(found[1]) * UNITS[found[2] or ""]) if found else 0
    if size < 1:
        units = ", ".join(unit for unit in UNITS if unit)
        raise ValueError(f"{name} must be a number of bytes, {units}, got {value!r}")
    return size


def flag(name: str, value: Any) -> bool:
    """Return True or False, NumPy's included, as a bool.

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> import numpy as np
    >>> flag("bias", np.True_)
    True
    """
    return bool(instance(name, value, (bool, np.bool_), "True or False"))


def seed(value: Any) -> int | None:
    """Return a seed: None or an integer of at least 0.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> seed("a")
    Traceback (most recent call last):
    ...
    TypeError: seed must be None or an integer of at least 0, got 'a'
    """
    return None if value is None else integer("seed", value, 0, kind="None or an integer")


def text(name: str, value: Any) -> str:
    """Return a string that UTF-8 can hold.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or holds half of a surrogate pair.

    Examples
    --------
    >>> text("name", b"v3")
    Traceback (most recent call last):
    ...
    TypeError: name must be a string, got b'v3'
    """
    found = instance(name, value, str, "a string")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be a string of valid Unicode, got {value!a}") from None
    return found


def texts(name: str, value: Any) -> dict[str, str]:
    """Return a dict whose keys and values are strings.

    Raises
    ------
    TypeError, ValueError
        If it is something else.

    Examples
    --------
    >>> texts("metadata", {"n": 3})
    Traceback (most recent call last):
    ...
    TypeError: metadata['n'] must be a string, got 3
    """
    found = instance(name, value, dict, "a dict of strings")
    return {
        text(f"a key of {name}", key): text(f"{name}[{key!r}]", entry)
        for key, entry in found.items()
    }


def path(name: str, value: Any) -> bytes:
    """Return a path as the bytes of the file system, so that every name can be written.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or holds a null character.

    Examples
    --------
    >>> path("path", 3)
    Traceback (most recent call last):
    ...
    TypeError: path must be a string or a path, got 3
    """
    instance(name, value, (str, bytes, os.PathLike), "a string or a path")
    try:
        found = os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be a name of a file, got {value!a}") from None
    if b"\0" in found:
        raise ValueError(f"{name} must not hold a null character, got {_shown(value)}")
    return found


def pair(name: str, value: Any, wanted: str) -> tuple[Any, Any]:
    """Return a tuple or list of two.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it holds another number of entries.

    Examples
    --------
    >>> pair("validation", (1,), "a pair (X, y)")
    Traceback (most recent call last):
    ...
    ValueError: validation must be a pair (X, y), got 1 value
    """
    instance(name, value, (tuple, list), wanted)
    if len(value) != 2:
        count = len(value)
        raise ValueError(f"{name} must be {wanted}, got {count} value{'s' * (count != 1)}")
    return value[0], value[1]


def several(name: str, value: Any, wanted: str) -> Any:
    """Return an array with an axis as it is, and anything else with entries in order as a list.

    Raises
    ------
    TypeError
        If there are no entries to take, or (in a string or a dict) none that are meant.

    Examples
    --------
    >>> several("y", 3, "one target a sequence")
    Traceback (most recent call last):
    ...
    TypeError: y must be one target a sequence, got 3
    """
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    if isinstance(value, (np.ndarray, str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be {wanted}, got {_shown(value)}")
    return list(value)


def array(name: str, value: Any) -> Array:
    """Return what NumPy makes of a value.

    Raises
    ------
    ValueError
        If it makes nothing of it, as of rows of different lengths.

    Examples
    --------
    >>> array("weight", [[1, 2], [3]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: weight must be an array, got list: ...
    """
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be an array, got {_shown(value)}: {error}") from None


def numbers(name: str, value: Any) -> Array:
    """Return an array of real numbers or booleans, which can be cast to float.

    Raises
    ------
    TypeError
        If it holds anything else.
    ValueError
        If it is no array.

    Examples
    --------
    >>> numbers("X", ["a", "b"])
    Traceback (most recent call last):
    ...
    TypeError: X must hold numbers, got <U1
    """
    found = array(name, value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {found.dtype}")
    return found
