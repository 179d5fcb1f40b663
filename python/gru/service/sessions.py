"""Streaming sessions over one pool: their steps are batched; knows no WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gru._types import Array
from gru.service.batching import Batcher
from gru.service.engine import Engine, Pool
from gru.service.lane import Lane
from gru.service.metrics import Metrics
from gru.service.settings import Settings

__all__ = ["Sessions"]

# Steps of a block that one call of the pool takes: the other sessions wait no longer.
PIECE = 32


class _Steps(NamedTuple):
    """Steps (n, I) or (n,) of one session."""

    id: int
    x: Array


class Sessions:
    """All open sessions of a service.

    The pool belongs to the lane: everything that touches it is called there, in the order in which
    it was asked for.

    Parameters
    ----------
    engine : Engine
        Makes the pool.
    settings : Settings
        How many there may be.
    metrics : Metrics
        Is told of every batch.
    lane : Lane
        Where the pool is called.

    Attributes
    ----------
    refused : str
        Why this model has no sessions; empty if it has.
    """

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics, lane: Lane) -> None:
        self._interface = engine.interface
        self._capacity = settings.max_sessions
        self._metrics = metrics
        self._lane = lane
        self._open = 0
        self._pool: Pool | None = None
        self.refused = ""
        try:
            self._pool = engine.pool(settings.max_sessions)
        except ValueError as error:
            self.refused = str(error)
        self.batcher = Batcher[_Steps, Array](
            self._compute,
            lane,
            weigh=lambda one: len(one.x),
            fits=lambda batch, one: True,  # a session waits for its answer: there are few
            room=settings.max_sessions,
            note=lambda size, seconds: metrics.computed("/stream", size, seconds),
        )
        metrics.watch("/stream", self.batcher.__len__)
        metrics.watch_sessions(lambda: self._open)

    def __len__(self) -> int:
        """Return how many are open."""
        return self._open

    @property
    def full(self) -> bool:
        """Whether no more can be opened."""
        return self._open >= self._capacity

    async def open(self) -> int:
        """Return the id of a new session; ask :attr:`full` and :attr:`refused` before."""
        assert self._pool is not None
        self._open += 1
        opening = asyncio.ensure_future(self._lane.call(self._pool.open))
        try:
            return await asyncio.shield(opening)
        except BaseException:
            self._open -= 1
            opening.add_done_callback(self._abandon)
            raise

    def _abandon(self, opening: asyncio.Task[int]) -> None:
        """Close a session whose client left while it was opened."""
        if not opening.cancelled() and opening.exception() is None and self._pool is not None:
            self._lane.soon(self._pool.close, opening.result())

    def close(self, id: int) -> None:
        """End a session, after all that was asked before."""
        assert self._pool is not None
        self._open -= 1
        self._lane.soon(self._pool.close, id)

    async def reset(self, id: int) -> None:
        """Set a session's state to zero."""
        assert self._pool is not None
        await self._lane.call(self._pool.reset, [id])
        await asyncio.sleep(0)  # whoever sends a thousand of them lets others in between

    async def step(self, id: int, x: Array) -> Array:
        """Advance a session by all steps (n, I) of a block, in order; returns (n, K)."""
        found = []
        for start in range(0, len(x), PIECE):
            (answer,) = self.batcher.submit([_Steps(id, x[start : start + PIECE])])
            found.append(await answer)
        self._metrics.stepped(len(x))
        if len(found) == 1:
            return found[0]
        empty = np.empty((0, self._interface.outputs), self._interface.dtype)
        return np.concatenate(found) if found else empty

    def _compute(self, pieces: list[_Steps]) -> tuple[Sequence[Array], float]:
        """Step them together: the first step of each, then the second of those that have one."""
        assert self._pool is not None
        order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i].x))
        longest = [pieces[i] for i in order]
        ids = np.array([piece.id for piece in longest], np.int64)
        most, active = len(longest[0].x), len(longest)
        y = np.empty((most, active, self._interface.outputs), self._interface.dtype)
        seconds = 0.0
        for t in range(most):
            while len(longest[active - 1].x) <= t:
                active -= 1
            x = np.concatenate([piece.x[t : t + 1] for piece in longest[:active]])
            began = time.perf_counter()
            y[t, :active] = self._pool.step(ids[:active], x)
            seconds += time.perf_counter() - began
        answers: list[Array] = [y] * len(pieces)
        for row, i in enumerate(order):
            answers[i] = y[: len(pieces[i].x), row]
        return answers, seconds
