"""The service as an ASGI app, for a server of your own: ``uvicorn app:app``.

Mount it beside other routes, put your own authentication before it, or change its limits.
"""

from __future__ import annotations

import os

from gru.service import Settings, create_app

app = create_app(os.environ["GRU_MODEL"], Settings(max_steps=2000, max_sessions=200))
