"""Loads a service from a process of its own: ``run JSON``, ``ok JSON``; knows no engine.

Connections are opened once for all bursts, since a service that gets 64 new ones has garbage to
collect for a while. They speak HTTP or WebSocket by hand: a client's library would take longer than
the service. The loader itself collects garbage between bursts alone. In a closed loop each
connection asks again as soon as it is answered. In an open one requests are due at random times (a
Poisson process of a given rate), whatever the answers do; their latency counts from when they were
due, so that a service that stalls is not flattered.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n"
)
BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
GIVE_UP_SECONDS = 120.0


def http_request(body: bytes) -> bytes:
    head = "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-npy\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def frame(payload: bytes, kind: int = BINARY) -> bytes:
    """Return a client's frame; a mask of zeros changes nothing and is a mask."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return bytes([kind]) + length + bytes(4) + payload


def http_length(buffer: bytearray) -> int:
    """Return how long the response at the start of a buffer is, or 0 if it is not all there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(buffer[:end]).lower()
    if not head.startswith((b"http/1.1 200", b"http/1.1 101")):
        raise RuntimeError(bytes(buffer[: end + 300]).decode())
    _, found, rest = head.partition(b"content-length:")
    total = end + 4 + (int(rest.split(b"\r\n")[0]) if found else 0)
    return total if len(buffer) >= total else 0


def frame_length(buffer: bytearray) -> int:
    """Return how long the frame at the start of a buffer is, or 0 if it is not all there."""
    if len(buffer) < 4:
        return 0
    if buffer[0] == CLOSE or buffer[0] & 0x0F == 1:
        raise RuntimeError(bytes(buffer[2:]).decode(errors="replace"))
    size = buffer[1]
    total = 2 + size if size < 126 else 4 + int.from_bytes(buffer[2:4], "big")
    return total if len(buffer) >= total else 0


class Client(asyncio.Protocol):
    """One connection: sends a request, tells when it is answered."""

    def __init__(self, length: Any, opening: bytes) -> None:
        self.answered: Callable[[Client], None] = lambda client: None
        self.length = http_length if opening else length
        self.later = length
        self.opening = opening
        self.buffer = bytearray()
        self.due = 0.0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed: Callable[[Exception], None] = lambda error: None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.opening:
            transport.write(self.opening)
        else:
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            self.take()
        except RuntimeError as error:
            self.failed(error)

    def take(self) -> None:
        while size := self.length(self.buffer):
            kind, content = self.buffer[0], bytes(self.buffer[2:size])
            del self.buffer[:size]
            if not self.ready.done():
                self.length = self.later
                self.ready.set_result(None)
            elif kind == PING:
                self.transport.write(frame(content, PONG))
            else:
                self.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.failed(ConnectionError("the service closed a connection"))

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)


@dataclass(frozen=True)
class Load:
    """What is asked for: requests, how many of them, and their rate in an open loop."""

    port: int
    kind: str  # predict or stream
    bodies: str  # an .npy of inputs (n, T, I), or of steps (n, I)
    connections: int
    count: int
    rate: float = 0.0
    seed: int = 0


class Burst:
    """One load, from its first request to its last answer."""

    def __init__(self, load: Load, clients: list[Client]) -> None:
        self.load = load
        self.clients = clients
        inputs = np.load(load.bodies)
        if load.kind == "stream":
            self.requests = [frame(x.tobytes()) for x in inputs]
        else:
            self.requests = [http_request(npy(x)) for x in inputs]
        self.sent = 0
        self.latencies: list[float] = []
        self.free = deque(clients)
        self.late: deque[float] = deque()  # due, and no connection is free
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> dict[str, Any]:
        for client in self.clients:
            client.answered, client.failed = self.answered, self.fail
        began = time.perf_counter()
        spinning = asyncio.ensure_future(self.due_times() if self.load.rate else self.all_at_once())
        await asyncio.wait_for(self.done, GIVE_UP_SECONDS)
        seconds = time.perf_counter() - began
        await spinning
        return {"seconds": seconds, "latencies": [round(1e6 * t, 1) for t in self.latencies]}

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    async def all_at_once(self) -> None:
        while self.free and self.sent < self.load.count:
            self.ask(self.free.popleft(), time.perf_counter())

    async def due_times(self) -> None:
        """Look at the clock all the time: a sleeping loop wakes up to a millisecond late."""
        rng = random.Random(self.load.seed)
        due = time.perf_counter()
        for _ in range(self.load.count):
            due += rng.expovariate(self.load.rate)
            while time.perf_counter() < due:
                await asyncio.sleep(0)
                if self.done.done():
                    return
            if self.free:
                self.ask(self.free.popleft(), due)
            else:
                self.late.append(due)
        while not self.done.done():
            await asyncio.sleep(0)

    def ask(self, client: Client, due: float) -> None:
        client.send(self.requests[self.sent % len(self.requests)], due)
        self.sent += 1

    def answered(self, client: Client) -> None:
        now = time.perf_counter()
        self.latencies.append(now - client.due)
        if len(self.latencies) == self.load.count:
            if not self.done.done():
                self.done.set_result(None)
        elif self.load.rate:
            if self.late:
                self.ask(client, self.late.popleft())
            else:
                self.free.append(client)
        elif self.sent < self.load.count:
            self.ask(client, now)


def npy(x: np.ndarray) -> bytes:
    from gru.service.wire import as_npy

    return as_npy(x)


async def connect(load: Load) -> list[Client]:
    loop = asyncio.get_running_loop()
    opening = HANDSHAKE if load.kind == "stream" else b""
    length = frame_length if opening else http_length
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(
            lambda: Client(length, opening), "127.0.0.1", load.port
        )
        await client.ready
        clients.append(client)
    return clients


async def run(load: Load, opened: dict[int, list[Client]]) -> dict[str, Any]:
    """Run one burst; connections to a port are opened for the first."""
    if load.port not in opened:
        opened[load.port] = await connect(load)
    try:
        return await Burst(load, opened[load.port]).run()
    except Exception:
        for client in opened.pop(load.port):
            client.transport.close()
        raise


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready 1", file=replies, flush=True)
    opened: dict[int, list[Client]] = {}
    loop = asyncio.new_event_loop()
    gc.disable()
    for line in sys.stdin:
        _, _, text = line.partition(" ")
        gc.collect()
        try:
            found = loop.run_until_complete(run(Load(**json.loads(text)), opened))
            reply = f"ok {json.dumps(found)}"
        except Exception as error:
            reply = f"failed {type(error).__name__}: {' '.join(str(error).split())}"
        print(reply, file=replies, flush=True)


if __name__ == "__main__":
    main()
