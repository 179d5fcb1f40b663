"""PyTorch: ``nn.GRU`` and ``nn.Linear`` in a plain loop.

How it is called: tensors are made beforehand, time-major, the layout its CPU code works in; there
is no ``DataLoader``. It gets the batches that gru.fit draws, so its padding is as short. Of the
ways to train below the one is taken whose epoch is shortest, tried before each task: sequences of
different lengths packed, or padded and the state taken at the last step of each; Adam fused or
not. The loss stays a tensor until the epoch is over, and no accuracy is taken.
"""

from __future__ import annotations

from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from job import Array
from learning.protocol import Fitted, serve
from learning.task import Start, Task

TRIALS = 3  # of each way to train, in turns
TRIED_STEPS = 20  # language: of the text


class Labels(torch.nn.ModuleDict):
    """Sequences to classes; modules have gru's names."""

    def __init__(self, task: Task) -> None:
        recurrent = torch.nn.GRU(task.inputs, task.hidden)
        super().__init__({"0": recurrent, "2": torch.nn.Linear(task.hidden, task.classes)})

    def forward(self, x: Any, lengths: Any, way: str) -> Any:
        """Take x (T, B, I)."""
        if way == "packed":
            packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
            return self["2"](self["0"](packed)[1][-1])
        y, last = self["0"](x)
        if way == "padded":
            return self["2"](y[lengths - 1, torch.arange(len(lengths))])
        return self["2"](last[-1])


class Characters(torch.nn.ModuleDict):
    """Characters to the next ones."""

    def __init__(self, task: Task) -> None:
        table = torch.nn.Embedding(task.classes, task.inputs)
        recurrent = torch.nn.GRU(task.inputs, task.hidden)
        last = torch.nn.Linear(task.hidden, task.classes)
        super().__init__({"0": table, "1": recurrent, "2": last})

    def forward(self, x: Any, state: Any) -> Any:
        """Take x (T, B)."""
        y, state = self["1"](self["0"](x), state)
        return self["2"](y), state


class PyTorch:
    """torch.nn on the CPU."""

    def version(self) -> str:
        return torch.__version__

    def prepare(self, task: Task, arrays: dict[str, Array], threads: int) -> str:
        torch.set_num_threads(threads)
        self.task = task
        self.data = {
            name: torch.from_numpy(
                np.ascontiguousarray(a.swapaxes(0, 1) if a.ndim > 1 else a)  # time first
            )
            for name, a in arrays.items()
        }
        self.mean = torch.nn.CrossEntropyLoss()
        self.way, self.fused = "plain", False
        lengths = arrays.get("lengths", np.zeros(1))
        ragged = bool((lengths != lengths[0]).any())
        ways = list(product(["packed", "padded"] if ragged else ["plain"], [False, True]))
        self.way, self.fused = min(ways, key=dict(zip(ways, self.trials(ways), strict=True)).get)
        return f"{self.way}, Adam {'fused' if self.fused else 'not fused'}"

    def trials(self, ways: list[tuple[str, bool]]) -> Array:
        """Return the shortest time of each way."""
        order = np.arange(self.data["y"].shape[-1])[None]
        count = -(-order.size // self.task.batch)
        sizes = np.array([[len(part) for part in np.array_split(order[0], count)]])
        seconds = []
        for _ in range(TRIALS + 1):  # the first is for warming up
            for self.way, self.fused in ways:
                start = Start(0, 1, {}, order, sizes)
                seconds.append(self.train(start, TRIED_STEPS * self.task.window)[2])
        return np.min(np.reshape(seconds, (TRIALS + 1, -1))[1:], axis=0)

    def train(self, start: Start, steps: int = 0) -> tuple[Any, list[float], float]:
        """Return the module, the loss of each epoch, and the seconds that it took."""
        begin = perf_counter()
        module = (Characters if self.task.window else Labels)(self.task)
        if start.weights:
            module.load_state_dict({n: torch.from_numpy(w) for n, w in start.weights.items()})
        adam = torch.optim.Adam(module.parameters(), self.task.rate, fused=self.fused)
        epoch = self.characters if self.task.window else self.labels
        losses = [epoch(module, adam, start, number, steps) for number in range(start.epochs)]
        return module, losses, perf_counter() - begin

    def step(self, module: Any, adam: Any, loss: Any) -> None:
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), self.task.clip)
        adam.step()

    def labels(self, module: Any, adam: Any, start: Start, epoch: int, steps: int) -> float:
        x, y, lengths = (self.data[name] for name in ("x", "y", "lengths"))
        total = torch.zeros(())
        for batch in map(torch.from_numpy, start.batches(epoch)):
            n = lengths[batch]
            longest = x if self.way == "plain" else x[: int(n.max())]
            loss = self.mean(module(longest[:, batch], n, self.way), y[batch])
            self.step(module, adam, loss)
            total += loss.detach() * len(batch)
        return total.item() / len(y)

    def characters(self, module: Any, adam: Any, start: Start, epoch: int, steps: int) -> float:
        x, y, window = self.data["x"], self.data["y"], self.task.window
        total, state = torch.zeros(()), None
        ends = range(0, steps or len(x), window)
        for at in ends:
            out, state = module(x[at : at + window], state)
            state = state.detach()
            loss = self.mean(out.flatten(0, 1), y[at : at + window].flatten())
            self.step(module, adam, loss)
            total += loss.detach()
        return total.item() / len(ends)

    def fit(self, start: Start) -> Fitted:
        module, losses, seconds = self.train(start)
        with torch.inference_mode():
            score = self.bits(module) if self.task.window else self.accuracy(module)
        return Fitted(seconds, losses[0], losses[-1], score)

    def accuracy(self, module: Any) -> float:
        x, y, lengths = (self.data[f"{name}_test"] for name in ("x", "y", "lengths"))
        return float((module(x, lengths, "padded").argmax(dim=1) == y).float().mean())

    def bits(self, module: Any) -> float:
        x, y = self.data["x_test"], self.data["y_test"]
        out, _ = module(x, None)
        return float(self.mean(out.flatten(0, 1), y.flatten())) / float(np.log(2.0))


if __name__ == "__main__":
    serve(PyTorch())
