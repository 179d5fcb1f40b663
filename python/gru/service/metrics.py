"""What a service counts, in the text format of Prometheus; knows no route and no engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Three a decade: a step takes microseconds, the longest sequence seconds.
SECONDS = tuple(float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 2, 5))
SIZES = tuple(float(2**power) for power in range(12))


class Metrics:
    """The counters of one app; two apps of a process do not share them.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.answered("/predict", 200, 0.003)
    >>> 'gru_requests_total{code="200",route="/predict"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        kept = self._registry
        self._requests = Counter(
            "gru_requests_total",
            "Requests answered; code 499 is a client that left before.",
            ("route", "code"),
            registry=kept,
        )
        self._latency = Histogram(
            "gru_request_seconds",
            "From the request's first byte to the answer's last.",
            ("route",),
            buckets=SECONDS[6:],
            registry=kept,
        )
        self._engine = Histogram(
            "gru_engine_seconds",
            "Of one call of the engine for a batch.",
            ("route",),
            buckets=SECONDS,
            registry=kept,
        )
        self._batch = Histogram(
            "gru_batch_size",
            "Sequences (/predict) or sessions (/stream) of one call of the engine.",
            ("route",),
            buckets=SIZES,
            registry=kept,
        )
        self._steps = Counter("gru_stream_steps_total", "Steps of all sessions.", registry=kept)
        self._closed = Counter(
            "gru_sessions_closed_total",
            "Sessions that ended, by the code of their close frame.",
            ("code",),
            registry=kept,
        )
        self._queue = Gauge(
            "gru_queue_length",
            "Sequences or messages that wait for the engine.",
            ("route",),
            registry=kept,
        )
        self._sessions = Gauge("gru_open_sessions", "Open sessions.", registry=kept)
        # Looking a counter up by its labels takes longer than counting.
        self._of_answers = cache(self._answers)
        self._of_calls = cache(self._calls)

    def _answers(self, route: str, code: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(route, str(code)), self._latency.labels(route)

    def _calls(self, route: str) -> tuple[Histogram, Histogram]:
        return self._batch.labels(route), self._engine.labels(route)

    def answered(self, route: str, code: int, seconds: float) -> None:
        """Count a request."""
        requests, latency = self._of_answers(route, code)
        requests.inc()
        latency.observe(seconds)

    def computed(self, route: str, size: int, seconds: float) -> None:
        """Count a call of the engine."""
        batch, engine = self._of_calls(route)
        batch.observe(size)
        engine.observe(seconds)

    def stepped(self, steps: int) -> None:
        """Count steps of a session."""
        self._steps.inc(steps)

    def closed(self, code: int) -> None:
        """Count a session that ended."""
        self._closed.labels(str(code)).inc()

    def watch(self, route: str, waiting: Callable[[], float]) -> None:
        """Show the length of a queue whenever somebody asks."""
        self._queue.labels(route).set_function(waiting)

    def watch_sessions(self, open: Callable[[], float]) -> None:
        """Show the open sessions whenever somebody asks."""
        self._sessions.set_function(open)

    def text(self) -> bytes:
        """Return everything, as :data:`CONTENT_TYPE` has it."""
        return generate_latest(self._registry)
