"""A block of code that may wait so long and no longer; knows nothing of what it waits for."""

from __future__ import annotations

import asyncio
from types import TracebackType

__all__ = ["Deadline"]


class Deadline:
    """Leaves its block when the time has passed, or when it is told to.

    As ``asyncio.timeout``, which Python 3.10 has not; without an error, and to be entered again
    and again: every message of a session takes two of them. Its timer is set once for many blocks:
    when it rings, it looks how much time the present one has left.

    Parameters
    ----------
    seconds : float
        From entering the block.

    Attributes
    ----------
    passed : bool
        Whether the block was left before its end.
    inside : bool
        Whether somebody is in the block.

    Examples
    --------
    >>> async def main():
    ...     deadline = Deadline(0.001)
    ...     with deadline:
    ...         await asyncio.sleep(60)
    ...     deadline.close()
    ...     return deadline.passed
    >>> asyncio.run(main())
    True
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.passed = False
        self.inside = False

    def __enter__(self) -> Deadline:
        """Start the clock."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task = task
        self.passed = False
        self.inside = True
        self._due = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)
        return self

    def _look(self) -> None:
        self._timer = None
        if not self.inside:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self.end()

    def end(self) -> None:
        """Leave the block now, if anybody is inside; called in the loop, while the block waits."""
        if self.inside and not self.passed:
            self.passed = True
            self._task.cancel()

    def close(self) -> None:
        """Stop the clock for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Leave the clock running: who enters next finds it."""
        self.inside = False
        if not self.passed or kind is not asyncio.CancelledError:
            return False
        uncancel = getattr(self._task, "uncancel", None)  # from Python 3.11 on cancels are counted
        # One more than ours means that somebody else has cancelled the task as well.
        return uncancel is None or uncancel() == 0
