"""Runs a model over any number of sequences in batches; knows neither layers nor training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gru._types import Array
from gru.data import Sequences, batches

if TYPE_CHECKING:
    from gru.model import Sequential

__all__ = ["predict"]


def predict(
    model: Sequential, X: Any, batch_size: int = 256, lengths: Any = None, mask: Any = None
) -> Any:
    """Do the work of :meth:`gru.Sequential.predict`."""
    data = Sequences(X, model.input_dtype, lengths=lengths, mask=mask)
    if not len(data):
        return _predict_nothing(model, data)
    result: Any = None
    for index in batches(data.steps, batch_size):
        batch = data.take(index)
        y = model(batch.x, lengths=batch.lengths, mask=batch.mask)
        if result is None:
            result = _room(data, y)
        if isinstance(result, list):
            for row, i in zip(y, index, strict=True):
                result[i] = row[: len(data.values[i])].copy()
        else:
            result[index] = y
    return result


def _room(data: Sequences, y: Array) -> Any:
    """Room for all results, given those of one batch."""
    if data.ragged and y.ndim == 3:
        return [y] * len(data)
    return np.empty((len(data), *y.shape[1:]), y.dtype)


def _predict_nothing(model: Sequential, data: Sequences) -> Any:
    """Return a result of no rows, of the width that the model gives."""
    if isinstance(data.values, np.ndarray):
        return model(data.take(np.arange(0)).x)
    sizes = (layer.spec.get("input_size") for layer in model.layers)
    width = next((size for size in sizes if size is not None), 1)
    shape = (0, 0) if model.input_dtype.kind == "i" else (0, 0, width)
    y = model(np.zeros(shape, model.input_dtype))
    return [] if y.ndim == 3 else y
