"""Stands before all routes: counts requests, refuses while draining, turns errors into JSON."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gru.service.metrics import Metrics
from gru.service.refusal import GoneError, RefusalError

__all__ = ["DRAINING", "Gate"]

DRAINING = "the service is ending"
ALWAYS = ("/healthz", "/metrics")  # also while it drains
LEFT = 499  # of requests whose client left: what servers use for it, never sent
log = logging.getLogger("gru.service")


class Gate:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI app
        Behind it.
    routes : collection of str
        Paths with a counter of their own; all others share one.
    metrics : Metrics
        Is told of every request.

    Attributes
    ----------
    draining : bool
        Whether new requests are refused with 503.
    active : int
        Requests that are not answered yet.
    """

    def __init__(self, app: ASGIApp, routes: tuple[str, ...], metrics: Metrics) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self.draining = False
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        self.active += 1
        code = LEFT
        try:
            code = await self._answer(scope, receive, send)
        finally:
            self.active -= 1
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.answered(route, code, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        code = 0

        async def watched(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            if self.draining and scope["path"] not in ALWAYS:
                raise RefusalError(503, DRAINING, close=True)
            await self._app(scope, receive, watched)
        except GoneError:
            return LEFT
        except RefusalError as refusal:
            await refusal.response()(scope, receive, watched)
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            if code:
                raise  # half an answer: the connection must break
            failed = RefusalError(500, "the service failed; its log says why", close=True)
            await failed.response()(scope, receive, watched)
        return code
