"""Gathers what arrives at about the same time into one call; knows neither HTTP nor models."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Generic, TypeVar

from gru.service.lane import Lane

__all__ = ["Batcher", "FullError"]

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class FullError(Exception):
    """The queue has no room."""


class _Entry(Generic[Job, Answer]):
    """A job that waits, and the future of its answer."""

    __slots__ = ("future", "job")

    def __init__(self, job: Job, future: asyncio.Future[Answer]) -> None:
        self.job = job
        self.future = future


class Batcher(Generic[Job, Answer]):
    """A queue of jobs and the task that empties it, a batch at a time.

    While the engine works, jobs gather; when it is free, they go together. An idle engine takes a
    lone job at once; only if others are just being read does it wait for them, at most for the
    window. A job whose future is cancelled leaves the queue.

    Parameters
    ----------
    run : callable
        Takes a list of jobs, returns a list of their answers and the seconds that the engine took
        for them. Called once at a time.
    lane : Lane
        Calls it.
    weigh : callable
        Tells how much a job has to do, for the lane.
    fits : callable
        Tells of the jobs that a batch has and of the next one whether that may join them.
    room : int
        Jobs that may wait.
    window : float
        Seconds.
    note : callable
        Is told the size of every batch and its seconds in the engine.
    """

    def __init__(
        self,
        run: Callable[[list[Job]], tuple[Sequence[Answer], float]],
        lane: Lane,
        *,
        weigh: Callable[[Job], int],
        fits: Callable[[list[Job], Job], bool],
        room: int,
        window: float = 0.0,
        note: Callable[[int, float], None],
    ) -> None:
        self._run = run
        self._lane = lane
        self._weigh = weigh
        self._fits = fits
        self._room = room
        self._window = window
        self._note = note
        self._waiting: deque[_Entry[Job, Answer]] = deque()
        self._coming = 0
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take jobs."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Give up what waits, and end when the engine is free."""
        for entry in tuple(self._waiting):
            entry.future.cancel()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that a job is being read: the next batch may wait for it."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._enough.set()

    def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Answer]]:
        """Put jobs into the queue, all or none.

        Raises
        ------
        FullError
            If there is no room.
        """
        if len(self._waiting) + len(jobs) > self._room:
            raise FullError
        create_future = asyncio.get_running_loop().create_future
        futures: list[asyncio.Future[Answer]] = []
        for job in jobs:
            entry: _Entry[Job, Answer] = _Entry(job, create_future())
            entry.future.add_done_callback(partial(self._forget, entry))
            self._waiting.append(entry)
            futures.append(entry.future)
        self._arrived.set()
        return futures

    def _forget(self, entry: _Entry[Job, Answer], future: asyncio.Future[Answer]) -> None:
        if future.cancelled():
            with suppress(ValueError):  # it is in the engine already: the answer goes nowhere
                self._waiting.remove(entry)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            await self._company()
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if batch:
                await self._compute(batch)

    async def _company(self) -> None:
        """Let others join: those of this turn of the loop, and those that are being read."""
        await asyncio.sleep(0)
        if self._coming and self._window:
            self._enough.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._enough.wait(), self._window)

    def _take(self) -> list[_Entry[Job, Answer]]:
        batch: list[_Entry[Job, Answer]] = []
        jobs: list[Job] = []
        while self._waiting and (not jobs or self._fits(jobs, self._waiting[0].job)):
            batch.append(self._waiting.popleft())
            jobs.append(batch[-1].job)
        return batch

    async def _compute(self, batch: list[_Entry[Job, Answer]]) -> None:
        jobs = [entry.job for entry in batch]
        weight = sum(map(self._weigh, jobs))
        try:
            answers, seconds = await self._lane.call(self._run, jobs, weight=weight)
        except asyncio.CancelledError:
            for entry in batch:
                entry.future.cancel()
            raise
        except Exception as error:  # whatever it is, each of them must hear of it
            for entry in batch:
                if not entry.future.done():
                    entry.future.set_exception(error)
            return
        self._note(len(jobs), seconds)
        for entry, answer in zip(batch, answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)
