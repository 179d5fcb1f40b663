"""The service with one of the engines behind it: ``python -m workers.service ENGINE MODEL``.

Says ``ready VERSION PORT``. ``figures`` is answered with what the engine and the process have done
so far, as JSON. The end of stdin ends it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import gru
from gru.service import Settings, create_app
from gru.service.server import Server, listen
from workers.service_engines import ENGINES, Timed


def figures(timed: Timed) -> dict[str, float]:
    """Return counts, and seconds of the engine and of all."""
    found = {"calls": timed.calls, "rows": timed.rows, "engine": timed.seconds}
    return {**found, "cpu": time.process_time()}


def answer(timed: Timed, server: Server, replies: object) -> None:
    """Answer the one who measures, until there is nobody."""
    for _ in sys.stdin:
        print(f"ok {json.dumps(figures(timed))}", file=replies, flush=True)  # type: ignore[call-overload]
    server.should_exit = server.force_exit = True


def main(name: str, path: str) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like a reply
    engine = ENGINES[name](gru.load(path))
    timed = Timed(engine)
    app = create_app(timed, Settings(max_queue=4096))
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        ready = f"ready {engine.version} {port}"
        server = Server(app, lambda: print(ready, file=replies, flush=True))
        threading.Thread(target=answer, args=(timed, server, replies), daemon=True).start()
        server.serve_on(listening)


if __name__ == "__main__":
    main(*sys.argv[1:])
