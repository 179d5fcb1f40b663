"""Batches without HTTP: who goes with whom, who leaves, who does not fit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from serving import LONG, Batcher, FullError, Lane


class Work:
    """Doubles numbers when it is let; notes the batches."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, jobs: list[int]) -> tuple[list[int], float]:
        self.batches.append(jobs)
        assert self.go.wait(LONG)
        if 13 in jobs:
            raise ValueError("13")
        return [2 * job for job in jobs], 1.0


def run(
    test: Callable[[Batcher[int, int], Work], Awaitable[None]], room: int = 9, window: float = 0
) -> Work:
    work = Work()

    async def main() -> None:
        lane = Lane("test", here=True)
        batcher = Batcher[int, int](
            work,
            lane,
            weigh=lambda job: 1,
            fits=lambda batch, one: len(batch) < 3,
            room=room,
            window=window,
            note=lambda size, seconds: None,
        )
        batcher.start()
        await test(batcher, work)
        work.go.set()
        await batcher.stop()
        lane.close()

    asyncio.run(main())
    return work


async def until_busy(work: Work, calls: int = 1) -> None:
    while len(work.batches) < calls:
        await asyncio.sleep(0.001)


def test_an_idle_engine_takes_what_comes_in_one_turn() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        work.go.set()
        futures = batcher.submit([1]) + batcher.submit([2])
        assert await asyncio.gather(*futures) == [2, 4]

    assert run(test).batches == [[1, 2]]


def test_what_waits_goes_in_batches_that_fit() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        futures = batcher.submit([0])
        await until_busy(work)
        futures += batcher.submit([1, 2, 3, 4, 5])
        assert len(batcher) == 5
        work.go.set()
        assert await asyncio.gather(*futures) == [0, 2, 4, 6, 8, 10]

    assert run(test).batches == [[0], [1, 2, 3], [4, 5]]


def test_it_waits_for_what_is_being_read() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        work.go.set()
        first = batcher.submit([1])
        with batcher.coming():
            await asyncio.sleep(0.01)
            second = batcher.submit([2])
        assert await asyncio.gather(*first, *second) == [2, 4]

    assert run(test, window=LONG).batches == [[1, 2]]


def test_it_does_not_wait_longer_than_the_window() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        work.go.set()
        with batcher.coming():
            assert await asyncio.gather(*batcher.submit([1])) == [2]

    assert run(test, window=0.001).batches == [[1]]


def test_who_is_cancelled_leaves() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        (first,) = batcher.submit([0])
        await until_busy(work)
        one, two = batcher.submit([1, 2])
        one.cancel()
        first.cancel()  # it is in the engine: its answer goes nowhere
        await asyncio.sleep(0)
        assert len(batcher) == 1
        work.go.set()
        assert await two == 4

    assert run(test).batches == [[0], [2]]


def test_no_more_than_there_is_room_for() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        futures = batcher.submit([0])
        await until_busy(work)
        futures += batcher.submit([1])
        with pytest.raises(FullError):
            batcher.submit([2, 3])
        assert len(batcher) == 1  # none of them
        futures += batcher.submit([2])
        work.go.set()
        assert await asyncio.gather(*futures) == [0, 2, 4]

    run(test, room=2)


def test_an_error_is_that_of_its_batch() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        work.go.set()
        found = await asyncio.gather(*batcher.submit([1, 13]), return_exceptions=True)
        assert [str(one) for one in found] == ["13", "13"]
        assert await asyncio.gather(*batcher.submit([2])) == [4]

    run(test)


def test_stopping_cancels_what_waits() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        futures = batcher.submit([1])
        await until_busy(work)
        futures += batcher.submit([2])
        work.go.set()
        await batcher.stop()
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)

    run(test)
