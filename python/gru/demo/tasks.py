"""The two tasks of the demo and the four cells on each; knows nothing of printing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from gru.cells import GRU, LSTM, RNN
from gru.datasets import adding
from gru.demo.speech import scaled
from gru.history import History
from gru.losses import mse
from gru.metrics import accuracy
from gru.model import Sequential
from gru.optim import Adam
from gru.recurrent import Recurrent
from gru.stateless import Last, Linear
from gru.train import fit

__all__ = ["CELLS", "Row", "Settings", "memory_rows", "speech_rows"]


def _article(inputs: int, units: int, seed: int) -> Recurrent:
    return GRU(inputs, units, reset_after=False, update_gate="new", seed=seed)


CELLS: dict[str, Callable[[int, int, int], Recurrent]] = {
    "GRU, article form": _article,
    "GRU, framework form": lambda inputs, units, seed: GRU(inputs, units, seed=seed),
    "LSTM": lambda inputs, units, seed: LSTM(inputs, units, seed=seed),
    "RNN (tanh)": lambda inputs, units, seed: RNN(inputs, units, seed=seed),
}


@dataclass(frozen=True)
class Settings:
    """How much is trained; ``quick`` only shows that everything runs."""

    speech_units: int = 64
    speech_epochs: int = 40
    speech_rate: float = 3e-3
    memory_units: int = 32
    memory_steps: int = 100
    memory_count: int = 3200
    memory_epochs: int = 20
    memory_rate: float = 2e-2

    @classmethod
    def of(cls, *, quick: bool) -> Settings:
        """Return the settings of the full demo or of a quick run."""
        return cls(speech_epochs=3, memory_count=320, memory_epochs=2) if quick else cls()


@dataclass
class Row:
    """One cell's results, one entry a seed in each list."""

    cell: str
    parameters: int = 0
    seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    models: list[Sequential] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The median over the seeds."""
        return statistics.median(self.scores)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "cell": self.cell,
            "parameters": self.parameters,
            "seconds": self.seconds,
            "median_seconds": statistics.median(self.seconds),
            "scores": self.scores,
            "median_score": self.score,
            "histories": [asdict(history) for history in self.histories],
        }


def _rows(
    seeds: range,
    build: Callable[[str, int], Sequential],
    train: Callable[[Sequential, int], History],
    score: Callable[[Sequential], float],
) -> Iterator[Row]:
    """Train each cell with each seed; the held-out data is used once, after training."""
    for cell in CELLS:
        row = Row(cell)
        for seed in seeds:
            model = build(cell, seed)
            start = time.perf_counter()
            row.histories.append(train(model, seed))
            row.seconds.append(time.perf_counter() - start)
            row.scores.append(score(model))
            row.models.append(model)
            row.parameters = model.num_parameters
        yield row


def speech_rows(settings: Settings, seeds: range, *, verbose: bool) -> Iterator[Row]:
    """Train on who speaks; the score is the accuracy on the held-out utterances."""
    data, scale = scaled()
    units = settings.speech_units

    def build(cell: str, seed: int) -> Sequential:
        layer = CELLS[cell](12, units, seed)
        model = Sequential([layer, Last(), Linear(units, 9, seed=seed)])
        model.metadata.update(scale.notes())
        return model

    def train(model: Sequential, seed: int) -> History:
        return fit(
            model,
            data.X_train,
            data.y_train,
            optimizer=Adam(settings.speech_rate),
            epochs=settings.speech_epochs,
            seed=seed,
            verbose=verbose,
        )

    return _rows(seeds, build, train, lambda m: accuracy(m.predict(data.X_test), data.y_test))


def memory_rows(settings: Settings, seeds: range, *, verbose: bool) -> Iterator[Row]:
    """Train on the adding problem; the score is the mean squared error on held-out sequences."""
    units, steps = settings.memory_units, settings.memory_steps
    X_test, y_test = adding(1000, steps, seed=2**31)

    def build(cell: str, seed: int) -> Sequential:
        layer = CELLS[cell](2, units, seed)
        return Sequential([layer, Last(), Linear(units, 1, seed=seed)])

    def train(model: Sequential, seed: int) -> History:
        X, y = adding(settings.memory_count, steps, seed=seed)
        return fit(
            model,
            X,
            y,
            loss="mse",
            optimizer=Adam(settings.memory_rate),
            epochs=settings.memory_epochs,
            seed=seed,
            verbose=verbose,
        )

    return _rows(seeds, build, train, lambda m: mse(m.predict(X_test), y_test)[0])
