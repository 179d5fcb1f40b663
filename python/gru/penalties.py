"""L1 and L2 penalties on the weights of a model; knows no loss and no optimiser."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gru._types import Array
from gru.model import Sequential

__all__ = ["add_penalties"]


def add_penalties(
    model: Sequential, gradients: Mapping[str, Array], *, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Add the gradient of ``l1 * sum |w| + l2 * sum w^2`` in place.

    Keras's formula, for all parameters whose name starts with ``weight``: the matrices of cells,
    linear layers and embeddings, and no bias.

    Parameters
    ----------
    model : Sequential
        Whose parameters they are.
    gradients : mapping of str to ndarray
        As ``model.backward_blocks`` returns them.
    l1, l2 : float
        Strengths, at least 0.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.Linear(2, 1, seed=0)])
    >>> blocks = {name: np.zeros_like(block) for name, block in model.blocks().items()}
    >>> add_penalties(model, blocks, l2=0.5)
    >>> bool(np.allclose(blocks["0"][:2], model.parameters["0.weight"].ravel())), blocks["0"][2]
    (True, np.float32(0.0))
    """
    for name, block in gradients.items():
        layer = model.layers[int(name)]
        weights = layer.parameters
        for key, gradient in layer.core(model.dtype).views(block).items():
            if key.startswith("weight"):
                if l1:
                    gradient += l1 * np.sign(weights[key])
                if l2:
                    gradient += (2.0 * l2) * weights[key]
