"""Step-by-step inference; a handle that knows no layer."""

from __future__ import annotations

from typing import Any

from gru import check
from gru._types import Array

__all__ = ["Stream"]


class Stream:
    """Runs a model or a layer one step at a time, keeping the state between steps.

    Made by ``layer.stream(batch)`` or ``model.stream(batch)``. The outputs are bit for bit those
    of a call on the whole sequence. A stream belongs to one thread and uses one thread.

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
        self._single = single and len(core.state) == 1
        self._step = core.step  # bound once, which spares every step a look-up

    def step(self, x: Array, out: Array | None = None) -> Array:
        """Advance every sequence by one step.

        Parameters
        ----------
        x : ndarray
            Shape (B, I), of the dtype of the model; integers (B,) where it starts with an
            embedding.
        out : ndarray, optional
            Shape (B, K), C-contiguous and of the dtype of the model: written to and returned, so
            that the step allocates nothing.

        Returns
        -------
        ndarray
            Shape (B, K): the output at this step.

        Raises
        ------
        TypeError, ValueError
            If dtype or shape of ``x`` or ``out`` does not fit; the state is as it was.
        """
        return self._step(x, out)  # type: ignore[no-any-return]

    @property
    def batch(self) -> int:
        """Sequences that advance side by side."""
        return int(self._core.batch)

    @property
    def state(self) -> Any:
        """What is carried from step to step; assigning copies it in.

        Of a recurrent layer's stream the state as the layer takes it, (B, N*D, H) or an LSTM's
        pair of these; of a model's a list of such states, one a recurrent layer. A stream without
        a recurrent layer carries none: its state is the empty list.
        """
        return self._core.state[0] if self._single else self._core.state

    @state.setter
    def state(self, value: Any) -> None:
        if not self._single:
            check.instance("state", value, (list, tuple), "a list, one entry a recurrent layer")
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
