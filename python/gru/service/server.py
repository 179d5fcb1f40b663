"""Runs the app on uvicorn: signals drain, and connections that stand still are cut."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.handlers import format_date_time

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gru.service.app import Service
from gru.service.settings import Settings

__all__ = ["Server", "listen"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 65  # longer than the 60 of most proxies, so that they close, not we
# A thread that comes back from the engine waits so long for a loop that is busy; Python's 5 ms are
# many times what a step takes.
SWITCH_SECONDS = 5e-4
# Once all is answered, connections that do not end by themselves get this.
LAST_SECONDS = 2


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    OSError
        If the address is taken, or no address of this machine.

    Examples
    --------
    >>> with listen("127.0.0.1", 0) as listening:
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


class Server(uvicorn.Server):
    """uvicorn's server, told to end in our way: it goes on listening while it drains.

    Parameters
    ----------
    app : Starlette
        From :func:`gru.service.create_app`.
    started : callable
        Is called when requests are taken.
    """

    def __init__(self, app: Starlette, started: Callable[[], object]) -> None:
        self._service: Service = app.state.service
        self._started = started
        self._draining: asyncio.Task[None] | None = None
        super().__init__(_config(app, self._service.settings))

    def serve_on(self, listening: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT, and return when all that came is answered.

        A second signal ends it at once.

        Parameters
        ----------
        listening : socket
            From :func:`listen`.
        """
        self.run([listening])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        if _main_thread():  # else the process is somebody else's
            # A full collection walks all that was imported, and nobody is answered for 40 ms.
            gc.collect()
            gc.freeze()
            sys.setswitchinterval(SWITCH_SECONDS)
        self._started()

    async def on_tick(self, counter: int) -> bool:
        """Write the date of the answers once a second, and do what uvicorn does besides.

        uvicorn, which calls this every tenth of a second, takes the date from `datetime`. That asks
        a time zone by a new string every time, and Python's cache of methods keeps some hundreds of
        them: a page of memory a minute.
        """
        if counter % 10 == 0:
            date = format_date_time(time.time()).encode()
            self.server_state.default_headers = [(b"date", date), *self.config.encoded_headers]
            counter += 1  # its own date comes at every tenth
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain, where uvicorn would raise the signal again when all is done."""
        loop = asyncio.get_running_loop()
        signals = SIGNALS if _main_thread() else ()
        for number in signals:
            loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def end(self) -> None:
        """Drain and return from :meth:`serve_on`, asked again at once; call it in the loop."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:
            self.should_exit = self.force_exit = True

    async def _drain(self) -> None:
        await self._service.drain()
        self.should_exit = True


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_impatient_http(settings.read_timeout, settings.send_timeout),
        ws=_impatient(WebSocketsSansIOProtocol, settings.send_timeout),
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,  # a small message may not become a large one
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
        lifespan="on",
    )


def _impatient(protocol: Any, seconds: float) -> Any:
    """Return a protocol that cuts the connection of a client that takes nothing for so long."""

    class Impatient(protocol):  # type: ignore[misc]
        stuck: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self.stuck = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._unstick()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._unstick()

        def _unstick(self) -> None:
            if self.stuck is not None:
                self.stuck.cancel()
                self.stuck = None

    return Impatient


def _impatient_http(read_seconds: float, send_seconds: float) -> Any:
    """Return a protocol that also cuts one that does not finish the head of its request.

    uvicorn has a timer for the time between two requests alone.
    """

    class ImpatientHTTP(_impatient(AutoHTTPProtocol, send_seconds)):  # type: ignore[misc]
        head: asyncio.TimerHandle | None = None
        upgraded = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._got_head()
            elif self.head is None and not self.upgraded and not self.transport.is_closing():
                self._expect_head()

        def handle_websocket_upgrade(self, *event: Any) -> None:
            self.upgraded = True
            self._got_head()
            super().handle_websocket_upgrade(*event)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._got_head()

        def _expect_head(self) -> None:
            self.head = self.loop.call_later(read_seconds, self.transport.abort)

        def _got_head(self) -> None:
            if self.head is not None:
                self.head.cancel()
                self.head = None

    return ImpatientHTTP
