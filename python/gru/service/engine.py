"""What the service asks of an engine, and gru's answer to it; knows no HTTP and no batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

import gru
from gru._types import Array

__all__ = ["Engine", "GruEngine", "Interface", "Pool"]


@dataclass(frozen=True)
class Interface:
    """What goes into a model and what comes out.

    Attributes
    ----------
    dtype : str
        Of the outputs, and of the inputs unless these are tokens: float32 or float64.
    width : int
        I, the numbers of a step; of a model of tokens, how many different ones there are.
    tokens : bool
        Whether a step is one token, an integer from 0 to below ``width``.
    outputs : int
        K, the numbers that come out.
    every_step : bool
        Whether they come at every step, or once a sequence.
    """

    dtype: str
    width: int
    tokens: bool
    outputs: int
    every_step: bool

    @cached_property
    def input_dtype(self) -> np.dtype[Any]:
        """What a batch holds."""
        return np.dtype(np.int64 if self.tokens else self.dtype)

    @property
    def step_shape(self) -> tuple[int, ...]:
        """Shape of one step's input."""
        return () if self.tokens else (self.width,)


class Pool(Protocol):
    """Sessions that step side by side; what :class:`gru.StreamPool` is. One call at a time."""

    def open(self) -> int:
        """Return the id of a new session."""

    def close(self, id: int, /) -> None:
        """End a session."""

    def reset(self, ids: Any, /) -> None:
        """Set the state of sessions to zero."""

    def step(self, ids: Any, x: Array, /) -> Array:
        """Advance different sessions by a step each: ``x`` (n, I) to (n, K)."""


class Engine(Protocol):
    """What computes.

    Calls come from two worker threads: all of ``predict`` from one of them, all of a pool from the
    other. Of an engine that also has ``never_waits = True``, short ones come from the event loop's
    thread as well, one at a time still: it must do nothing but compute, without waiting for a
    network, a device or the loop.
    """

    interface: Interface

    def predict(self, x: Array, lengths: Array | None) -> Array:
        """Compute the outputs of a padded batch (B, T, I): (B, T, K), or (B, K)."""

    def pool(self, capacity: int) -> Pool:
        """Return room for sessions; a ``ValueError`` says why there can be none."""

    def describe(self) -> dict[str, Any]:
        """Return what people may want to know of the model."""


class GruEngine:
    """A gru model as a service has it: frozen, so that its weights are packed once.

    Parameters
    ----------
    model : Sequential
        It is frozen: its parameters can be read from now on, not written.

    Raises
    ------
    ValueError
        If no layer tells how wide the input is.

    Examples
    --------
    >>> engine = GruEngine(gru.Sequential([gru.GRU(3, 4), gru.Last(), gru.Linear(4, 2)]))
    >>> engine.interface
    Interface(dtype='float32', width=3, tokens=False, outputs=2, every_step=False)
    """

    def __init__(self, model: gru.Sequential) -> None:
        model.freeze()
        # Of several threads the first waits for the others, which another process may hold up.
        self.never_waits = gru.get_num_threads() in (None, 1)
        self.model = model
        self.interface = _interface(model)

    def predict(self, x: Array, lengths: Array | None) -> Array:
        """Compute the outputs of a padded batch."""
        return self.model(x, lengths=lengths)

    def pool(self, capacity: int) -> Pool:
        """Return room for sessions."""
        pool: Pool = gru.StreamPool(self.model, capacity)
        return pool

    def describe(self) -> dict[str, Any]:
        """Return the layers, and the names of classes where the file has them."""
        return {
            "layers": [repr(layer) for layer in self.model.layers],
            "parameters": self.model.num_parameters,
            "classes": _classes(self.model, self.interface.outputs),
        }


def _interface(model: gru.Sequential) -> Interface:
    """Find out by asking the layers and by running two steps."""
    sizes = (layer.spec.get("input_size") for layer in model.layers)
    width = next((size for size in sizes if size is not None), None)
    if width is None:
        raise ValueError("no layer of the model tells how many inputs a step has")
    dtype = model.input_dtype
    tokens = dtype.kind == "i"
    y = model(np.zeros((1, 2) if tokens else (1, 2, width), dtype))
    return Interface(model.dtype, width, tokens, y.shape[-1], y.ndim == 3)


def _classes(model: gru.Sequential, outputs: int) -> list[str]:
    """Return the names that ``gru train`` wrote, or none."""
    from gru.table import Schema, TableError

    try:
        found = list(Schema.from_metadata(model.metadata, "").target.classes)
    except TableError:
        return []
    return found if len(found) == outputs else []
