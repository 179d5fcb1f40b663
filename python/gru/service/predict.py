"""``POST /predict``: whole sequences, computed together with those of other requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gru._types import Array
from gru.batching import pad
from gru.service import wire
from gru.service.batching import Batcher, FullError
from gru.service.body import header, read
from gru.service.engine import Engine
from gru.service.lane import Lane
from gru.service.metrics import Metrics
from gru.service.refusal import GoneError, RefusalError
from gru.service.settings import Settings

__all__ = ["Predict"]

BATCH_VALUES = 2**24  # of a padded batch and of its outputs: 64 MB in float32
# An answer that comes sooner is not worth a task that watches whether the client is still there.
WATCH_SECONDS = 0.02
LONG_ANSWER = 5_000  # numbers that take some milliseconds as JSON: a worker thread writes them


@dataclass(frozen=True)
class Asked:
    """The sequences of a request, and how it wants its answer.

    Attributes
    ----------
    sequences : list of ndarray
        (T_i, I), or (T_i,) tokens.
    form : str
        ``"y"`` and ``"answers"`` in JSON; ``"npy"`` or a padded ``"batch"`` as ``.npy``.
    rows : int
        Steps that are answered if each is, padding included.
    """

    sequences: list[Array]
    form: str
    rows: int


class Predict:
    """The route, as an ASGI app.

    Parameters
    ----------
    engine : Engine
        Computes.
    settings : Settings
        Limits.
    metrics : Metrics
        Is told of every batch.
    lane : Lane
        Where the engine is called.
    """

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics, lane: Lane) -> None:
        self._engine = engine
        self._interface = engine.interface
        self._settings = settings
        self.batcher = Batcher[Array, Array](
            self._compute,
            lane,
            weigh=lambda x: 1 + len(x),
            fits=self._fits,
            room=settings.max_queue,
            window=settings.window,
            note=lambda size, seconds: metrics.computed("/predict", size, seconds),
        )
        metrics.watch("/predict", self.batcher.__len__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        limits = self._settings
        kind = _kind(scope)
        most = limits.max_json if kind == wire.JSON else limits.max_body
        with self.batcher.coming():
            body = await read(scope, receive, most, limits.read_timeout)
            asked = self._asked(scope, kind, body)
            try:
                futures = self.batcher.submit(asked.sequences)
            except FullError:
                raise RefusalError(
                    429, f"the queue holds at most {limits.max_queue} sequences; try again later"
                ) from None
        answers = await _unless_gone(futures, receive)
        response = await _response(asked, answers)
        await response(scope, receive, send)

    # --- what is asked ---------------------------------------------------------------------------

    def _asked(self, scope: Scope, kind: str, body: bytes) -> Asked:
        if kind == wire.JSON:
            asked = self._asked_json(body)
        else:
            asked = self._asked_npy(body, scope["query_string"].decode("latin-1"))
        self._check(asked)
        return asked

    def _asked_json(self, body: bytes) -> Asked:
        found = wire.parse(body)
        if found.keys() == {"x"}:
            x = wire.array_of("x", found["x"], self._interface)
            return Asked([x], "y", len(x))
        if found.keys() != {"sequences"}:
            keys = ", ".join(map(repr, found)) or "nothing"
            wire.refuse(f"the body must hold either 'x' or 'sequences', got {keys[: wire.SHOWN]}")
        given = found["sequences"]
        if not isinstance(given, list):
            wire.refuse("sequences must be a list of sequences")
        self._check_count(len(given))
        name = "sequences[{}]".format
        arrays = [wire.array_of(name(i), x, self._interface) for i, x in enumerate(given)]
        return Asked(arrays, "answers", sum(map(len, arrays)))

    def _asked_npy(self, body: bytes, query: str) -> Asked:
        x = wire.parse_npy(body, self._interface)
        one = x.ndim == 1 + len(self._interface.step_shape)
        x = wire.steps_of("x", x, self._interface, batch=not one)
        if one:
            return Asked([x], "npy", len(x))
        self._check_count(len(x))
        lengths = _lengths(query, len(x), x.shape[1])
        cut = [row[:n] for row, n in zip(x, lengths, strict=True)]
        return Asked(cut, "batch", x.shape[0] * x.shape[1])

    def _check_count(self, count: int) -> None:
        most = self._settings.max_queue
        if not 1 <= count <= most:
            wire.refuse(f"there must be from 1 to {most} sequences, got {count}")

    def _check(self, asked: Asked) -> None:
        limits, interface = self._settings, self._interface
        longest = max(map(len, asked.sequences))
        if longest > limits.max_steps:
            wire.refuse(f"a sequence must have at most {limits.max_steps} steps, got {longest}")
        rows = asked.rows if interface.every_step else len(asked.sequences)
        size = rows * interface.outputs * np.dtype(interface.dtype).itemsize
        if size > limits.max_answer:
            wire.refuse(f"the answer must have at most {limits.max_answer} bytes, it has {size}")

    # --- the batch -------------------------------------------------------------------------------

    def _fits(self, batch: list[Array], one: Array) -> bool:
        longest = max(len(one), *map(len, batch))
        width = 1 if self._interface.tokens else self._interface.width
        width = max(width, self._interface.outputs if self._interface.every_step else 1)
        count = len(batch) + 1
        return count <= self._settings.max_batch and count * longest * width <= BATCH_VALUES

    def _compute(self, sequences: list[Array]) -> tuple[Sequence[Array], float]:
        """Pad, longest first, call the engine once, and cut the answers out again."""
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        x, lengths = pad([sequences[i] for i in order], self._interface.input_dtype)
        ragged = int(lengths[-1]) < int(lengths[0])
        began = time.perf_counter()
        y = self._engine.predict(x, lengths if ragged else None)
        seconds = time.perf_counter() - began
        answers: list[Array] = [y] * len(sequences)
        for row, i in zip(y, order, strict=True):
            answers[i] = row[: len(sequences[i])] if self._interface.every_step else row
        return answers, seconds


def _kind(scope: Scope) -> str:
    """Return the type of a body."""
    kind = header(scope, b"content-type").partition(";")[0].strip().lower()
    if kind not in (wire.JSON, wire.NPY):
        wanted = f"{wire.JSON} or {wire.NPY}"
        raise RefusalError(415, f"Content-Type must be {wanted}, got {kind or 'none'}")
    return kind


def _lengths(query: str, count: int, steps: int) -> list[int]:
    """Read ``?lengths=5,3``; without it all sequences have all steps."""
    given = parse_qs(query).get("lengths")
    if given is None:
        return [steps] * count
    words = given[0].split(",")
    if len(words) != count or not all(w.isascii() and w.isdigit() for w in words):
        wire.refuse(f"lengths must be {count} numbers with commas, got {given[0][: wire.SHOWN]!r}")
    found = [int(word[:10]) for word in words]
    if max(found) > steps:
        wire.refuse(f"lengths must be at most {steps}, the steps of x, got {max(found)}")
    return found


class _Watch:
    """Cancels futures when the client has left."""

    def __init__(self, futures: list[asyncio.Future[Array]], receive: Receive) -> None:
        self._futures = futures
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self.gone = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._receive()  # the body is here: what comes next is the client's leaving
        self.gone = True
        self.end()

    def end(self) -> None:
        """Leave the queue; what is answered already stays so."""
        for future in self._futures:
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen: asyncio would log it else
        if self._task is not None:
            self._task.cancel()


async def _unless_gone(futures: list[asyncio.Future[Array]], receive: Receive) -> list[Array]:
    """Wait for answers; a client that leaves takes its sequences out of the queue."""
    watch = _Watch(futures, receive)
    timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, watch.start)
    try:
        return [await future for future in futures]
    except asyncio.CancelledError:
        if watch.gone:
            raise GoneError from None
        raise
    finally:
        timer.cancel()
        watch.end()


async def _response(asked: Asked, answers: list[Array]) -> Response:
    if asked.form == "npy":
        return Response(wire.as_npy(answers[0]), media_type=wire.NPY)
    if asked.form == "batch":
        return Response(wire.as_npy(_side_by_side(asked, answers)), media_type=wire.NPY)
    value = answers[0] if asked.form == "y" else answers
    if sum(answer.size for answer in answers) > LONG_ANSWER:
        text = await asyncio.to_thread(wire.as_json, asked.form, value)
    else:
        text = wire.as_json(asked.form, value)
    return Response(text, media_type=wire.JSON)


def _side_by_side(asked: Asked, answers: list[Array]) -> Array:
    """Return (B, K), or (B, T, K) with zeros after each sequence's own steps, as x was."""
    if answers[0].ndim == 1:
        return np.stack(answers)
    steps = asked.rows // len(answers)
    found = np.zeros((len(answers), steps, answers[0].shape[1]), answers[0].dtype)
    for row, answer in zip(found, answers, strict=True):
        row[: len(answer)] = answer
    return found
