"""Ten training steps against PyTorch: the same weights and data give the same losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru
from gru.data import Batch
from gru.objective import Objective
from gru.train import train_step

torch = pytest.importorskip("torch")

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {"lr": 3e-3}),
    ("AdamW", {"lr": 3e-3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("RMSprop", {"lr": 1e-3}),
]
CELLS = ("GRU", "LSTM", "RNN")


class Theirs(torch.nn.Module):  # type: ignore[name-defined, misc]
    def __init__(self, cell: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.cell = getattr(torch.nn, cell)(5, 16, batch_first=True, **options)
        self.linear = torch.nn.Linear(16 * (2 if self.cell.bidirectional else 1), 4)

    def forward(self, x: Any, lengths: Any) -> Any:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(self.cell(packed)[0], batch_first=True)
        rows, last = torch.arange(len(x)), lengths - 1
        half = self.cell.hidden_size
        ends = torch.cat([y[rows, last, :half], y[rows, 0, half:]], dim=1)
        return self.linear(ends)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize(("name", "settings"), OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_ten_steps(cell: str, name: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = Theirs(cell, options).double()
    both = "bidirectional" in options
    ours = gru.Sequential(
        [
            getattr(gru, cell)(5, 16, dtype="float64", **options),
            gru.Last(bidirectional=both),
            gru.Linear(32 if both else 16, 4, dtype="float64"),
        ]
    )
    for key, value in theirs.state_dict().items():
        prefix, _, rest = key.partition(".")
        ours.parameters[f"{0 if prefix == 'cell' else 2}.{rest}"] = value.numpy()

    rng = np.random.default_rng(1)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **settings)
    our_optimizer = getattr(gru, name)(**settings)
    objective = Objective.of("cross_entropy", None)
    for step in range(10):
        x, y = rng.standard_normal((8, 12, 5)), rng.integers(0, 4, 8)
        lengths = rng.integers(1, 13, 8)
        their_optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            theirs(torch.tensor(x), torch.tensor(lengths)), torch.tensor(y)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_optimizer.step()
        batch = Batch(x, lengths, None, y)
        got, _, _ = train_step(ours, batch, objective, our_optimizer, clip_norm=1.0)
        assert got == pytest.approx(loss.item(), abs=1e-9), f"step {step}"
