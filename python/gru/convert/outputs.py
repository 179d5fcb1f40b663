"""What an imported model gave when it was read, and gives again at every load; runs no framework.

The entry ``source_check`` of a model's metadata holds a seeded input's shape, the outputs of the
source (or, if that could not be run, our own) and what they may differ by. It belongs to the
weights it was made with: after training, it says nothing and is passed over.
"""

from __future__ import annotations

import hashlib
import json
import math
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gru._types import Array
from gru.convert.damage import DamagedFileError, FileError
from gru.model import Sequential

__all__ = ["KEY", "Compared", "compare", "example", "record"]

KEY = "source_check"
SEED = 0
SHAPE = (2, 7)  # sequences, steps; a source may ask for others
VALUES = 64  # of the outputs that are kept
NUMBERS = 1 << 20  # of an input; a wider one is a single step
LARGEST = 4096  # steps of an input that a file may ask for
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # of the largest output, or of 1


class Compared(NamedTuple):
    """A comparison with the source.

    Attributes
    ----------
    by : str or None
        What was run, such as ``"torch 2.13.0"``; ``None`` if the source was not.
    difference : float
        The largest of the outputs now.
    tolerance : float
        The largest that is allowed.
    reason : str
        Why the source was not run.
    """

    by: str | None
    difference: float
    tolerance: float
    reason: str = ""


def example(model: Sequential, batch: int | None = None, steps: int | None = None) -> Array:
    """Return a fixed input of a model: numbers in -1..1, or tokens that are not the mask's.

    Parameters
    ----------
    model : Sequential
        It says the number of features and the dtype.
    batch, steps : int, optional
        Its shape; (2, 7) if not given, or less if the model takes very many features.

    Examples
    --------
    >>> import gru
    >>> example(gru.Sequential([gru.GRU(3, 4)]), 1, 2).round(2)
    array([[[ 0.1 ,  0.43,  0.21],
            [ 0.09, -0.15,  0.29]]], dtype=float32)
    """
    draw = np.random.RandomState(SEED)  # its numbers never change, those of a Generator may
    tokens = model.input_dtype.kind == "i"
    features = 1 if tokens else _features(model)
    own = SHAPE if prod(SHAPE) * features <= NUMBERS else (1, 1)
    shape = (own[0] if batch is None else batch, own[1] if steps is None else steps)
    if tokens:
        size = next(layer.spec["input_size"] for layer in model.layers if _is_embedding(layer))
        return draw.randint(min(1, size - 1), size, shape).astype(np.int64)
    return draw.uniform(-1, 1, (*shape, features)).astype(model.dtype)


def _is_embedding(layer: Any) -> bool:
    return bool(layer.spec["kind"] == "embedding")


def _features(model: Sequential) -> int:
    """Return the width of the first layer that has one; any will do where none has."""
    sizes = (layer.spec.get("input_size") for layer in model.layers)
    return next((size for size in sizes if size), 3)


def _digest(model: Sequential) -> str:
    """Return a hash of the kinds of layers and of the parameters."""
    kinds = " ".join(layer.spec["kind"] for layer in model.layers)
    found = hashlib.sha256(kinds.encode())
    for name, array in model.parameters.items():
        found.update(name.encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _sample(y: Array) -> Array:
    flat = np.asarray(y, np.float64).reshape(-1)
    return flat[:: max(1, flat.size // VALUES)]


def record(model: Sequential, path: str, kind: str, *, verify: bool) -> str:
    """Run a model that was just read, and its source if wanted, and keep the outputs.

    Parameters
    ----------
    model : Sequential
        Its metadata get the entry.
    path, kind : str
        The source and its format.
    verify : bool
        Run the source, if its framework is installed.

    Returns
    -------
    str
        Why the source was not run though it was wanted, else nothing.

    Raises
    ------
    ValueError
        If the source gives other outputs.
    """
    by, reason, x, wanted = None, "", example(model), None
    if verify:
        from gru.convert.frameworks import NotRunError, outputs  # the only place that imports them

        try:
            by, x, wanted = outputs(model, path, kind)
        except NotRunError as error:
            reason = f"not verified: {error}"
    got = model(x)
    want = got if wanted is None else wanted
    entry = {
        "by": by,
        "reason": reason or ("" if by else "not verified: it was not asked for"),
        "shape": list(x.shape[:2]),
        "output_shape": list(got.shape),
        "outputs": _sample(want).tolist(),
        "tolerance": TOLERANCE[model.dtype] * _largest(want),
        "weights": _digest(model),
    }
    if got.shape != want.shape:
        raise FileError(path, f"{by} gives outputs of shape {want.shape}, gru {got.shape}")
    _refuse(path, by, _difference(np.asarray(got, float), want), entry["tolerance"])
    model.metadata[KEY] = json.dumps(entry)
    return reason


def _largest(y: Array) -> float:
    finite = np.abs(y[np.isfinite(y)])
    return float(max(1.0, finite.max(initial=0)))


def _difference(got: Array, want: Array) -> float:
    """Return the largest difference; two that are not finite agree if they are the same."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(got - want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    apart[same] = 0
    apart[np.isnan(apart)] = math.inf
    return float(apart.max(initial=0))


def _refuse(path: str, by: str | None, difference: float, tolerance: float) -> None:
    if difference > tolerance:
        raise FileError(
            path,
            "its outputs are not those of its source"
            f"{f' in {by}' if by else ' when it was read'}: the largest difference is "
            f"{difference:.2g}, allowed is {tolerance:.2g}",
        )


def compare(model: Sequential, path: str) -> Compared | None:
    """Run a loaded model and compare it with what its source gave.

    Parameters
    ----------
    model : Sequential
        With the entry that :func:`record` made.
    path : str
        Its file, for messages.

    Returns
    -------
    Compared or None
        ``None`` if the model was never imported, or was trained since.

    Raises
    ------
    ValueError
        If the outputs differ, or the entry is damaged.
    """
    if KEY not in model.metadata:
        return None
    try:
        entry = json.loads(model.metadata[KEY])
        batch, steps = entry["shape"]
        want = np.array(entry["outputs"], np.float64)
        weights, tolerance = entry["weights"], float(entry["tolerance"])
        shape, by, reason = tuple(entry["output_shape"]), entry["by"], str(entry["reason"])
        whole = want.ndim == 1 and type(batch) is type(steps) is int and min(batch, steps) > 0
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        whole = False
    if not whole or batch * steps > LARGEST or not (by is None or isinstance(by, str)):
        raise DamagedFileError(path, f"its {KEY} is damaged")
    if weights != _digest(model):
        return None
    got = model(example(model, batch, steps))
    if got.shape != shape or len(_sample(got)) != len(want):
        raise FileError(path, f"its outputs have shape {got.shape}, those of its source {shape}")
    difference = _difference(_sample(got), want)
    _refuse(path, by, difference, tolerance)
    return Compared(by, difference, tolerance, reason)
