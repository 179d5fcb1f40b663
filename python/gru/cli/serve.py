"""``gru serve``: a model behind HTTP and WebSocket, until it is told to end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import gru
from gru import check
from gru.cli.output import check_stdout, emit
from gru.cli.parser import CommandError, Parser, between, whole
from gru.cli.stored import load
from gru.extras import MissingError, missing

__all__ = ["options", "run"]

RULES = """\
Routes: POST /predict (JSON or .npy), WebSocket /stream, GET /healthz, /metrics, /model, and a page
at /. Sizes are bytes, or text such as 64MB. SIGTERM and Ctrl-C let what came be answered, refuse
what is new, close sessions, and end with code 0; a second one ends at once.
"""
FOREVER = 2.0**31


def _size(text: str) -> int:
    """Return a number of bytes."""
    try:
        return check.memory("size", int(text) if text.isdigit() else text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number of bytes such as 64MB, got {text!r}"
        ) from None


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULES
    add = parser.add_argument
    count, seconds = partial(whole, 1, 2**31 - 1), between(0, FOREVER, above=True)
    add("model", metavar="MODEL", help="a model file of any format")
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=whole(0, 65535), default=8000, help="0 takes a free one (8000)")
    add("--threads", type=whole(1, check.MOST_THREADS), help="of a call of the engine (1)")
    limits = parser.add_argument_group("limits")
    for name, kind, metavar, help in _limits(count(), _size, seconds):
        limits.add_argument(f"--{name}", type=kind, metavar=metavar, help=help)
    limits.add_argument(
        "--origin", action="append", metavar="URL", help="of a page elsewhere that may stream"
    )
    parser.set_defaults(run=run)


def _limits(
    count: Callable[[str], int], size: Callable[[str], int], seconds: Callable[[str], float]
) -> list[tuple[str, Any, str, str]]:
    """Return name, type, metavar and help of the options that are fields of the settings."""
    return [
        ("max-body", size, "SIZE", "of a request or message (4MiB)"),
        ("max-json", size, "SIZE", "of one in JSON (256KiB)"),
        ("max-steps", count, "N", "steps of a sequence (10000)"),
        ("max-answer", size, "SIZE", "of an answer's numbers (64MiB)"),
        ("max-queue", count, "N", "sequences that wait (256)"),
        ("max-batch", count, "N", "sequences of a call of the engine (64)"),
        ("max-sessions", count, "N", "open streams (1024)"),
        ("window", between(0, 60), "SECONDS", "a batch waits for what is being read (0.001)"),
        ("idle-timeout", seconds, "SECONDS", "of a stream (300)"),
        ("read-timeout", seconds, "SECONDS", "for a request to come (10)"),
        ("send-timeout", seconds, "SECONDS", "for an answer to be taken (10)"),
        ("drain-timeout", seconds, "SECONDS", "for what came to be answered (10)"),
    ]


def run(options: argparse.Namespace) -> None:
    """Load, listen, say where, and serve."""
    check_stdout()
    try:
        import uvicorn
        import websockets

        from gru.service import Settings, create_app
        from gru.service.server import Server, listen
    except MissingError as error:
        raise CommandError(str(error)) from None
    except ImportError as error:
        raise CommandError(str(missing("services", str(error.name), "service"))) from None
    del uvicorn, websockets
    given = {name: value for name, value in vars(options).items() if value is not None}
    settings = Settings(
        **{name: given[name] for name in Settings.__dataclass_fields__ if name in given},
        origins=tuple(options.origin or ()),
    )
    model = load(options.model)
    try:
        app = create_app(model, settings)
    except ValueError as error:
        raise CommandError(f"{options.model}: {error}") from None
    gru.set_num_threads(options.threads)
    try:
        listening = listen(options.host, options.port)
    except OSError as error:
        place = f"{options.host}:{options.port}"
        number = error.errno or 0  # negative where a name has no address
        reason = os.strerror(number) if number > 0 else error.strerror
        raise CommandError(f"{place}: {reason}") from None
    where = _address(options.host, listening.getsockname()[1])
    with listening:
        Server(app, lambda: emit(None, f"{options.model} on {where}\n")).serve_on(listening)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
