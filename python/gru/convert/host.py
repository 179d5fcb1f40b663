"""Makes NumPy arrays of other systems' arrays without importing those systems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from gru._types import Array
from gru.convert.regions import Region

__all__ = ["alike", "floats"]


def floats(name: str, value: Any) -> Array:
    """Return floating-point numbers as NumPy has them; bfloat16 becomes float32.

    Parameters
    ----------
    name : str
        What messages call the array.
    value : array_like
        A NumPy array, a tensor of PyTorch, an array of JAX, a parameter of Flax, or an array in a
        file, which stays there until it is used.

    Raises
    ------
    TypeError
        If it is no array of float16, bfloat16, float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> floats("W", np.arange(3))
    Traceback (most recent call last):
    ...
    TypeError: W must hold float16, bfloat16, float32 or float64, got int64
    """
    found = value
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # PyTorch
        found = value.detach().cpu()
        if str(found.dtype) == "torch.bfloat16":
            found = found.float()
        if hasattr(found, "resolve_neg"):
            found = found.resolve_neg()
        found = found.numpy()
    elif hasattr(value, "get_value"):  # Flax
        found = value.get_value()
    elif hasattr(value, "value") and not hasattr(value, "shape"):  # Flax before 0.11
        found = value.value
    if not isinstance(found, Region):
        found = np.asarray(found)
        if str(found.dtype) == "bfloat16":  # of the package ml_dtypes
            found = found.astype(np.float32)
    if found.dtype not in (np.float16, np.float32, np.float64):
        wanted = "float16, bfloat16, float32 or float64"
        raise TypeError(f"{name} must hold {wanted}, got {found.dtype}")
    if isinstance(found, Region):
        found.claim()
    return cast(Array, found)


def alike(name: str, arrays: Iterable[Array]) -> None:
    """Refuse float64 beside less, before arrays are joined and NumPy widens them unasked.

    Examples
    --------
    >>> import numpy as np
    >>> alike("arrays", [np.ones(2), np.ones(2, np.float32)])
    Traceback (most recent call last):
    ...
    ValueError: arrays must have one dtype, got float32, float64
    """
    found = {array.dtype for array in arrays}
    if np.dtype(np.float64) in found and len(found) > 1:
        raise ValueError(f"{name} must have one dtype, got {', '.join(sorted(map(str, found)))}")
