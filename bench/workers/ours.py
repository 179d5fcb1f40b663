"""gru, called as README.md says: frozen for inference, open for training, streams for steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import gru
from job import Array, Job
from workers.protocol import Task, serve


def make_layer(job: Job, arrays: dict[str, Array]) -> Any:
    """Build the layer and copy the weights in."""
    size = (job.inputs, job.hidden, job.layers)
    both = job.directions == 2
    if job.cell == "gru":
        after = job.form == "after"
        layer: Any = gru.GRU(*size, bidirectional=both, reset_after=after, dtype=job.dtype)
    else:
        kind = gru.LSTM if job.cell == "lstm" else gru.RNN
        layer = kind(*size, bidirectional=both, dtype=job.dtype)
    for name, parameter in layer.parameters.items():
        parameter[...] = arrays[name]
    return layer


def batch_first(state: Array) -> Array:
    """(N*D, B, H) <-> (B, N*D, H)."""
    return np.ascontiguousarray(np.swapaxes(state, 0, 1))


def initial(job: Job, arrays: dict[str, Array]) -> Any:
    """Return the initial state as the layer takes it."""
    h = batch_first(arrays["h0"])
    return (h, batch_first(arrays["c0"])) if job.cell == "lstm" else h


def named_state(state: Any, prefix: str = "", end: str = "") -> dict[str, Array]:
    """Name a state's arrays as they are compared: h and c, the first axis layers and directions."""
    parts = state if isinstance(state, tuple) else (state,)
    names = (f"{prefix}{letter}{end}" for letter in "hc")
    return dict(zip(names, map(batch_first, parts), strict=False))


class Ours:
    """The engine's own Python API."""

    def version(self) -> str:
        return str(gru.build_info()["version"])

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        layer = make_layer(job, arrays)
        if job.mode != "train":
            layer.freeze()
        make = {"forward": self.forward, "train": self.train, "step": self.step}[job.mode]
        task = make(job, layer, arrays)
        task.enter = partial(gru.set_num_threads, job.threads)
        return task

    def forward(self, job: Job, layer: Any, arrays: dict[str, Array]) -> Task:
        state = initial(job, arrays)
        call = partial(layer, lengths=job.lengths()) if job.ragged else layer

        def outputs() -> dict[str, Array]:
            y, final = call(arrays["x0"], state)
            return {"y": y, **named_state(final)}

        xs = [arrays[f"x{k}"] for k in range(job.rotation)]
        return Task(call, [(x, state) for x in xs], outputs)

    def train(self, job: Job, layer: Any, arrays: dict[str, Array]) -> Task:
        state, dy = initial(job, arrays), arrays["dy"]
        options = {"lengths": job.lengths()} if job.ragged else {}

        def call(x: Array) -> Any:
            y, final, tape = layer.forward(x, state, **options)
            return y, final, layer.backward(tape, dy)

        def outputs() -> dict[str, Array]:
            y, final, (dx, dstate, gradients) = call(arrays["x0"])
            named = {"y": y, **named_state(final), "dx": dx, **named_state(dstate, "d", "0")}
            return named | {f"d_{name}": array for name, array in gradients.items()}

        def saved_bytes() -> int:
            return int(layer.forward(arrays["x0"], state, **options)[2].nbytes)

        xs = [(arrays[f"x{k}"],) for k in range(job.rotation)]
        return Task(call, xs, outputs, saved_bytes=saved_bytes)

    def step(self, job: Job, layer: Any, arrays: dict[str, Array]) -> Task:
        return (self.stream if job.via == "stream" else self.call_step)(job, layer, arrays)

    def stream(self, job: Job, layer: Any, arrays: dict[str, Array]) -> Task:
        """One step of a stream, which keeps the state itself."""
        stream = layer.stream(job.batch)
        xs = [arrays[f"x{k}"][:, 0] for k in range(job.rotation)]
        y = np.empty((job.batch, job.hidden), job.dtype)

        def outputs() -> dict[str, Array]:
            stream.state = initial(job, arrays)
            return {"y": np.stack([stream.step(x, y).copy() for x in xs], axis=1)}

        return Task(stream.step, [(x, y) for x in xs], outputs)

    def call_step(self, job: Job, layer: Any, arrays: dict[str, Array]) -> Task:
        """Call a frozen layer on one step; who calls would pass the state on."""
        xs = [arrays[f"x{k}"] for k in range(job.rotation)]
        first = initial(job, arrays)

        def outputs() -> dict[str, Array]:
            state, rows = first, []
            for x in xs:
                _, state = layer(x, state)
                rows.append(state[:, 0])
            return {"y": np.stack(rows, axis=1)}

        return Task(layer, [(x, first) for x in xs], outputs)


if __name__ == "__main__":
    serve(Ours())
