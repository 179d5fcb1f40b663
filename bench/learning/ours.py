"""gru: one call of ``gru.fit`` on NumPy arrays.

How it is called: as in the README, with lists of arrays where lengths differ; the network is built
within the time. It also takes the accuracy of every batch, keeps the last good weights, and checks
that all is finite.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

import gru
from job import Array
from learning.data import network
from learning.protocol import Fitted, serve
from learning.task import Start, Task

WINDOWS = 8  # of the held-out text in one call


def sequences(x: Array, lengths: Array) -> Any:
    """Return an array, or where lengths differ a list."""
    if (lengths == x.shape[1]).all():
        return x
    return [row[:length] for row, length in zip(x, lengths, strict=True)]


class Gru:
    """gru.fit."""

    def version(self) -> str:
        return gru.__version__

    def prepare(self, task: Task, arrays: dict[str, Array], threads: int) -> str:
        gru.set_num_threads(threads)
        self.task = task
        self.y, self.y_test = arrays["y"], arrays["y_test"]
        self.X, self.X_test = (
            arrays[f"x{name}"]
            if task.window
            else sequences(arrays[f"x{name}"], arrays[f"lengths{name}"])
            for name in ("", "_test")
        )
        few = slice(None, 20 * task.window or None)  # enough to have met every shape
        self.train(0, 1, few)
        return "gru.fit"

    def train(self, seed: int, epochs: int, steps: slice = slice(None)) -> Any:
        task = self.task
        X, y, options = self.X, self.y, {}
        if task.window:
            X, y, options = X[:, steps], y[:, steps], {"bptt_steps": task.window}
        model = network(task, seed)
        history = gru.fit(
            model,
            X,
            y,
            optimizer=gru.Adam(task.rate),
            epochs=epochs,
            batch_size=task.batch,
            clip_norm=task.clip,
            seed=seed,
            verbose=False,
            **options,
        )
        return model, history

    def fit(self, start: Start) -> Fitted:
        begin = perf_counter()
        model, history = self.train(start.seed, start.epochs)
        seconds = perf_counter() - begin
        score = self.bits(model) if self.task.window else self.accuracy(model)
        return Fitted(seconds, history.loss[0], history.loss[-1], score)

    def accuracy(self, model: gru.Sequential) -> float:
        return float((model.predict(self.X_test).argmax(axis=1) == self.y_test).mean())

    def bits(self, model: gru.Sequential) -> float:
        """Return the cross entropy of the held-out text, in bits per character."""
        losses, state, span = [], None, WINDOWS * self.task.window
        parts = range(0, self.X_test.shape[1], span)
        for at in parts:
            here = slice(at, at + span)
            logits, state = model.carry(self.X_test[:, here], state)
            value, _ = gru.losses.cross_entropy(logits, self.y_test[:, here])
            losses.append(value * logits.shape[1])
        return sum(losses) / self.X_test.shape[1] / float(np.log(2.0))


if __name__ == "__main__":
    serve(Gru())
