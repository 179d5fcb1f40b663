"""Step-by-step inference: of one group of sequences, or of thousands that come and go."""

from __future__ import annotations

from typing import Any

from gru import _core, check
from gru._types import Array

__all__ = ["Stream", "StreamPool"]

LARGEST_POOL = 2**24


class Stream:
    """Runs a model or a layer one step at a time, keeping the state between steps.

    Made by ``layer.stream(batch)`` or ``model.stream(batch)``. The outputs are bit for bit those
    of a call on the whole sequence. After construction a step of the engine makes no allocation,
    takes no lock and makes no system call; with ``out`` and an ``x`` that is float and contiguous
    neither does what lies between, but for the GIL, which long steps let go of. A stream belongs to
    one thread at a time, and uses one: a second one that calls it meanwhile gets a RuntimeError.
    It stays with the weights and the instruction set it was made at. ``out`` must not overlap
    ``x``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.GRU(3, 4, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((1, 5, 3)).astype(np.float32)
    >>> y, state = layer(x)
    >>> stream = layer.stream()
    >>> steps = [stream.step(x[:, t]) for t in range(3)]
    >>> other = stream.fork()
    >>> bool(np.array_equal(np.stack(steps, axis=1), y[:, :3]))
    True
    >>> bool(np.array_equal(stream.run(x[:, 3:]), y[:, 3:]))
    True
    >>> bool(np.array_equal(stream.state, state)), bool(np.array_equal(other.state, state))
    (True, False)
    """

    def __init__(self, core: Any, *, single: bool) -> None:
        self._core = core
        self._single = single and core.recurrent_layers == 1
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

    def run(self, x: Array, out: Array | None = None) -> Array:
        """Advance every sequence by a block of steps, with the bits of single ones.

        A block is faster: a few steps at a time read the weights once.

        Parameters
        ----------
        x : ndarray
            Shape (B, T, I), of the dtype of the model; integers (B, T) where it starts with an
            embedding.
        out : ndarray, optional
            Shape (B, T, K), C-contiguous and of the dtype of the model.

        Returns
        -------
        ndarray
            Shape (B, T, K): the output at each step; after pooling that of the steps so far.

        Raises
        ------
        TypeError, ValueError
            If dtype or shape of ``x`` or ``out`` does not fit; the state is as it was.
        """
        return self._core.run(x, out)  # type: ignore[no-any-return]

    def fork(self) -> Stream:
        """Return another stream with the same state, which then goes its own way.

        They share the weights.
        """
        return Stream(self._core.fork(), single=self._single)

    @property
    def batch(self) -> int:
        """Sequences that advance side by side."""
        return int(self._core.batch)

    @property
    def state(self) -> Any:
        """A copy of what is carried from step to step; assigning copies it in.

        Of a recurrent layer's stream the state as the layer takes it, (B, N*D, H) or an LSTM's
        pair of these; of a model's a list of such states, one a recurrent layer, and after them
        for each layer that pools a mean or a maximum the pair of its running sum or maximum (B, F)
        and the number of steps so far (B,). A stream that carries nothing has the empty list.
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

    def __copy__(self) -> Stream:
        """Return a fork: a copy that shared the state would move with it."""
        return self.fork()

    def __deepcopy__(self, memo: Any) -> Stream:
        """Return a fork; the weights never change."""
        return self.fork()

    def __repr__(self) -> str:
        """Show the batch."""
        return f"Stream(batch={self.batch})"


class StreamPool:
    """Thousands of independent sequences of one model, any of which advance in one call.

    The output of a session does not depend on who else is in the call, bit for bit: it is that of
    a stream of its own. All memory is reserved when the pool is made: a session takes that of its
    state. A pool belongs to one thread at a time, as a stream does. Ids mean something in the pool
    that gave them alone.

    Parameters
    ----------
    model : Sequential
        Uses the weights as they are now.
    capacity : int
        The most sessions that may be open at once.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no model, ``capacity`` no integer from 1 to 16777216, or a layer needs the
        whole sequence, as a bidirectional one does.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Linear(4, 2, seed=1)])
    >>> pool = gru.StreamPool(model, capacity=1000)
    >>> ann, bob = pool.open(), pool.open()
    >>> x = np.ones((2, 3), np.float32)
    >>> both = pool.step([ann, bob], x)
    >>> alone = pool.step([bob], x[:1])
    >>> pool.close(ann)
    >>> len(pool), ann in pool, bob in pool
    (1, False, True)
    """

    def __init__(self, model: Any, capacity: int) -> None:
        from gru.model import Sequential

        check.instance("model", model, Sequential, "a Sequential")
        capacity = check.integer("capacity", capacity, 1, LARGEST_POOL)
        pool = _core.StreamPool64 if model.dtype == "float64" else _core.StreamPool32
        self._core = pool(model.core(), capacity)
        self._step = self._core.step

    def open(self) -> int:
        """Begin a session with a state of zero, and return its id, which is never given again.

        Raises
        ------
        RuntimeError
            If as many are open as the pool holds.
        """
        return int(self._core.open())

    def step(self, ids: Any, x: Array, out: Array | None = None) -> Array:
        """Advance some sessions by one step each.

        Parameters
        ----------
        ids : array_like of int
            Shape (n,): distinct open sessions, in any order.
        x : ndarray
            Shape (n, I), of the dtype of the model; integers (n,) where it starts with an
            embedding.
        out : ndarray, optional
            Shape (n, K), C-contiguous and of the dtype of the model.

        Returns
        -------
        ndarray
            Shape (n, K).

        Raises
        ------
        TypeError, ValueError
            If an id is unknown, closed or there twice, or ``x`` or ``out`` does not fit; no
            session has moved then.
        """
        return self._step(ids, x, out)

    def reset(self, ids: Any) -> None:
        """Set the state of some sessions to zero.

        Raises
        ------
        TypeError, ValueError
            If an id is unknown or closed; no session has changed then.
        """
        self._core.reset(ids)

    def close(self, id: int) -> None:
        """End a session and give its place to others.

        Raises
        ------
        TypeError, ValueError
            If the id is unknown or closed already.
        """
        self._core.close(check.integer("id", id, -(2**63), 2**63 - 1))

    @property
    def capacity(self) -> int:
        """The most sessions that may be open at once."""
        return int(self._core.capacity)

    def __len__(self) -> int:
        """Return how many sessions are open."""
        return int(self._core.size)

    def __contains__(self, id: object) -> bool:
        """Tell whether a session is open."""
        try:
            number = check.integer("id", id, 0, 2**63 - 1)
        except (TypeError, ValueError):
            return False
        return bool(self._core.is_open(number))

    def __repr__(self) -> str:
        """Show how many are open."""
        return f"StreamPool({len(self)} of {self.capacity} open)"
