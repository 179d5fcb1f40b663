"""Answers as ``workers.service`` does its streams, with nothing behind: the machine alone.

No framework, no engine, one thread: each message of a WebSocket takes the same processor time. How
long its slowest answers take at half load is the machine's doing, and the queue's: of arrivals at
random the slowest of a hundred takes 4.3 times the median even where nothing ever stands still.
Knows clients that send frames of at least two bytes, as the one who measures does.
Speaks to the one who measures as ``workers.service`` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

import uvloop

SECONDS = 110e-6  # of a message; with what asyncio takes about 150, as the service at full load
OPENING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
ANSWER = b"\x82\x20" + bytes(32)  # eight numbers in a binary frame
MASKED, SIZED = 6, 8  # what stands before a client's data: of up to 125 bytes, of more


class Bare(asyncio.Protocol):
    """One connection."""

    answered = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""
        self.open = False

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            _, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self.open, self.buffer = True, rest
            self.transport.write(OPENING)
        while len(self.buffer) >= SIZED:
            short = self.buffer[1] & 0x7F
            long = int.from_bytes(self.buffer[2:4], "big")
            size = MASKED + short if short < 126 else SIZED + long
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            end = time.thread_time() + SECONDS
            while time.thread_time() < end:
                pass
            Bare.answered += 1
            self.transport.write(ANSWER)


def answer() -> None:
    """Answer the one who measures, until there is nobody."""
    for _ in sys.stdin:
        done = {"calls": Bare.answered, "rows": Bare.answered, "engine": 0.0}
        print(f"ok {json.dumps({**done, 'cpu': time.process_time()})}", flush=True)
    os._exit(0)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    threading.Thread(target=answer, daemon=True).start()
    print(f"ready bare {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
