"""Calls functions one at a time: in a thread, or at once if they are short; knows no batches."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Lane"]

# About as long the event loop may do nothing else for a call: those of one weight differ by up to
# four times. To hand a call to a thread and to get Python's lock back takes a tenth of it, and
# from a busy loop as long as `sys.getswitchinterval` says.
HERE_SECONDS = 1e-3
FORGETS = 0.9  # what is left of the longest time after each further call

Result = TypeVar("Result")
Clock = Callable[[], float]
log = logging.getLogger("gru.service")


class Lane:
    """One call at a time, in the order in which they are asked for.

    Calls wait for the lane's own thread. One that will be short is made at once, in the event
    loop's thread, if the other has nothing to do. Used from the loop's thread alone.

    Parameters
    ----------
    name : str
        Of the thread.
    here : bool
        Whether short calls may be made in the loop. A function that waits for anything may not:
        how long it does is not seen, and it would hold up the loop.
    clock : callable
        In seconds, of what the thread that asks has worked: how long it stood still, for Python's
        lock or for another process, says nothing about the next call.

    Examples
    --------
    >>> async def main():
    ...     lane = Lane("example", here=True)
    ...     return await lane.call(sum, [1, 2, 3], weight=3)
    >>> asyncio.run(main())
    6
    """

    def __init__(
        self,
        name: str,
        *,
        here: bool,
        clock: Clock = time.thread_time,
    ) -> None:
        self._threads = ThreadPoolExecutor(1, name)
        # Some systems count a thread's work in ticks that are longer than what is asked.
        self._here = here and time.get_clock_info("thread_time").resolution <= HERE_SECONDS
        self._clock = clock
        self._given = 0  # to the thread; the loop's thread alone writes it
        self._done = 0  # by the thread, which alone writes it
        self._took: dict[int, float] = {}  # seconds of calls by their weight, in powers of two

    async def call(
        self, function: Callable[..., Result], *arguments: Any, weight: int = 0
    ) -> Result:
        """Return what a function returns, or raise what it raises.

        Parameters
        ----------
        function : callable
            It is called to its end, also if the caller is cancelled.
        *arguments
            Its own.
        weight : int
            How much it has to do: calls of about the same weight should take about as long. 0 is
            next to nothing, always.
        """
        if self._at_once(weight):
            return self._timed(weight, function, *arguments)
        return await asyncio.shield(asyncio.wrap_future(self._submit(weight, function, *arguments)))

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function that takes next to no time, after all that was asked before.

        Nobody waits for it: what it raises goes to the log.
        """
        if self._at_once(0):
            _logged(function, *arguments)
        else:
            self._submit(0, _logged, function, *arguments)

    def close(self) -> None:
        """End the thread when all is done that was asked for."""
        self._threads.shutdown()

    def _at_once(self, weight: int) -> bool:
        if not self._here or self._given != self._done:
            return False
        return not weight or self._took.get(weight.bit_length(), math.inf) <= HERE_SECONDS

    def _submit(
        self, weight: int, function: Callable[..., Result], *arguments: Any
    ) -> Future[Result]:
        self._given += 1
        return self._threads.submit(self._count, weight, function, *arguments)

    def _count(self, weight: int, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return self._timed(weight, function, *arguments)
        finally:
            self._done += 1

    def _timed(self, weight: int, function: Callable[..., Result], *arguments: Any) -> Result:
        began = self._clock()
        try:
            return function(*arguments)
        finally:
            if weight:
                size = weight.bit_length()
                self._took[size] = max(self._clock() - began, FORGETS * self._took.get(size, 0.0))


def _logged(function: Callable[..., object], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:
        log.exception("%s failed", getattr(function, "__qualname__", function))
