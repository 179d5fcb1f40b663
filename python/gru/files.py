"""Reads model files back into Python handles; the format itself is the engine's."""

from __future__ import annotations

import os
from typing import Any

from gru import _core, check
from gru.cells import GRU, LSTM, RNN
from gru.layer import Layer
from gru.model import Sequential
from gru.stateless import (
    Activation,
    Affine,
    Dropout,
    Embedding,
    Last,
    Linear,
    Masking,
    Max,
    Mean,
    Reverse,
)

__all__ = ["load"]

KINDS: dict[str, type[Layer]] = {
    "gru": GRU,
    "lstm": LSTM,
    "rnn": RNN,
    "embedding": Embedding,
    "linear": Linear,
    "activation": Activation,
    "dropout": Dropout,
    "affine": Affine,
    "reverse": Reverse,
    "masking": Masking,
}
POOLS: dict[str, type[Layer]] = {"last": Last, "mean": Mean, "max": Max}


def _handle(core: Any) -> Layer:
    """Return the Python layer of an engine's layer."""
    spec = core.spec
    kind = POOLS[spec["pool"]] if spec["kind"] == "pool" else KINDS[spec["kind"]]
    return kind.from_core(core)


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model that :meth:`Sequential.save` wrote, and run its self-check.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    Sequential
        Frozen; call ``unfreeze()`` to train it further.

    Raises
    ------
    TypeError
        If ``path`` is no path.
    ValueError, RuntimeError, OSError
        If the file is missing, damaged, foreign, or gives other outputs than when it was saved.

    Examples
    --------
    >>> import os, tempfile, numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(3, 4), gru.Last(), gru.Linear(4, 2)])
    >>> x = np.ones((1, 5, 3), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.safetensors"))
    ...     loaded = gru.load(os.path.join(folder, "model.safetensors"))
    >>> bool((loaded(x) == model(x)).all()), loaded.frozen
    (True, True)
    """
    core, metadata = _core.load(check.path("path", path))
    return Sequential.from_core(core, map(_handle, core.layers), metadata)
