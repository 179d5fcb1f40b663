"""The WebSocket ``/stream``: a session, a message in, an answer out; knows no batches."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from gru._types import Array
from gru.service import wire
from gru.service.deadline import Deadline
from gru.service.engine import Interface
from gru.service.metrics import Metrics
from gru.service.refusal import RefusalError
from gru.service.sessions import Sessions
from gru.service.settings import Settings

__all__ = ["Stream"]

GOING_AWAY, BROKEN, TOO_LARGE, FAILED, TRY_LATER = 1001, 1008, 1009, 1011, 1013
LEFT = 1006  # without a close frame
REASON_BYTES = 123  # of a close frame


class _EndError(Exception):
    """The session ends, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Session:
    """One client's session.

    Its task is in one of three places: it waits for a message, it computes, it sends. It can be
    ended from outside in the first alone, so that a message that came is answered.
    """

    def __init__(
        self, socket: WebSocket, sessions: Sessions, interface: Interface, settings: Settings
    ) -> None:
        self._socket = socket
        self._sessions = sessions
        self._interface = interface
        self._settings = settings
        self._ended = ""
        self._waiting = Deadline(settings.idle_timeout)
        self._sending = Deadline(settings.send_timeout)
        self._dtype = interface.input_dtype.newbyteorder("<")
        self._step_bytes = self._dtype.itemsize * math.prod(interface.step_shape)
        self._answer_dtype = np.dtype(interface.dtype).newbyteorder("<")

    def end(self, reason: str) -> None:
        """Close the session when it has nothing in work."""
        self._ended = reason
        self._waiting.end()

    async def run(self) -> None:
        """Answer messages until the client leaves; an ``_EndError`` says how it ends else."""
        id = await self._sessions.open()
        try:
            while True:
                message = await self._receive()
                try:
                    answer = await self._answer(id, message)
                except RefusalError as refusal:  # the state is as it was: the session goes on
                    answer = json.dumps({"error": refusal.message})
                    await asyncio.sleep(0)  # others come in between
                await self._send(answer)
        finally:
            self._waiting.close()
            self._sending.close()
            self._sessions.close(id)

    async def _receive(self) -> str | bytes:
        message: Any = None
        if not self._ended:
            with self._waiting:
                message = await self._socket.receive()
        if message is None:
            if self._ended:
                raise _EndError(GOING_AWAY, self._ended)
            raise _EndError(BROKEN, f"no message in {self._settings.idle_timeout:g} s")
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", LEFT))
        text: str | None = message.get("text")
        content: str | bytes = message["bytes"] if text is None else text
        limits = self._settings
        most = limits.max_body if text is None else limits.max_json
        if len(content) > most:
            raise _EndError(TOO_LARGE, f"a message must have at most {most} bytes")
        return content

    async def _send(self, answer: str | bytes) -> None:
        kind = "text" if isinstance(answer, str) else "bytes"
        with self._sending:
            await self._socket.send({"type": "websocket.send", kind: answer})
        if self._sending.passed:
            seconds = self._settings.send_timeout
            raise _EndError(BROKEN, f"answers were not read for {seconds:g} s")

    # --- messages --------------------------------------------------------------------------------

    async def _answer(self, id: int, message: str | bytes) -> str | bytes:
        if isinstance(message, bytes):
            y = await self._step(id, self._rows(message))
            return y.astype(self._answer_dtype, copy=False).tobytes()
        found = wire.parse(message)
        if found == {"reset": True}:
            await self._sessions.reset(id)
            return '{"reset":true}'
        if found.keys() != {"x"}:
            keys = ", ".join(map(repr, found)) or "nothing"
            wire.refuse(f"a message must hold 'x', or 'reset' and true, got {keys[: wire.SHOWN]}")
        x, one = self._steps(found["x"])
        y = await self._step(id, x)
        return wire.as_json("y", y[0] if one else y).decode()

    def _rows(self, message: bytes) -> Array:
        """Read a binary message: rows of the model's dtype, little-endian, one after the other."""
        size = self._step_bytes
        if not message or len(message) % size:
            wire.refuse(
                f"a binary message must hold steps of {size} bytes each, got {len(message)} bytes"
            )
        x = np.frombuffer(message, self._dtype).reshape(-1, *self._interface.step_shape)
        return wire.steps_of("x", x, self._interface)

    def _steps(self, value: Any) -> tuple[Array, bool]:
        """Read one step or a block of them; returns a block, and whether it was one step."""
        one = not isinstance(value, list)
        if not self._interface.tokens:
            width = self._interface.width
            one = not (isinstance(value, list) and value and isinstance(value[0], list))
            if one and not (isinstance(value, list) and len(value) == width):
                came = len(value) if isinstance(value, list) else "no list"
                wire.refuse(f"x must hold a step's {width} numbers, or steps, got {came}")
        return wire.array_of("x", [value] if one else value, self._interface), one

    async def _step(self, id: int, x: Array) -> Array:
        limits, interface = self._settings, self._interface
        if not 1 <= len(x) <= limits.max_steps:
            wire.refuse(f"a message must have from 1 to {limits.max_steps} steps, got {len(x)}")
        size = len(x) * interface.outputs * self._answer_dtype.itemsize
        if size > limits.max_answer:
            wire.refuse(f"the answer must have at most {limits.max_answer} bytes, it has {size}")
        return await self._sessions.step(id, x)


class Stream:
    """The route: opens sessions, and closes them with a code and a reason.

    Parameters
    ----------
    sessions : Sessions
        Computes.
    interface : Interface
        What a step is.
    settings : Settings
        Limits.
    metrics : Metrics
        Is told of every session that ends.
    """

    def __init__(
        self, sessions: Sessions, interface: Interface, settings: Settings, metrics: Metrics
    ) -> None:
        self._sessions = sessions
        self._interface = interface
        self._settings = settings
        self._metrics = metrics
        self._running: set[_Session] = set()
        self._ended = ""

    def end(self, reason: str) -> None:
        """Close all sessions with 1001, each when it has nothing in work; open no more."""
        self._ended = reason
        for session in tuple(self._running):
            session.end(reason)

    def __len__(self) -> int:
        """Return how many sessions run, those included that are just being closed."""
        return len(self._running)

    async def __call__(self, socket: WebSocket) -> None:
        """Run one session."""
        if self._ended:
            await socket.send_denial_response(RefusalError(503, self._ended).response())
            return
        if not self._may_come(socket):
            refusal = RefusalError(403, "Origin must be the service's own, or one that it allows")
            await socket.send_denial_response(refusal.response())
            return
        await socket.accept()
        session = _Session(socket, self._sessions, self._interface, self._settings)
        self._running.add(session)
        try:
            code = await self._run(session, socket)
        finally:
            self._running.discard(session)
        self._metrics.closed(code)

    async def _run(self, session: _Session, socket: WebSocket) -> int:
        """Run a session to its end; returns the code of its close frame."""
        try:
            if self._sessions.refused:
                raise _EndError(BROKEN, self._sessions.refused)
            if self._sessions.full:
                raise _EndError(TRY_LATER, f"all {len(self._sessions)} sessions are taken")
            await session.run()
        except WebSocketDisconnect as left:
            return left.code
        except _EndError as end:
            return await self._close(socket, end.code, str(end))
        except Exception:
            await self._close(socket, FAILED, "the engine failed")
            raise
        return LEFT

    async def _close(self, socket: WebSocket, code: int, reason: str) -> int:
        words = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        # Who does not read gets no close frame either.
        deadline = Deadline(1)
        try:
            with suppress(WebSocketDisconnect, RuntimeError), deadline:
                await socket.close(code, words)
        finally:
            deadline.close()
        return code

    def _may_come(self, socket: WebSocket) -> bool:
        """Browsers let every page open a WebSocket to every host: the Origin is ours to check."""
        origin = socket.headers.get("origin")
        if origin is None or {"*", origin} & set(self._settings.origins):
            return True
        return urlsplit(origin).netloc == socket.headers.get("host")
