"""Step-by-step inference; a handle that knows no layer."""

from __future__ import annotations

from typing import Any

__all__ = ["Stream"]


class Stream:
    """Runs a model or a layer one step at a time, keeping the state between steps.

    Made by ``layer.stream(batch)`` or ``model.stream(batch)``. The outputs are bit for bit those
    of a call on the whole sequence. A stream belongs to one thread and uses one thread.

    Attributes
    ----------
    step : callable
        ``step(x, out=None) -> y``. ``x`` has shape (B, I), or (B,) integers where the model
        starts with an embedding; ``y`` has shape (B, K). Given ``out``, writes there and
        allocates nothing.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.GRU(3, 4, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((1, 5, 3)).astype(np.float32)
    >>> y, state = layer(x)
    >>> stream = layer.stream()
    >>> steps = [stream.step(x[:, t]) for t in range(5)]
    >>> bool(np.array_equal(np.stack(steps, axis=1), y))
    True
    >>> bool(np.array_equal(stream.state, state))
    True
    """

    def __init__(self, core: Any, *, single: bool) -> None:
        self._core = core
        self._single = single
        self.step = core.step  # bound once: a step costs no extra Python call

    @property
    def batch(self) -> int:
        """Sequences that advance side by side."""
        return int(self._core.batch)

    @property
    def state(self) -> Any:
        """The state as layers take it, (B, N*D, H); of a model, a list with one entry a layer."""
        return self._core.state[0] if self._single else self._core.state

    @state.setter
    def state(self, value: Any) -> None:
        self._core.state = [value] if self._single else value

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero.

        Parameters
        ----------
        rows : array_like of int, optional
            The sequences to restart; all if not given.
        """
        self._core.reset(rows)

    def __repr__(self) -> str:
        """Show the batch."""
        return f"Stream(batch={self.batch})"
