"""Reads a request's body within its limits; knows nothing of what it holds."""

from __future__ import annotations

from starlette.types import Receive, Scope

from gru.service.deadline import Deadline
from gru.service.refusal import GoneError, RefusalError

__all__ = ["header", "read"]

# A client that still sends does not listen: this much more is read and dropped, so that it hears
# that its body is too large instead of a broken connection.
LINGER_BYTES = 2**24


def header(scope: Scope, name: bytes) -> str:
    """Return a header, or nothing.

    Examples
    --------
    >>> header({"headers": [(b"accept", b"a/b")]}, b"accept")
    'a/b'
    """
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def read(scope: Scope, receive: Receive, limit: int, seconds: float) -> bytes:
    """Return the whole body.

    Parameters
    ----------
    limit : int
        Bytes.
    seconds : float
        For all of it.

    Raises
    ------
    RefusalError
        With 413 if it is too large and 408 if it does not come.
    GoneError
        If the client leaves.
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit and header(scope, b"expect"):
        raise _too_large(limit, declared)  # it waits for leave to send
    chunks: list[bytes] = []
    size, more = 0, True
    deadline = Deadline(seconds)
    try:
        with deadline:
            while more and size <= limit + LINGER_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
                if size <= limit:
                    chunks.append(message.get("body", b""))
    finally:
        deadline.close()
    if deadline.passed:
        came = f"got {size} bytes of it"
        raise RefusalError(408, f"the body must come within {seconds:g} s, {came}", close=True)
    if size > limit:
        raise _too_large(limit, declared)
    return b"".join(chunks)


def _too_large(limit: int, declared: str) -> RefusalError:
    came = declared or "more"
    return RefusalError(413, f"the body must have at most {limit} bytes, got {came}", close=True)
