"""Builds the usual model, and its optimiser, from a few settings; knows no data, no training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from numpy.typing import DTypeLike

from gru import check
from gru.cells import GRU, LSTM, RNN
from gru.layer import Layer
from gru.model import Sequential
from gru.optim import Adam
from gru.seeds import Seeds
from gru.stateless import Dropout, Last, Linear, Max, Mean

__all__ = ["CELLS", "POOLING", "SETTINGS", "adam", "choice", "recipe"]

CELLS = {"gru": GRU, "lstm": LSTM, "rnn": RNN}
POOLING = {"last": Last, "mean": Mean, "max": Max}
OF_GRU = {"reset_after": True, "update_gate": "keep", "layer_norm": False}  # what others lack
SETTINGS = (  # what a model is made of, by the same names wherever one is made here
    "cell", "hidden_size", "num_layers", "bidirectional", "dropout", "input_dropout",
    "recurrent_dropout", "zoneout", "dtype", *OF_GRU,
)  # fmt: skip


def recipe(
    inputs: int,
    outputs: int,
    *,
    cell: str = "gru",
    hidden_size: int = 64,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    zoneout: float = 0.0,
    layer_norm: bool = False,
    reset_after: bool = True,
    update_gate: str = "keep",
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
    input_dropout, recurrent_dropout, zoneout : float
        Rates as in :class:`gru.GRU`, of every stacked layer.
    layer_norm, reset_after, update_gate
        As in :class:`gru.GRU`; other cells have none of them.
    pooling : {"last", "mean", "max"} or None
        How the steps become one answer; ``None`` gives an answer at every step.
    seed : int, optional
        Of the first parameters and the dropout masks; equal seeds give equal models.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of range, or another cell is given what only a GRU has.

    Examples
    --------
    >>> from gru.recipe import recipe
    >>> recipe(12, 9, seed=0)
    Sequential([GRU(12, 64), Last(), Linear(64, 9)])
    """
    make: Any = CELLS[choice("cell", cell, CELLS)]
    if not 0 <= check.number("dropout", dropout) <= 1:
        raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
    form = {"reset_after": reset_after, "update_gate": update_gate, "layer_norm": layer_norm}
    if make is not GRU:
        form = _none_of(form, cell)
    seeds = Seeds(seed)
    both = check.flag("bidirectional", bidirectional)
    layers: list[Layer] = [
        make(
            inputs,
            hidden_size,
            num_layers=num_layers,
            bidirectional=both,
            dropout=0.0 if num_layers == 1 else dropout,
            input_dropout=input_dropout,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            dtype=dtype,
            seed=next(seeds),
            **form,
        )
    ]
    if pooling is not None:
        pool = POOLING[choice("pooling", pooling, POOLING)]
        layers.append(Last(bidirectional=both) if pool is Last else pool())
    if dropout:
        layers.append(Dropout(dropout))
    width = hidden_size * (2 if both else 1)
    layers.append(Linear(width, outputs, dtype=dtype, seed=next(seeds)))
    return Sequential(layers, seed=next(seeds))


def adam(learning_rate: float) -> Adam:
    """Return Adam, whose rate goes by the name of the setting.

    Raises
    ------
    TypeError, ValueError
        If the rate is no number of at least 0.

    Examples
    --------
    >>> from gru.recipe import adam
    >>> adam(1e-3).lr
    0.001
    """
    if not 0 <= check.number("learning_rate", learning_rate) < float("inf"):
        raise ValueError(f"learning_rate must be at least 0, got {learning_rate}")
    return Adam(learning_rate)


def _none_of(form: dict[str, Any], cell: str) -> dict[str, Any]:
    """Refuse what only a GRU has, unless it is left as it is."""
    for name, value in form.items():
        if value != OF_GRU[name]:
            raise ValueError(f"{name}={value!r} needs cell='gru', got cell={cell!r}")
    return {}


def choice(name: str, value: Any, known: Collection[str]) -> str:
    """Return a name that is one of those that are known.

    Raises
    ------
    TypeError, ValueError
        If it is none of them.

    Examples
    --------
    >>> from gru.recipe import choice
    >>> choice("pooling", "sum", ("last", "mean"))
    Traceback (most recent call last):
    ...
    ValueError: pooling must be one of 'last', 'mean', got 'sum'
    """
    wanted = f"one of {', '.join(map(repr, known))}"
    if check.instance(name, value, str, wanted) not in known:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return str(value)
