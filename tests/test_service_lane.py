"""Where the service's calls are made, and blocks that wait so long and no longer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from serving import LONG, Deadline, Lane


def run(test: Callable[[Lane], Awaitable[None]]) -> None:
    async def main() -> None:
        lane = Lane("test")
        try:
            await test(lane)
        finally:
            lane.close()

    asyncio.run(main())


def spin(seconds: float) -> int:
    """Keep the processor busy; returns the thread it was called in."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return threading.get_ident()


# --- the lane ------------------------------------------------------------------------------------


def test_what_was_short_is_called_here_and_what_was_long_is_not() -> None:
    async def test(lane: Lane) -> None:
        here = threading.get_ident()
        assert await lane.call(spin, 0, weight=4) != here  # nobody knows how long it takes
        assert await lane.call(spin, 0, weight=4) == here
        assert await lane.call(spin, 0, weight=64) != here  # nor this one
        assert await lane.call(spin, 0.005, weight=4) == here
        assert await lane.call(spin, 0, weight=4) != here
        assert await lane.call(spin, 0) == here  # next to nothing, always

    run(test)


def test_one_long_call_is_forgotten_in_time() -> None:
    async def test(lane: Lane) -> None:
        await lane.call(spin, 0.005, weight=1)
        found = [await lane.call(spin, 0, weight=1) for _ in range(40)]
        assert found[0] != threading.get_ident()
        assert found[-1] == threading.get_ident()

    run(test)


def test_calls_are_made_one_at_a_time_and_in_order() -> None:
    async def test(lane: Lane) -> None:
        go, found = threading.Event(), []
        first = asyncio.ensure_future(lane.call(go.wait, LONG, weight=1))
        await asyncio.sleep(0)
        lane.soon(found.append, 1)
        second = asyncio.ensure_future(lane.call(found.append, 2))
        await asyncio.sleep(0.01)
        lane.soon(found.append, 3)
        assert not found
        assert not second.done()
        go.set()
        await asyncio.gather(first, second)
        await lane.call(found.append, 4)
        assert found == [1, 2, 3, 4]
        lane.soon(found.append, 5)  # nothing is in the thread: at once
        assert found[-1] == 5

    run(test)


def test_who_is_cancelled_does_not_stop_a_call() -> None:
    async def test(lane: Lane) -> None:
        go, found = threading.Event(), []
        first = asyncio.ensure_future(lane.call(go.wait, LONG, weight=1))
        second = asyncio.ensure_future(lane.call(found.append, 2, weight=1))
        await asyncio.sleep(0.01)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        third = asyncio.ensure_future(lane.call(found.append, 3))
        await asyncio.sleep(0.01)
        assert not found  # the first one is not at its end
        go.set()
        await third
        assert found == [2, 3]

    run(test)


def test_an_error_is_the_callers() -> None:
    async def test(lane: Lane) -> None:
        for _ in range(3):  # in the thread, and here
            with pytest.raises(ValueError, match="seven"):
                await lane.call(int, "seven", weight=1)
        with pytest.raises(ValueError, match="eight"):
            await lane.call(int, "eight")
        assert await lane.call(int, "9") == 9

    run(test)


# --- deadlines -----------------------------------------------------------------------------------


async def taken(deadline: Deadline, seconds: float) -> float:
    began = time.monotonic()
    with deadline:
        await asyncio.sleep(seconds)
    return time.monotonic() - began


def test_every_block_has_its_own_time() -> None:
    async def main() -> None:
        deadline = Deadline(0.1)
        for _ in range(4):  # the timer of the first rings in the second or third
            assert await taken(deadline, 0.04) >= 0.04
            assert not deadline.passed
        await asyncio.sleep(0.15)  # and now between two
        assert not deadline.passed
        assert 0.1 <= await taken(deadline, LONG) < LONG / 2
        assert deadline.passed
        assert await taken(deadline, 0) < 0.1
        assert not deadline.passed
        deadline.close()

    asyncio.run(main())


def test_it_ends_what_is_inside_alone() -> None:
    async def main() -> None:
        deadline = Deadline(LONG)
        deadline.end()
        assert not deadline.passed
        asyncio.get_running_loop().call_later(0.01, deadline.end)
        assert await taken(deadline, LONG) < LONG / 2
        assert deadline.passed
        deadline.close()

    asyncio.run(main())


def test_it_does_not_take_anothers_cancellation_for_its_own() -> None:
    async def main() -> None:
        deadline = Deadline(LONG)
        task = asyncio.ensure_future(taken(deadline, LONG))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not deadline.passed
        assert not deadline.inside
        deadline.close()

    asyncio.run(main())
