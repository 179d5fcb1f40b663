"""Runs a model layer by layer to look inside its recurrent layers; no loop over time is here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Batch, Dataset, Sequences, check_finite
from gru.layer import Layer
from gru.model import Sequential
from gru.recurrent import Recurrent

__all__ = ["Cell", "as_model", "cells_of", "forward", "one_batch", "traces", "valid_steps"]

REVERSES = {"forward": (False,), "reverse": (True,), "both": (False, True)}


class Cell(NamedTuple):
    """One direction of one stacked layer of a recurrent layer.

    Attributes
    ----------
    name : str
        The layer's number in the model and the end of the parameters' names, as in
        ``"0.l0_reverse"``.
    layer : Recurrent
        The layer.
    row : int
        Its place on the layer's axis of length N*D.
    reverse : bool
        Whether it reads from the last step to the first.
    """

    name: str
    layer: Recurrent
    row: int
    reverse: bool

    @property
    def kind(self) -> str:
        """``"gru"``, ``"lstm"`` or ``"rnn"``."""
        return str(self.layer.spec["kind"])


def as_model(model: Any) -> Sequential:
    """Return a model; a layer alone becomes a model of one.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If nothing in it is recurrent.

    Examples
    --------
    >>> import gru
    >>> as_model(gru.Last())
    Traceback (most recent call last):
    ...
    ValueError: model must have a recurrent layer, got Sequential([Last()])
    """
    wanted = "a gru.Sequential or a gru layer"
    found = Sequential([model]) if isinstance(model, Layer) else model
    check.instance("model", found, Sequential, wanted)
    if not any(isinstance(layer, Recurrent) for layer in found.layers):
        raise ValueError(f"model must have a recurrent layer, got {found}")
    return found


def one_batch(model: Sequential, X: Any, y: Any, lengths: Any, mask: Any) -> Batch:
    """Return all sequences, and their targets unless y is None, as one batch for the model.

    Raises
    ------
    TypeError, ValueError
        If they do not fit the model or each other, or no step counts.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = as_model(gru.GRU(2, 3, seed=0))
    >>> one_batch(model, [np.ones((4, 2)), np.ones((1, 2))], None, None, None).lengths.tolist()
    [4, 1]
    """
    data = Sequences(X, model.input_dtype, lengths=lengths, mask=mask)
    if not len(data):
        raise ValueError("X must hold at least one sequence, got none")
    check_finite(data.values, "X")
    everything = np.arange(len(data))
    batch = data.take(everything) if y is None else Dataset(data, y).take(everything)
    if not valid_steps(batch).any():
        raise ValueError("X must hold at least one step that counts, got none")
    return batch


def valid_steps(batch: Batch) -> Array:
    """Return which steps count as bool (B, T).

    Examples
    --------
    >>> import numpy as np
    >>> valid_steps(Batch(np.zeros((1, 3, 2)), np.array([2]), None)).tolist()
    [[True, True, False]]
    """
    steps = batch.x.shape[:2]
    valid = np.ones(steps, bool) if batch.mask is None else np.asarray(batch.mask, bool)
    if batch.lengths is not None:
        valid = valid & (np.arange(steps[1]) < np.asarray(batch.lengths)[:, None])
    return valid


def cells_of(number: int, layer: Recurrent) -> list[Cell]:
    """Return the cells of one layer in the order of its states.

    Examples
    --------
    >>> import gru
    >>> [cell.name for cell in cells_of(1, gru.GRU(2, 3, 2, bidirectional=True, seed=0))]
    ['1.l0', '1.l0_reverse', '1.l1', '1.l1_reverse']
    """
    reverses = REVERSES[layer.spec["direction"]]
    return [
        Cell(
            f"{number}.l{level}" + "_reverse" * (reverse and len(reverses) == 2),
            layer,
            level * len(reverses) + place,
            reverse,
        )
        for level in range(layer.num_layers)
        for place, reverse in enumerate(reverses)
    ]


def _where(layer: Layer, x: Array, batch: Batch) -> dict[str, Any]:
    """Return the steps that count, for a layer that still has steps."""
    if x.ndim == 2 and layer.spec["kind"] != "embedding":
        return {}
    return {"lengths": batch.lengths, "mask": batch.mask}


def forward(model: Sequential, batch: Batch) -> tuple[Array, list[Any]]:
    """Run all layers for training: the output, and one tape a layer."""
    x, tapes = batch.x, []
    for layer in model.layers:
        y = layer.forward(x, **_where(layer, x, batch))  # type: ignore[attr-defined]
        tapes.append(y[-1])
        x = y[0]
    return x, tapes


def traces(model: Sequential, batch: Batch) -> Iterator[tuple[int, Recurrent, dict[str, Array]]]:
    """Yield number, layer and trace of each recurrent layer, as in inference."""
    x = batch.x
    for i, layer in enumerate(model.layers):
        where = _where(layer, x, batch)
        if isinstance(layer, Recurrent):
            yield i, layer, layer.trace(x, **where)
            x, _ = layer(x, **where)
        else:
            x = layer(x, **where)  # type: ignore[operator]
