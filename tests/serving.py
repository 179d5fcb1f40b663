"""What the tests of the service share: a server in a thread, an engine that waits, bodies."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gru

for _name in ("starlette", "uvicorn", "websockets", "prometheus_client", "httpx"):
    pytest.importorskip(_name)  # skips whoever imports this file

import httpx  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

from gru.service import GruEngine, Settings, create_app  # noqa: E402
from gru.service.batching import Batcher, FullError  # noqa: E402
from gru.service.deadline import Deadline  # noqa: E402
from gru.service.lane import Lane  # noqa: E402
from gru.service.metrics import Metrics  # noqa: E402
from gru.service.server import Server, listen  # noqa: E402
from gru.service.sessions import Sessions  # noqa: E402

__all__ = [
    "LONG",
    "NPY",
    "Batcher",
    "ClientConnection",
    "ConnectionClosed",
    "Deadline",
    "FullError",
    "GruEngine",
    "InvalidStatus",
    "Lane",
    "Metrics",
    "Running",
    "Sessions",
    "Settings",
    "WaitingEngine",
    "connect",
    "httpx",
    "npy",
    "numbers",
    "read_npy",
    "serve",
    "settle",
    "steps_model",
    "token_model",
]

NPY = {"content-type": "application/x-npy"}
LONG = 60.0  # seconds until a test that hangs is given up


class Running:
    """A service on a free port."""

    def __init__(self, model: Any, **settings: Any) -> None:
        self.app = create_app(model, Settings(**settings))
        self.service = self.app.state.service
        self.listening = listen("127.0.0.1", 0)
        self.address = self.listening.getsockname()
        ready = threading.Event()
        self.server = Server(self.app, lambda: self._ready(ready))
        self.thread = threading.Thread(target=self.server.serve_on, args=(self.listening,))
        self.thread.start()
        assert ready.wait(LONG)
        self.http = httpx.Client(base_url=self.url, timeout=LONG)

    def _ready(self, event: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        event.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def post(self, body: Any, **more: Any) -> httpx.Response:
        """Ask for a prediction, as JSON unless the body is bytes."""
        if isinstance(body, bytes):
            return self.http.post("/predict", content=body, headers=NPY, **more)
        return self.http.post("/predict", json=body, **more)

    def predict(self, x: Any) -> np.ndarray:
        """Return the answer for one sequence, through .npy."""
        answer = self.post(npy(x))
        assert answer.status_code == 200, answer.text
        return read_npy(answer.content)

    def stream(self, **options: Any) -> ClientConnection:
        options = {"open_timeout": LONG, "max_size": None, "compression": None, **options}
        return connect(f"ws://127.0.0.1:{self.address[1]}/stream", **options)

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return all samples: name and values of labels -> value."""
        text = self.http.get("/metrics").text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def close(self) -> None:
        self.http.close()
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.end)
        self.thread.join(LONG)
        assert not self.thread.is_alive()
        self.listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Start services that end with the test."""
    running: list[Running] = []

    def start(model: Any, **settings: Any) -> Running:
        running.append(Running(model, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


class WaitingEngine(GruEngine):
    """Computes when it is told to, and notes what it was asked."""

    never_waits = False

    def __init__(self, model: gru.Sequential) -> None:
        super().__init__(model)
        self.go = threading.Event()
        self.busy = threading.Event()
        self.batches: list[list[int]] = []  # lengths

    def predict(self, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        self.batches.append([x.shape[1]] * len(x) if lengths is None else lengths.tolist())
        self.busy.set()
        assert self.go.wait(LONG)
        return super().predict(x, lengths)


def settle(true: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def npy(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def read_npy(content: bytes) -> np.ndarray:
    found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def steps_model(dtype: str = "float32", width: int = 3, outputs: int = 2) -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(width, 16, dtype=dtype, seed=0),
            gru.LSTM(16, 8, dtype=dtype, seed=1),
            gru.Linear(8, outputs, dtype=dtype, seed=2),
        ]
    )


def token_model() -> gru.Sequential:
    layers = [gru.Embedding(20, 4, seed=0), gru.GRU(4, 8, seed=1), gru.Last(), gru.Linear(8, 3)]
    return gru.Sequential(layers)
