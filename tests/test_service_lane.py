"""Where the service's calls are made, and blocks that wait so long and no longer."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

import gru
from serving import (
    LONG,
    Deadline,
    GruEngine,
    Lane,
    Metrics,
    Running,
    Sessions,
    Settings,
    numbers,
    serve,
    settle,
    steps_model,
)

__all__ = ["serve"]  # a fixture

Serve = Callable[..., Running]


class Clock:
    """A clock that stands until a function lets it go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float, error: Exception | None = None) -> int:
        """Take so long; returns the thread it was called in."""
        self.now += seconds
        if error is not None:
            raise error
        return threading.get_ident()


def run(test: Callable[[Lane, Clock], Awaitable[None]], here: bool = True) -> None:
    async def main() -> None:
        clock = Clock()
        lane = Lane("test", here=here, clock=clock)
        try:
            await test(lane, clock)
        finally:
            lane.close()

    asyncio.run(main())


# --- the lane ------------------------------------------------------------------------------------


def test_what_was_short_is_called_here_and_what_was_long_is_not() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        here = threading.get_ident()
        assert await lane.call(clock.takes, 0, weight=4) != here  # nobody knows how long it takes
        assert await lane.call(clock.takes, 0.001, weight=4) == here
        assert await lane.call(clock.takes, 0, weight=64) != here  # nor this one
        assert await lane.call(clock.takes, 0.005, weight=4) == here
        assert await lane.call(clock.takes, 0, weight=4) != here
        assert await lane.call(clock.takes, 0) == here  # next to nothing, always

    run(test)


def test_one_long_call_is_forgotten_in_time() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        await lane.call(clock.takes, 0.005, weight=1)
        found = [await lane.call(clock.takes, 0, weight=1) for _ in range(40)]
        assert found[0] != threading.get_ident()
        assert found[-1] == threading.get_ident()

    run(test)


def test_to_stand_still_is_not_to_work() -> None:
    async def main() -> None:
        lane = Lane("test", here=True)  # with the clock that it has
        found = []
        try:
            for _ in range(3):
                await lane.call(time.sleep, 0.02, weight=1)
                found.append(await lane.call(threading.get_ident, weight=1))
        finally:
            lane.close()
        assert found == [threading.get_ident()] * 3

    asyncio.run(main())


def test_a_clock_of_long_ticks_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        for _ in range(3):
            assert await lane.call(clock.takes, 0, weight=1) != threading.get_ident()

    monkeypatch.setattr(time, "get_clock_info", lambda name: SimpleNamespace(resolution=1 / 64))
    run(test)


def test_a_call_that_fails_takes_its_time_as_well() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        await lane.call(clock.takes, 0, weight=1)
        with pytest.raises(ValueError, match="here"):
            await lane.call(clock.takes, 0.03, ValueError("here"), weight=1)
        assert await lane.call(clock.takes, 0, weight=1) != threading.get_ident()
        with pytest.raises(ValueError, match="in the thread"):
            await lane.call(clock.takes, 0, ValueError("in the thread"), weight=1)

    run(test)


def test_what_may_wait_is_never_called_here() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        found: list[int] = []
        for weight in (0, 1, 1, 1):
            found.append(await lane.call(clock.takes, 0, weight=weight))
        lane.soon(lambda: found.append(clock.takes(0)))
        await lane.call(clock.takes, 0)
        assert len(found) == 5
        assert threading.get_ident() not in found

    run(test, here=False)


@pytest.mark.parametrize("here", [True, False])
def test_what_nobody_waits_for_fails_in_the_log(
    here: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        lane.soon(clock.takes, 0, ValueError("thirteen"))
        assert await lane.call(int, "14") == 14

    run(test, here)
    assert "takes failed" in caplog.text
    assert "thirteen" in caplog.text


def test_calls_are_made_one_at_a_time_and_in_order() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
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
    async def test(lane: Lane, clock: Clock) -> None:
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


# --- the service's -------------------------------------------------------------------------------


class NotingPool:
    """A pool that notes who calls it."""

    def __init__(self, pool: Any, threads: list[int]) -> None:
        self.pool, self.threads = pool, threads

    def __getattr__(self, name: str) -> Any:
        def noted(*arguments: Any) -> Any:
            self.threads.append(threading.get_ident())
            return getattr(self.pool, name)(*arguments)

        return noted


class NotingEngine(GruEngine):
    """Notes the threads that its calls come from."""

    def __init__(self, never_waits: bool) -> None:
        super().__init__(steps_model())
        self.never_waits = never_waits
        self.predicts: list[int] = []
        self.steps: list[int] = []

    def predict(self, x: Any, lengths: Any) -> Any:
        self.predicts.append(threading.get_ident())
        return super().predict(x, lengths)

    def pool(self, capacity: int) -> Any:
        return NotingPool(super().pool(capacity), self.steps)


def test_an_engine_that_never_waits_is_called_in_the_loop_once_it_is_known(serve: Serve) -> None:
    engine = NotingEngine(never_waits=True)
    running = serve(engine)
    loop = running.thread.ident
    assert running.post({"x": []}).status_code == 200  # an empty sequence is a call as well
    assert engine.predicts[0] != loop
    settle(lambda: running.post({"x": []}).status_code == 200 and engine.predicts[-1] == loop)
    with running.stream() as client:
        while engine.steps[-1:] != [loop]:
            client.send(numbers(1, 3).tobytes())
            assert len(client.recv(LONG)) == 8


def test_an_engine_of_several_threads_waits_for_them() -> None:
    for threads, never_waits in ((None, True), (1, True), (2, False)):
        gru.set_num_threads(threads)
        try:
            assert GruEngine(steps_model()).never_waits == never_waits
        finally:
            gru.set_num_threads(None)


def test_any_other_engine_is_called_in_its_threads(serve: Serve) -> None:
    engine = NotingEngine(never_waits=False)
    running = serve(engine)
    for _ in range(5):
        assert running.predict(numbers(4, 3)).shape == (4, 2)
    with running.stream() as client:
        for message in (numbers(1, 3).tobytes(), '{"reset":true}', numbers(1, 3).tobytes()):
            client.send(message)
            client.recv(LONG)
    settle(lambda: len(engine.steps) == 5)  # opened, stepped, reset, stepped, closed
    assert len(set(engine.predicts)) == len(set(engine.steps)) == 1
    assert running.thread.ident not in (engine.predicts[0], engine.steps[0])


def test_who_resets_a_thousand_times_lets_others_in() -> None:
    async def test(lane: Lane, clock: Clock) -> None:
        sessions = Sessions(GruEngine(steps_model()), Settings(), Metrics(), lane)
        id = await sessions.open()
        others: list[int] = []
        for i in range(3):
            asyncio.get_running_loop().call_soon(others.append, i)
            await sessions.reset(id)
        assert others == [0, 1, 2]
        sessions.close(id)

    run(test)


# --- deadlines -----------------------------------------------------------------------------------


async def taken(deadline: Deadline, seconds: float) -> float:
    began = time.monotonic()
    with deadline:
        await asyncio.sleep(seconds)
    return time.monotonic() - began


def test_every_block_has_its_own_time() -> None:
    async def main() -> None:
        deadline = Deadline(1)
        for _ in range(4):  # the timer of the first rings in the third
            assert await taken(deadline, 0.4) >= 0.4
            assert not deadline.passed
        await asyncio.sleep(1.1)  # and now between two
        assert not deadline.passed
        assert 1 <= await taken(deadline, LONG) < LONG / 2
        assert deadline.passed
        assert await taken(deadline, 0) < 1
        assert not deadline.passed
        deadline.close()

    asyncio.run(main())


def test_one_timer_serves_many_blocks_and_none_is_left() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        set_timer = loop.call_at
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                loop, "call_at", lambda *a, **k: timers.append(set_timer(*a, **k)) or timers[-1]
            )
            deadline = Deadline(LONG)
            for _ in range(100):
                with deadline:
                    pass
            assert len(timers) == 1
            deadline.close()
            assert timers[0].cancelled()

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


@pytest.mark.parametrize("ended", [False, True])
def test_it_does_not_take_anothers_cancellation_for_its_own(ended: bool) -> None:
    async def main() -> None:
        deadline = Deadline(LONG)
        task = asyncio.ensure_future(taken(deadline, LONG))
        await asyncio.sleep(0.01)
        if ended:  # both in one turn of the loop
            deadline.end()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert deadline.passed == ended
        assert not deadline.inside
        deadline.close()

    if ended and sys.version_info < (3, 11):
        pytest.skip("before Python 3.11 cancellations are not counted")
    asyncio.run(main())
