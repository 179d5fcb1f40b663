"""A task as it travels to the workers: network, settings and arrays; knows no system and no data.

The arrays of a task of labelled sequences are ``x`` (N, T, I), padded, ``lengths`` (N,) and ``y``
(N,), those of the language model ``x`` and ``y`` (B, T), one long row of characters a stream;
each again with ``_test`` behind its name.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from job import Array


@dataclass(frozen=True)
class Task:
    """A network and how it is trained: Adam, gradients clipped by their joint norm."""

    name: str
    hidden: int
    epochs: int
    least: float = 0.0  # accuracy that is asked of the median over seeds
    rate: float = 3e-3
    batch: int = 32
    clip: float = 1.0
    classes: int = 0
    inputs: int = 0  # channels, or width of the embedding
    window: int = 0  # language: steps of truncated backpropagation, the state carried over


@dataclass(frozen=True)
class Start:
    """Where a training starts and in which order it sees the data."""

    seed: int
    epochs: int
    weights: dict[str, Array]  # by gru's names, "0.weight_ih_l0"
    order: Array  # (epochs, N): sequences, batch after batch
    sizes: Array  # (epochs, batches)

    def batches(self, epoch: int) -> list[Array]:
        """Return the sequences of each batch of an epoch."""
        return np.split(self.order[epoch], np.cumsum(self.sizes[epoch])[:-1])


def write(task: Task, arrays: dict[str, Array], folder: Path) -> None:
    """Leave a task where workers find it."""
    folder.mkdir(exist_ok=True)
    (folder / "task.json").write_text(json.dumps(asdict(task)))
    np.savez(folder / "arrays.npz", **arrays)


def read(folder: Path) -> tuple[Task, dict[str, Array]]:
    """Read what :func:`write` wrote."""
    with np.load(folder / "arrays.npz") as arrays:
        return Task(**json.loads((folder / "task.json").read_text())), dict(arrays)


def write_start(start: Start, path: Path) -> None:
    """Leave a start where workers find it."""
    numbers = np.array([start.seed, start.epochs])
    np.savez(path, start=numbers, order=start.order, sizes=start.sizes, **start.weights)


def read_start(path: Path) -> Start:
    """Read what :func:`write_start` wrote."""
    with np.load(path) as arrays:
        found = dict(arrays)
    seed, epochs = found.pop("start").tolist()
    order, sizes = found.pop("order"), found.pop("sizes")
    return Start(seed, epochs, found, order, sizes)
