"""The WebSocket ``/stream``: sessions are right to the bit in any company, and end in order."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

import gru
from serving import (
    LONG,
    ClientConnection,
    ConnectionClosed,
    GruEngine,
    InvalidStatus,
    Running,
    numbers,
    serve,
    settle,
    steps_model,
    token_model,
)

__all__ = ["serve"]  # a fixture

Serve = Callable[..., Running]


def ask(client: ClientConnection, message: Any) -> Any:
    """Send JSON, or steps as they are, and return what is answered."""
    binary = isinstance(message, np.ndarray)
    client.send(message.tobytes() if binary else json.dumps(message))
    answer = client.recv(LONG)
    if isinstance(answer, bytes):
        return np.frombuffer(answer, np.float32)
    return json.loads(answer)


def receive_all(client: ClientConnection) -> None:
    while True:
        client.recv(LONG)


def closed(client: ClientConnection) -> tuple[int, str]:
    """Wait for the close frame; returns its code and reason."""
    with pytest.raises(ConnectionClosed) as end:
        receive_all(client)
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason


class WaitingPool:
    """A pool that steps when it is told to."""

    def __init__(self, pool: Any, go: threading.Event, calls: list[int]) -> None:
        self.pool, self.go, self.calls = pool, go, calls
        self.open, self.close, self.reset = pool.open, pool.close, pool.reset

    def step(self, ids: Any, x: Any) -> Any:
        self.calls.append(len(ids))
        assert self.go.wait(LONG)
        return self.pool.step(ids, x)


class WaitingEngine(GruEngine):
    never_waits = False

    def __init__(self, model: gru.Sequential) -> None:
        super().__init__(model)
        self.go = threading.Event()
        self.calls: list[int] = []

    def pool(self, capacity: int) -> Any:
        return WaitingPool(super().pool(capacity), self.go, self.calls)


# --- answers -------------------------------------------------------------------------------------


def test_steps_and_blocks_give_the_bits_of_one_call(serve: Serve) -> None:
    model = steps_model()
    running = serve(model)
    x = numbers(200, 3)
    wanted = model(x[None])[0]
    with running.stream() as client:
        found = [ask(client, {"x": x[0].tolist()})["y"]]
        found += ask(client, {"x": x[1:5].tolist()})["y"]
        found += ask(client, x[5]).reshape(-1, 2).tolist()
        found += ask(client, x[6:150]).reshape(-1, 2).tolist()
        found += ask(client, {"x": x[150:].tolist()})["y"]
        np.testing.assert_array_equal(np.array(found, np.float32), wanted)
        assert ask(client, {"reset": True}) == {"reset": True}
        np.testing.assert_array_equal(ask(client, x[0]), wanted[0])
        assert running.metrics()["gru_open_sessions",] == 1
    settle(lambda: running.metrics()["gru_open_sessions",] == 0)
    assert running.metrics()["gru_stream_steps_total",] == 201


def test_tokens(serve: Serve) -> None:
    model = token_model()
    x = np.random.default_rng(0).integers(0, 20, 7)
    stream = model.stream()
    wanted = np.concatenate([stream.step(x[t : t + 1]) for t in range(7)])
    with serve(model).stream() as client:
        assert ask(client, {"x": int(x[0])})["y"] == wanted[0].tolist()
        assert ask(client, {"x": x[1:3].tolist()})["y"] == wanted[1:3].tolist()
        np.testing.assert_array_equal(ask(client, x[3:]).reshape(4, 3), wanted[3:])
        assert ask(client, {"x": 20}) == {"error": "x[0] must be from 0 to 19, got 20"}


def test_sessions_at_once_give_the_bits_of_each_alone(serve: Serve) -> None:
    model = steps_model()
    running = serve(model)
    inputs = [numbers(20 + i, 3, seed=i) for i in range(16)]

    def run(x: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(len(x))
        found, t = [], 0
        with running.stream() as client:
            while t < len(x):
                n = int(rng.integers(1, 5))
                found.append(ask(client, x[t : t + n]).reshape(-1, 2))
                t += n
        return np.concatenate(found)

    with ThreadPoolExecutor(16) as threads:
        for x, found in zip(inputs, threads.map(run, inputs), strict=True):
            np.testing.assert_array_equal(found, model(x[None])[0])


def test_what_waits_for_the_engine_goes_together(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine)
    inputs = [numbers(steps, 3, seed=steps) for steps in (1, 3, 2, 1)]
    with ExitStack() as stack:
        clients = [stack.enter_context(running.stream()) for _ in inputs]
        clients[0].send(inputs[0].tobytes())
        settle(lambda: engine.calls == [1])
        for client, x in zip(clients[1:], inputs[1:], strict=True):
            client.send(x.tobytes())
        settle(lambda: len(running.service.sessions.batcher) == 3)
        engine.go.set()
        for client, x in zip(clients, inputs, strict=True):
            found = np.frombuffer(client.recv(LONG), np.float32).reshape(-1, 2)
            np.testing.assert_array_equal(found, engine.model(x[None])[0])
    assert engine.calls == [1, 3, 2, 1]
    assert running.metrics()["gru_batch_size_sum", "/stream"] == 4
    assert running.metrics()["gru_batch_size_count", "/stream"] == 2


# --- what is refused -----------------------------------------------------------------------------


def test_an_error_leaves_the_session_as_it_was(serve: Serve) -> None:
    model = steps_model()
    x = numbers(2, 3)
    nan = numbers(2, 3)
    nan[1, 0] = np.nan
    with serve(model, max_steps=5, max_answer=24).stream() as client:
        ask(client, x[0])
        for message, error in (
            ({"x": [1, 2]}, "x must hold a step's 3 numbers, or steps, got 2"),
            ({"x": 1}, "x must hold a step's 3 numbers, or steps, got no list"),
            ({"x": []}, "x must hold a step's 3 numbers, or steps, got 0"),
            ({"x": [[1, 2]]}, "x must have the shape (T, 3), got (1, 2)"),
            ({"x": [1, 2, None]}, "x must hold numbers alone, got null"),
            ({"y": 1}, "a message must hold 'x', or 'reset' and true, got 'y'"),
            ({"reset": 0}, "a message must hold 'x', or 'reset' and true, got 'reset'"),
            ([], "the body must be a JSON object, got a list"),
            (x[0, :2], "a binary message must hold steps of 12 bytes each, got 8 bytes"),
            (x[:0], "a binary message must hold steps of 12 bytes each, got 0 bytes"),
            (nan, "x[1][0] must be finite in float32, got nan"),
            (numbers(6, 3), "a message must have from 1 to 5 steps, got 6"),
            (numbers(4, 3), "the answer must have at most 24 bytes, it has 32"),
        ):
            assert ask(client, message) == {"error": error}
        np.testing.assert_array_equal(ask(client, x[1]), model(x[None])[0, 1])


def test_a_model_that_needs_the_whole_sequence(serve: Serve) -> None:
    model = gru.Sequential([gru.GRU(3, 4, bidirectional=True, seed=0)])
    running = serve(model)
    x = numbers(5, 3)
    np.testing.assert_array_equal(running.predict(x), model(x[None])[0])
    with running.stream() as client:
        code, reason = closed(client)
    assert code == 1008
    assert reason.startswith("a stream")
    about = running.http.get("/model").json()
    assert about["streams"] is False
    assert about["why_not"].startswith(reason)


def test_no_more_sessions_than_allowed(serve: Serve) -> None:
    running = serve(steps_model(), max_sessions=2)
    x = numbers(1, 3)
    with running.stream() as one, running.stream() as two:
        assert [ask(one, x).shape, ask(two, x).shape] == [(2,), (2,)]
        with running.stream() as three:
            assert closed(three) == (1013, "all 2 sessions are taken")
    settle(lambda: len(running.service.sessions) == 0)
    with running.stream() as four:
        assert ask(four, x).shape == (2,)
    settle(lambda: running.metrics().get(("gru_sessions_closed_total", "1000")) == 3)
    assert running.metrics()["gru_sessions_closed_total", "1013"] == 1


def test_a_message_too_large(serve: Serve) -> None:
    running = serve(steps_model(), max_body=1200)
    with running.stream() as client:
        assert ask(client, numbers(100, 3)).shape == (200,)
        client.send(numbers(101, 3).tobytes())
        assert closed(client)[0] == 1009
    running = serve(steps_model(), max_json=100)
    with running.stream() as client:
        assert ask(client, numbers(100, 3)).shape == (200,)
        client.send(json.dumps({"x": numbers(9, 3).tolist()}))
        assert closed(client) == (1009, "a message must have at most 100 bytes")
    settle(lambda: len(running.service.sessions) == 0)


def test_a_silent_session_ends(serve: Serve) -> None:
    running = serve(steps_model(), idle_timeout=0.1)
    with running.stream() as client:
        assert closed(client) == (1008, "no message in 0.1 s")
    settle(lambda: len(running.service.sessions) == 0)


def test_a_client_that_does_not_read_is_cut(serve: Serve) -> None:
    """It is sent 40 MB, which no socket's buffer takes, and nobody else waits for it."""
    running = serve(steps_model(width=1, outputs=500), send_timeout=0.3)
    with running.stream(max_queue=1) as deaf:
        for _ in range(20):
            deaf.send(numbers(1000, 1).tobytes())
        with running.stream() as client:
            assert ask(client, numbers(1, 1)).shape == (500,)
        settle(lambda: len(running.service.sessions) == 0)
        settle(lambda: not running.server.server_state.connections)
        with pytest.raises(ConnectionClosed):
            receive_all(deaf)


def test_a_client_that_vanishes(serve: Serve) -> None:
    engine = WaitingEngine(steps_model())
    running = serve(engine)
    for busy in (False, True):
        with running.stream() as client:
            settle(lambda: len(running.service.sessions) == 1)
            if busy:
                client.send(numbers(50, 3).tobytes())
                settle(lambda: engine.calls)
            client.socket.shutdown(socket.SHUT_RDWR)  # no close frame
            engine.go.set()
            settle(lambda: len(running.service.sessions) == 0)


def test_pages_of_other_hosts_may_not_stream(serve: Serve) -> None:
    running = serve(steps_model(), origins=("https://good.example",))
    for origin in (running.url, "https://good.example"):
        with running.stream(origin=origin) as client:
            assert ask(client, numbers(1, 3)).shape == (2,)
    with pytest.raises(InvalidStatus) as refused, running.stream(origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["error"].startswith("Origin must be")
