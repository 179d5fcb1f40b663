"""A model behind HTTP and WebSocket: one ASGI app; the engine's part is an interface."""

from __future__ import annotations

try:
    import prometheus_client  # noqa: F401
    import starlette  # noqa: F401
except ImportError as error:
    from gru.extras import missing

    raise missing("services", (error.name or "starlette").replace("_", "-"), "service") from None

from gru.service.app import create_app
from gru.service.engine import Engine, GruEngine, Interface, Pool
from gru.service.settings import Settings

__all__ = ["Engine", "GruEngine", "Interface", "Pool", "Settings", "create_app"]
