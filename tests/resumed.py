"""A small run that is stopped and goes on, for the tests of checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

import gru


class Stop(Exception):
    """Ends a run in the middle."""


def task(count: int = 20) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(2, 7, count)]
    return X, np.array([int(item.sum() > 0) for item in X])


def model(**options: Any) -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(2, 5, num_layers=2, dropout=0.2, seed=0, **options),
            gru.Last(),
            gru.Linear(5, 2, seed=0, **options),
        ]
    )


def fit(folder: Any = None, made: Any = None, **change: Any) -> tuple[str, gru.History]:
    made = made or model()
    X, y = task()
    call = {
        "X": X,
        "y": y,
        "optimizer": gru.Adam(0.05),
        "epochs": 4,
        "batch_size": 6,
        "validation": (X[:7], y[:7]),
        "metrics": ["f1_macro", "accuracy"],
        "verbose": False,
        "checkpoint": folder,
        **change,
    }
    history = gru.fit(made, **call)
    return weights(made), history


def weights(made: gru.Sequential) -> str:
    return b"".join(block.tobytes() for block in made.blocks().values()).hex()


def breaking(step: int) -> gru.Callback:
    class Break(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step == step:
                raise Stop

    return Break()


def same_but_seconds(a: gru.History, b: gru.History) -> bool:
    one, other = a.as_dict(), b.as_dict()
    del one["seconds"], other["seconds"]
    return one == other
