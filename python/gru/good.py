"""Remembers the last good weights, with the optimiser's state of that moment; knows no loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gru._types import Array
from gru.model import Sequential
from gru.optim import Optimizer

__all__ = ["GoodWeights", "live_arrays"]


def live_arrays(model: Sequential, optimizer: Optimizer) -> dict[str, Array]:
    """Return everything that a step changes in place, by name.

    Examples
    --------
    >>> import gru
    >>> list(live_arrays(gru.Sequential([gru.GRU(1, 2, seed=0)]), gru.Adam()))
    ['model.0']
    """
    found = {f"model.{name}": block for name, block in model.blocks().items()}
    for name, parts in optimizer.state.items():
        found.update({f"optimizer.{name}.{i}": part for i, part in enumerate(parts)})
    return found


class GoodWeights:
    """The weights that are known to give a finite loss, to fall back on.

    Parameters
    ----------
    model : Sequential
        Whose weights are kept and put back.
    optimizer : Optimizer
        Whose state goes with them.

    Examples
    --------
    >>> import gru
    >>> model = gru.Sequential([gru.GRU(1, 2, seed=0)])
    >>> good = GoodWeights(model, gru.SGD())
    >>> good.keep()
    >>> model.blocks()["0"][...] = 7.0
    >>> good.put_back()
    >>> bool((model.blocks()["0"] == 7.0).any())
    False
    """

    def __init__(self, model: Sequential, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._kept: dict[str, Array] = {}
        self._steps: int | None = None

    def _live(self) -> dict[str, Array]:
        return live_arrays(self._model, self._optimizer)

    def keep(self) -> None:
        """Remember the present weights as good."""
        live = self._live()
        if self._kept.keys() != live.keys():
            self._kept = {name: np.empty_like(array) for name, array in live.items()}
        for name, array in live.items():
            np.copyto(self._kept[name], array)
        self._steps = self._optimizer.steps

    def put_back(self) -> None:
        """Make the last good weights the present ones; do nothing if none were kept."""
        if self._steps is None:
            return
        state = self._optimizer.state
        for name, parts in list(state.items()):
            if parts and f"optimizer.{name}.0" not in self._kept:  # made since then
                del state[name]
        for name, array in self._live().items():
            np.copyto(array, self._kept[name])
        self._optimizer.steps = self._steps

    def arrays(self) -> dict[str, Array]:
        """Return what a checkpoint keeps: nothing where the present weights are good."""
        if self._steps is None:
            return {}
        live = self._live()
        same = self._kept.keys() == live.keys() and all(
            np.array_equal(self._kept[name], array) for name, array in live.items()
        )
        return {} if same else dict(self._kept)

    def notes(self) -> dict[str, Any]:
        """Return the rest, for JSON."""
        return {"steps": self._steps}

    def load(self, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the model and the optimiser have been loaded."""
        if not arrays:
            self.keep()
        else:
            self._kept = dict(arrays)
        self._steps = notes["steps"]
