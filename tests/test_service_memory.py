"""That neither a request nor a second leaves anything behind; bench/soak.py counts pages."""

from __future__ import annotations

import email.utils
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from serving import LONG, Running, serve, settle, steps_model

__all__ = ["serve"]  # a fixture

# Each in a Python of its own: CPython's cache of methods goes by the address of a name and keeps
# the name, which is to be seen only until the cache has seen many. Between two calls a string of
# the size of a short name is kept, so that no call gets the addresses of the one before.
PROGRAM = """
import sys
{imports}
call = lambda: {call}
call()
call()
kept = []
before = sys.getallocatedblocks()
for i in range(500):
    call()
    kept.append(str(1000 + i))
print(sys.getallocatedblocks() - before - len(kept) if before else "none")
"""

SERVER = """
import asyncio, gru
from gru.service import create_app
from gru.service.server import Server
model = gru.Sequential([gru.GRU(3, 4), gru.Last()])
server = Server(create_app(model), print)
run = asyncio.new_event_loop().run_until_complete
"""


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from gru.service.wire import parse", """parse(b'{"x": [[1, 2.5, 3]]}')"""),
        ("from gru.service.wire import parse", """parse('{"reset": true}')"""),
        (SERVER, "run(server.on_tick(0))"),
    ],
    ids=["body", "message", "second"],
)
def test_nothing_is_left_behind(imports: str, call: str) -> None:
    program = PROGRAM.format(imports=imports, call=call)
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    if out.stdout == "none\n":
        pytest.skip("this Python's allocator does not count")
    # A list that grows, and free lists; what is kept made 250 to 530 in CPython 3.11.
    assert abs(int(out.stdout)) < 30


def test_answers_are_dated(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(steps_model())

    def date() -> str:
        return running.http.get("/healthz").headers["date"]

    for _ in range(2):  # it goes on, and is ours
        then = email.utils.parsedate_to_datetime(date()).timestamp()
        assert abs(time.time() - then) < LONG
        first = date()
        settle(lambda first=first: date() != first)
    monkeypatch.setattr("gru.service.server.format_date_time", lambda now: "today")
    settle(lambda: date() == "today")
