"""The order of the gates' rows in each system, the only place where rows are reordered.

A weight holds one block of H rows a gate. Gates have one letter each here: r, z and n of a GRU
(Keras and ONNX write h for n), i, f, g and o of an LSTM (Keras and ONNX write c for g), n of a
plain RNN.
"""

from __future__ import annotations

import numpy as np

from gru._types import Array

__all__ = ["ORDERS", "OWN", "from_order", "to_order"]

OWN = {"gru": "rzn", "lstm": "ifgo", "rnn": "n"}
ORDERS = {
    "torch": OWN,
    "flax": OWN,
    "keras": {"gru": "zrn", "lstm": "ifgo", "rnn": "n"},
    "onnx": {"gru": "zrn", "lstm": "iofg", "rnn": "n"},
}


def from_order(array: Array, order: str, kind: str) -> Array:
    """Return rows that stand in ``order`` in the engine's order.

    Parameters
    ----------
    array : ndarray
        Shape (G*H, ...), the blocks of the gates below each other.
    order : str
        The gates' letters, such as ``"zrn"``.
    kind : {"gru", "lstm", "rnn"}
        The cell.

    Raises
    ------
    ValueError
        If the order does not name each gate of the cell once, or the rows do not divide.

    Examples
    --------
    >>> import numpy as np
    >>> from_order(np.array([1.0, 2.0, 3.0]), "zrn", "gru")
    array([2., 1., 3.])
    """
    return _moved(array, order, OWN[kind])


def to_order(array: Array, order: str, kind: str) -> Array:
    """Return the engine's rows in another order; arguments as in :func:`from_order`."""
    return _moved(array, OWN[kind], order)


def _moved(array: Array, have: str, want: str) -> Array:
    if sorted(have) != sorted(want):
        raise ValueError(
            f"the order of gates must hold each of {', '.join(want)} once, got {have!r}"
        )
    if len(array) % len(have):
        raise ValueError(f"{len(array)} rows must be {len(have)} gates of equally many")
    blocks = dict(zip(have, np.split(array, len(have)), strict=True))
    return np.concatenate([blocks[gate] for gate in want])
