"""Puts the routes together; each of them is a file of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

import gru
from gru.service.engine import Engine, GruEngine
from gru.service.example import example
from gru.service.gate import DRAINING, Gate
from gru.service.lane import Lane
from gru.service.metrics import CONTENT_TYPE, Metrics
from gru.service.predict import Predict
from gru.service.refusal import RefusalError
from gru.service.sessions import Sessions
from gru.service.settings import Settings
from gru.service.stream import Stream

__all__ = ["Service", "create_app"]

# The page asks nobody else for anything, and no other page may frame it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LOOK_SECONDS = 0.01  # between two looks whether all is answered


class Service:
    """One app's engine, queues and counters; ``app.state.service``."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.metrics = Metrics()
        # One each: a long call of one is not waited for by the other.
        self._lanes = [
            Lane(f"gru-{name}", here=getattr(engine, "never_waits", False))
            for name in ("predict", "stream")
        ]
        self.predict = Predict(engine, settings, self.metrics, self._lanes[0])
        self.sessions = Sessions(engine, settings, self.metrics, self._lanes[1])
        self.stream = Stream(self.sessions, engine.interface, settings, self.metrics)
        self.gate: Gate | None = None
        self._html = files("gru.service").joinpath("page.html").read_text(encoding="utf-8")

    @asynccontextmanager
    async def running(self, app: object) -> AsyncIterator[None]:
        """Take requests while it is entered, once."""
        batchers = (self.predict.batcher, self.sessions.batcher)
        for batcher in batchers:
            batcher.start()
        try:
            yield
        finally:
            await self.drain()
            for batcher in batchers:
                await batcher.stop()
            for lane in self._lanes:
                lane.close()

    @property
    def draining(self) -> bool:
        """Whether it has been told to end."""
        return self.gate is not None and self.gate.draining

    async def drain(self) -> None:
        """Refuse what is new, close sessions, and wait until all that came is answered."""
        if self.gate is not None:
            self.gate.draining = True
        self.stream.end(DRAINING)
        end = time.monotonic() + self.settings.drain_timeout
        while time.monotonic() < end and (len(self.stream) or (self.gate and self.gate.active)):
            await asyncio.sleep(LOOK_SECONDS)

    # --- the small routes ------------------------------------------------------------------------

    def routes(self) -> list[BaseRoute]:
        """Return all of them."""
        return [
            Route("/", self._page),
            Route("/predict", self.predict, methods=["POST"]),
            WebSocketRoute("/stream", self.stream.__call__),
            Route("/model", self._model),
            Route("/example", self._example),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
        ]

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(self._html, headers={"content-security-policy": POLICY})

    async def _model(self, request: Request) -> Response:
        found = {
            "gru": gru.__version__,
            **asdict(self.engine.interface),
            **self.engine.describe(),
            "streams": not self.sessions.refused,
            "why_not": self.sessions.refused,
            "limits": asdict(self.settings),
        }
        return JSONResponse(found)

    async def _example(self, request: Request) -> Response:
        return JSONResponse(example(self.engine.interface))

    async def _health(self, request: Request) -> Response:
        if self.draining:
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = RefusalError(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
    response = found.response()
    response.headers.update(error.headers or {})
    return response


def create_app(
    model: gru.Sequential | Engine | str | os.PathLike[str], settings: Settings | None = None
) -> Starlette:
    """Return a service of a model as an ASGI app, for uvicorn or any other server.

    Parameters
    ----------
    model : Sequential, Engine, str or path
        A model, which is frozen; a file of any format that :func:`gru.load` opens; or whatever
        else computes behind the same routes.
    settings : Settings, optional
        Limits and waiting times.

    Returns
    -------
    Starlette
        It can be started once. Each process that serves it has a copy of the model.

    Raises
    ------
    TypeError, ValueError, RuntimeError, OSError
        If there is no such model.

    Examples
    --------
    >>> import gru
    >>> app = create_app(gru.Sequential([gru.GRU(3, 4)]), Settings(max_steps=100))
    >>> sorted(route.path for route in app.routes)
    ['/', '/example', '/healthz', '/metrics', '/model', '/predict', '/stream']
    """
    settings = Settings() if settings is None else settings
    if isinstance(model, (str, os.PathLike)):
        model = gru.load(model)
    service = Service(GruEngine(model) if isinstance(model, gru.Sequential) else model, settings)
    routes = service.routes()

    def gate(app: ASGIApp) -> ASGIApp:
        paths = tuple(route.path for route in routes if isinstance(route, Route))
        service.gate = Gate(app, paths, service.metrics)
        return service.gate

    app = Starlette(
        routes=routes,
        lifespan=service.running,
        middleware=[Middleware(gate)],
        exception_handlers={HTTPException: _http_error},
    )
    app.state.service = service
    return app
