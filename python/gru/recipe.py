"""Builds the usual model for sequences from a few settings; knows no data and no training."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike

from gru import check
from gru.cells import GRU, LSTM, RNN
from gru.layer import Layer
from gru.model import Sequential
from gru.seeds import Seeds
from gru.stateless import Dropout, Last, Linear, Max, Mean

__all__ = ["CELLS", "POOLING", "recipe"]

CELLS = {"gru": GRU, "lstm": LSTM, "rnn": RNN}
POOLING = {"last": Last, "mean": Mean, "max": Max}


def recipe(
    inputs: int,
    outputs: int,
    *,
    cell: str = "gru",
    hidden_size: int = 64,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    pooling: str | None = "last",
    dtype: DTypeLike = "float32",
    seed: int | None = None,
) -> Sequential:
    """Return recurrent layers, pooling and a linear head.

    Parameters
    ----------
    inputs, outputs : int
        Channels of a step and of the answer.
    cell : {"gru", "lstm", "rnn"}
        The recurrent layer.
    hidden_size, num_layers, bidirectional, dtype
        As in :class:`gru.GRU`.
    dropout : float
        Rate between stacked layers and before the head.
    pooling : {"last", "mean", "max"} or None
        How the steps become one answer; ``None`` gives an answer at every step.
    seed : int, optional
        Of the first parameters and the dropout masks; equal seeds give equal models.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of range.

    Examples
    --------
    >>> from gru.recipe import recipe
    >>> recipe(12, 9, seed=0)
    Sequential([GRU(12, 64), Last(), Linear(64, 9)])
    """
    make = _chosen("cell", cell, CELLS)
    if not 0 <= check.number("dropout", dropout) <= 1:
        raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
    seeds = Seeds(seed)
    both = check.flag("bidirectional", bidirectional)
    layers: list[Layer] = [
        make(
            inputs,
            hidden_size,
            num_layers=num_layers,
            bidirectional=both,
            dropout=0.0 if num_layers == 1 else dropout,
            dtype=dtype,
            seed=next(seeds),
        )
    ]
    if pooling is not None:
        pool = _chosen("pooling", pooling, POOLING)
        layers.append(Last(bidirectional=both) if pool is Last else pool())
    if dropout:
        layers.append(Dropout(dropout))
    width = hidden_size * (2 if both else 1)
    layers.append(Linear(width, outputs, dtype=dtype, seed=next(seeds)))
    return Sequential(layers, seed=next(seeds))


def _chosen(name: str, value: Any, known: dict[str, Any]) -> Any:
    wanted = f"one of {', '.join(map(repr, known))}"
    if check.instance(name, value, str, wanted) not in known:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return known[value]
