"""Builds recurrent layers from plain arrays of any source, and checks that they add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from gru._types import Array
from gru.cells import GRU, LSTM, RNN
from gru.convert.gates import OWN
from gru.layer import core_class
from gru.recurrent import Recurrent

__all__ = ["CELLS", "Cell", "build", "cells_of"]

CELLS: dict[str, Callable[..., Recurrent]] = {"gru": GRU, "lstm": LSTM, "rnn": RNN}


class Cell(NamedTuple):
    """One direction of one stacked layer, in the engine's order of gates and rows.

    Attributes
    ----------
    weight_ih : ndarray
        Shape (G*H, I).
    weight_hh : ndarray
        Shape (G*H, H).
    bias_ih, bias_hh : ndarray or None
        Shape (G*H,). A source with one bias gives it as ``bias_ih`` and none as the other.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None


def build(kind: str, layers: Sequence[Sequence[Cell]], *, name: str, **options: Any) -> Recurrent:
    """Return a layer with the given numbers, or say what does not add up.

    Parameters
    ----------
    kind : {"gru", "lstm", "rnn"}
        The cell.
    layers : sequence of sequences of Cell
        First the stacked layers, then their directions: one, or forward and backward.
    name : str
        Of the source, for messages: a file and the layer in it.
    **options
        Of the layer: ``reset_after``, ``update_gate``, ``nonlinearity``, ``reverse`` and so on.
        ``update_gate`` says what the given z rows mean.

    Raises
    ------
    ValueError
        If shapes, directions or dtypes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> cell = Cell(np.ones((6, 3)), np.ones((6, 2)))
    >>> build("gru", [[cell]], name="an example")
    GRU(3, 2, bias=False, dtype='float64')
    """
    first = layers[0][0]
    hidden = _hidden(kind, first, name)
    inputs, directions = first.weight_ih.shape[-1], len(layers[0])
    for i, of_layer in enumerate(layers):
        if len(of_layer) != directions:
            raise ValueError(
                f"{name}: layer {i} has {len(of_layer)} directions, but layer 0 has {directions}"
            )
        width = directions * hidden if i else inputs
        for cell, suffix in zip(of_layer, ("", "_reverse"), strict=False):
            _fits(cell, f"_l{i}{suffix}", first.weight_hh.shape, width, name)
    biased = any(b is not None for layer in layers for cell in layer for b in cell[2:])
    # The small layer checks the options; the real one is filled without drawing numbers first.
    small = CELLS[kind](1, 1, len(layers), bidirectional=directions == 2, bias=biased, **options)
    spec = {**small.spec, "input_size": inputs, "hidden_size": hidden}
    core = core_class(_dtype(layers, name))(cast(Any, spec))
    layer = cast(Recurrent, type(small).from_core(core))
    for i, of_layer in enumerate(layers):
        for cell, suffix in zip(of_layer, ("", "_reverse"), strict=False):
            _fill(layer.parameters, f"_l{i}{suffix}", cell)
    return layer


def _fits(cell: Cell, suffix: str, square: tuple[int, ...], width: int, name: str) -> None:
    """Check shapes before any memory is taken for them: a file may claim any size."""
    rows = square[0]
    wanted = {
        "weight_ih": (rows, width),
        "weight_hh": square,
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    }
    for role, array in cell._asdict().items():
        if array is not None and tuple(array.shape) != wanted[role]:
            raise ValueError(
                f"{name}: {role}{suffix} must have shape {wanted[role]}, got {tuple(array.shape)}"
            )


def _hidden(kind: str, cell: Cell, name: str) -> int:
    gates = len(OWN[kind])
    shape = cell.weight_hh.shape
    if len(shape) != 2 or shape[0] != gates * shape[1] or not shape[1]:
        raise ValueError(
            f"{name}: a recurrent weight of {'an' if kind != 'gru' else 'a'} {kind.upper()} must "
            f"have shape ({gates}*H, H), got {shape}"
        )
    if len(cell.weight_ih.shape) != 2 or not cell.weight_ih.shape[1]:
        raise ValueError(
            f"{name}: an input weight must have shape ({gates}*H, I), got {cell.weight_ih.shape}"
        )
    return int(shape[1])


def _dtype(layers: Sequence[Sequence[Cell]], name: str) -> str:
    """Return float64 where all arrays are, float32 where all are at most that."""
    found = {a.dtype for layer in layers for cell in layer for a in cell if a is not None}
    wide = {dtype for dtype in found if dtype == np.float64}
    if wide and wide != found:
        kinds = ", ".join(sorted(str(dtype) for dtype in found))
        raise ValueError(f"{name}: all weights must have one dtype, got {kinds}")
    if any(dtype.kind != "f" for dtype in found):
        kinds = ", ".join(sorted(str(dtype) for dtype in found))
        raise ValueError(f"{name}: weights must be floating-point numbers, got {kinds}")
    return "float64" if wide else "float32"


def _fill(parameters: Mapping[str, Array], suffix: str, cell: Cell) -> None:
    for role, array in cell._asdict().items():
        if role + suffix in parameters:  # else the layer has no biases, and none was given
            # An array in a file is read here, and cast piece by piece where it is float16.
            parameters[role + suffix][...] = 0 if array is None else np.asarray(array)


def cells_of(layer: Recurrent) -> list[list[Cell]]:
    """Return the numbers of a layer, as :func:`build` takes them; biases are given both or none.

    Examples
    --------
    >>> import gru
    >>> [[cell]] = cells_of(gru.GRU(3, 2, bias=False))
    >>> cell.weight_hh.shape, cell.bias_ih
    ((6, 2), None)
    """
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    return [
        [_cell(layer.parameters, f"_l{i}{suffix}") for suffix in suffixes]
        for i in range(layer.num_layers)
    ]


def _cell(parameters: Mapping[str, Array], suffix: str) -> Cell:
    biases = (parameters.get(f"{role}{suffix}") for role in ("bias_ih", "bias_hh"))
    return Cell(parameters[f"weight_ih{suffix}"], parameters[f"weight_hh{suffix}"], *biases)
