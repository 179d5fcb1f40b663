"""Calls functions one at a time: in a thread, or at once if they are short; knows no batches."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Lane"]

# For this long the event loop may do nothing else. To hand a call to a thread and to get Python's
# lock back takes a tenth of it, and up to 5 ms if the loop is busy.
HERE_SECONDS = 1e-3
FORGETS = 0.9  # what is left of the longest time after each further call

Result = TypeVar("Result")


class Lane:
    """One call at a time, in the order in which they are asked for.

    A call that will be short is made in the event loop's thread if the lane's own has nothing to
    do; all others wait for that one. Used from the loop's thread alone.

    Parameters
    ----------
    name : str
        Of the thread.

    Examples
    --------
    >>> async def main():
    ...     lane = Lane("example")
    ...     return await lane.call(sum, [1, 2, 3], weight=3)
    >>> asyncio.run(main())
    6
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(1, name)
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
        if self._idle and self._expected(weight) <= HERE_SECONDS:
            return self._timed(time.perf_counter, weight, function, *arguments)
        return await asyncio.shield(asyncio.wrap_future(self._submit(weight, function, *arguments)))

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function that takes next to no time, after all that was asked before."""
        if self._idle:
            function(*arguments)
        else:
            self._submit(0, function, *arguments)

    def close(self) -> None:
        """End the thread when all is done that was asked for."""
        self._threads.shutdown()

    @property
    def _idle(self) -> bool:
        return self._given == self._done

    def _expected(self, weight: int) -> float:
        return self._took.get(weight.bit_length(), math.inf) if weight else 0.0

    def _submit(self, weight: int, function: Callable[..., Any], *arguments: Any) -> Any:
        self._given += 1
        return self._threads.submit(self._count, weight, function, *arguments)

    def _count(self, weight: int, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            # The clock on the wall would count how long it waits for Python's lock.
            return self._timed(time.thread_time, weight, function, *arguments)
        finally:
            self._done += 1

    def _timed(
        self,
        clock: Callable[[], float],
        weight: int,
        function: Callable[..., Result],
        *arguments: Any,
    ) -> Result:
        began = clock()
        result = function(*arguments)
        if weight:
            size = weight.bit_length()
            self._took[size] = max(clock() - began, FORGETS * self._took.get(size, 0.0))
        return result
