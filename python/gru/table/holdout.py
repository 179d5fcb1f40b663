"""Splits sequences into those to learn from and those held out; knows no table."""

from __future__ import annotations

import numpy as np

from gru._types import Array

__all__ = ["hold_out"]


def hold_out(
    count: int, share: float, seed: int, classes: Array | None = None
) -> tuple[Array, Array]:
    """Draw the sequences that are held out.

    Parameters
    ----------
    count : int
        Sequences, at least 1.
    share : float
        Of the sequences, from 0 (none is held out) to below 1. At least one is held out
        otherwise, and at least one is not.
    seed : int
        Of the draw.
    classes : ndarray of int, optional
        Shape (count,): each class is held out in this share, and its last sequence never.

    Returns
    -------
    train, held : ndarray of int64
        Numbers of the sequences, in order.

    Examples
    --------
    >>> import numpy as np
    >>> train, held = hold_out(10, 0.2, 0, np.array([0] * 5 + [1] * 5))
    >>> held.tolist(), len(train)
    ([4, 6], 8)
    """
    if not share:
        return np.arange(count), np.zeros(0, dtype=np.int64)
    rng = np.random.default_rng(seed)
    kinds = np.zeros(count, dtype=np.int64) if classes is None else classes
    order = rng.permutation(count)
    position = np.empty(count)  # in the order of being held out
    for kind in np.unique(kinds):
        members = order[kinds[order] == kind]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
        position[members[-1]] = np.inf
    chosen = np.lexsort((rng.permutation(count), position))
    most = int(np.isfinite(position).sum())
    held = np.sort(chosen[: min(max(1, round(count * share)), most)])
    return np.setdiff1d(np.arange(count), held), held
