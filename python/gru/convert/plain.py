"""Builds the layers without a state from arrays of any source, and checks that they add up."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gru.convert.damage import UnsupportedError
from gru.layer import Layer, core_class
from gru.stateless import Affine, Embedding, Linear

__all__ = ["affine", "embedding", "linear"]


def linear(name: str, weight: Any, bias: Any = None) -> Linear:
    """Return a Linear layer with the given numbers.

    Parameters
    ----------
    name : str
        Of the source, for messages.
    weight : array
        Shape (O, I).
    bias : array, optional
        Shape (O,).

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> linear("an example", np.ones((2, 3)), np.ones(2))
    Linear(3, 2, dtype='float64')
    """
    rows, width = _matrix(name, weight)
    _row(name, bias, rows)
    small = Linear(1, 1, bias=bias is not None)
    return cast(Linear, _filled(name, small, width, rows, weight=weight, bias=bias))


def embedding(name: str, weight: Any) -> Embedding:
    """Return an Embedding layer with the given table (symbols, E)."""
    rows, width = _matrix(name, weight)
    return cast(Embedding, _filled(name, Embedding(1, 1), rows, width, weight=weight))


def affine(name: str, weight: Any = None, bias: Any = None) -> Affine:
    """Return an Affine layer with the given factors and offsets, each (F,); one may be missing."""
    if weight is None:
        weight = np.ones(bias.shape, bias.dtype)
    _row(name, bias, len(weight))
    return cast(Affine, _filled(name, Affine(1), len(weight), None, weight=weight, bias=bias))


def _matrix(name: str, array: Any) -> tuple[int, int]:
    shape = tuple(array.shape)
    if len(shape) != 2 or 0 in shape:
        raise UnsupportedError(name, f"weight must be a matrix, got shape {shape}")
    return shape[0], shape[1]


def _row(name: str, array: Any, length: int) -> None:
    if array is not None and tuple(array.shape) != (length,):
        what = f"bias must have shape ({length},), got {tuple(array.shape)}"
        raise UnsupportedError(name, what)


def _filled(name: str, small: Layer, width: int, out: int | None, **arrays: Any) -> Layer:
    """Return a layer of another size with given numbers; none are drawn for it first."""
    given = {role: array for role, array in arrays.items() if array is not None}
    wide = {array.dtype == "float64" for array in given.values()}
    if len(wide) > 1 or any(array.dtype.kind != "f" for array in given.values()):
        kinds = ", ".join(sorted({str(array.dtype) for array in given.values()}))
        what = f"all numbers must have one floating-point dtype, got {kinds}"
        raise UnsupportedError(name, what)
    spec = {**small.spec, "input_size": width}
    if out is not None:
        spec["hidden_size"] = out
    layer = type(small).from_core(
        core_class("float64" if wide == {True} else "float32")(cast(Any, spec))
    )
    for role, array in given.items():
        layer.parameters[role][...] = array
    return layer
