"""Models of every kind, and a file to save them in; tests nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from reference import Array

DTYPES = ("float32", "float64")
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
FORMS: list[dict[str, Any]] = [
    {"reset_after": after, "update_gate": update}
    for after in (True, False)
    for update in ("keep", "new")
]


def every_kind(dtype: str) -> dict[str, gru.Sequential]:
    """Models that together hold every kind of layer in every form."""
    of: dict[str, Any] = {"dtype": dtype}
    models = {
        f"gru {form}": [gru.GRU(3, 5, 2, bidirectional=i % 2 > 0, seed=i, **form, **of)]
        for i, form in enumerate(FORMS)
    }
    models |= {
        f"rnn {function}": [gru.RNN(3, 5, nonlinearity=function, bias=False, seed=4, **of)]
        for function in ("tanh", "relu")
    }
    models |= {
        f"activation {function}": [gru.Linear(3, 4, seed=5, **of), gru.Activation(function)]
        for function in ("relu", "tanh", "sigmoid", "softmax")
    }
    models |= {
        name: [gru.LSTM(3, 4, 2, bidirectional=True, dropout=0.5, seed=6, **of), pool]
        for name, pool in {
            "last": gru.Last(),
            "both ends": gru.Last(bidirectional=True),
            "mean": gru.Mean(),
            "max": gru.Max(),
        }.items()
    }
    models["embedding"] = [gru.Embedding(7, 3, seed=7, **of), gru.Linear(3, 2, bias=False, **of)]
    models["dropout"] = [gru.Linear(3, 300, seed=8, **of), gru.Dropout(1.0)]
    models["no parameters"] = [gru.Dropout(0.1), gru.Activation("tanh"), gru.Max()]
    return {name: gru.Sequential(layers) for name, layers in models.items()}


NAMES = list(every_kind("float32"))


def randomised(model: gru.Sequential) -> gru.Sequential:
    rng = np.random.default_rng(1)
    for block in model.blocks().values():
        block[...] = 0.7 * rng.normal(size=block.shape)
    return model


def example(model: gru.Sequential) -> Array:
    rng = np.random.default_rng(2)
    if model.input_dtype.kind == "i":
        return rng.integers(0, 7, (4, 6))
    return rng.normal(size=(4, 6, 3)).astype(model.dtype)


def small(**of: Any) -> gru.Sequential:
    return randomised(gru.Sequential([gru.GRU(3, 5, **of), gru.Last(), gru.Linear(5, 2)]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder of its own."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "m.safetensors"
