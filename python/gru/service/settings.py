"""What a service allows and how long it waits; knows no route."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gru import check

__all__ = ["Settings"]

MOST = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """Limits and waiting times of a service.

    Attributes
    ----------
    max_body : int
        Bytes of a request's body, and of a WebSocket message.
    max_json : int
        Bytes of one in JSON. Python reads a JSON text in one go, and all others wait: about 10 ms
        for the default. ``.npy`` takes a fifth of the bytes and next to no time.
    max_steps : int
        Steps of one sequence, and of one message of a session.
    max_answer : int
        Bytes of an answer's numbers.
    max_queue : int
        Sequences that wait for the engine.
    max_batch : int
        Sequences of one call of the engine.
    window : float
        Seconds that a batch waits for requests that are being read at that moment. A request that
        is alone never waits.
    max_sessions : int
        Open streaming sessions. Room for their states is taken when the service starts.
    idle_timeout : float
        Seconds after which a session without a message is closed.
    read_timeout : float
        Seconds in which a request's body must have come.
    send_timeout : float
        Seconds in which a client must take what a session answers.
    drain_timeout : float
        Seconds that requests may still take once the service was told to end.
    origins : tuple of str
        Origins (``https://example.org``) of other hosts' pages that may open sessions; ``"*"`` is
        all. Pages of the service's own host always may, and so may programs, which send none.

    Raises
    ------
    TypeError, ValueError
        If one is of another type, or out of range.

    Examples
    --------
    >>> Settings(max_steps=500).max_steps
    500
    >>> Settings(window=-1)
    Traceback (most recent call last):
    ...
    ValueError: window must be a number from 0 to 2147483647, got -1
    """

    max_body: int = 2**22
    max_json: int = 2**18
    max_steps: int = 10_000
    max_answer: int = 2**26
    max_queue: int = 256
    max_batch: int = 64
    window: float = 1e-3
    max_sessions: int = 1024
    idle_timeout: float = 300.0
    read_timeout: float = 10.0
    send_timeout: float = 10.0
    drain_timeout: float = 10.0
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check all of them."""
        sizes = ("body", "json", "steps", "answer", "queue", "batch", "sessions")
        for name in (f"max_{size}" for size in sizes):
            check.integer(name, getattr(self, name), 1, MOST)
        for name in ("window", "idle_timeout", "read_timeout", "send_timeout", "drain_timeout"):
            if not 0 <= check.number(name, getattr(self, name)) <= MOST:
                found = getattr(self, name)
                raise ValueError(f"{name} must be a number from 0 to {MOST}, got {found!r}")
        wanted = "a tuple of strings"
        given: Iterable[object] = check.instance("origins", self.origins, (tuple, list), wanted)
        object.__setattr__(self, "origins", tuple(check.text("an origin", one) for one in given))
