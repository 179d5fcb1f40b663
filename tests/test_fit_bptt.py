"""Truncated backpropagation through time and stateful batches: PyTorch's detach, and identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.data import streams


def model(cell: str = "GRU", *, pool: bool = False, **options: Any) -> gru.Sequential:
    layers: list[gru.Layer] = [getattr(gru, cell)(2, 5, seed=0, dtype="float64", **options)]
    layers += [gru.Last()] if pool else []
    return gru.Sequential([*layers, gru.Linear(5, 1, seed=0, dtype="float64")])


def series(steps: int = 96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((steps, 2))
    return X, np.cumsum(X[:, :1], axis=0) * 0.1


def run(made: gru.Sequential, X: Any, y: Any, **change: Any) -> gru.History:
    call = {"loss": "mse", "optimizer": gru.SGD(0.1), "epochs": 2, "verbose": False, **change}
    return gru.fit(made, X, y, **call)


def values(made: gru.Sequential) -> np.ndarray:
    return np.concatenate(list(made.blocks().values()))


@pytest.mark.parametrize("cell", ["GRU", "LSTM", "RNN"])
def test_windows_are_pytorchs_with_a_detached_state(cell: str) -> None:
    torch = pytest.importorskip("torch")
    X, y = streams(*series(), 4)
    made = model(cell)
    theirs = getattr(torch.nn, cell)(2, 5, batch_first=True).double()
    head = torch.nn.Linear(5, 1).double()
    for name, value in made.parameters.items():
        layer, _, key = name.partition(".")
        with torch.no_grad():
            getattr(theirs if layer == "0" else head, key).copy_(torch.tensor(value))
    history = run(made, X, y, batch_size=4, bptt_steps=7, clip_norm=None)
    parameters = [*theirs.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    losses: list[float] = []
    for _ in range(2):
        state, total = None, 0.0
        for start in range(0, 24, 7):
            x, t = (torch.tensor(part[:, start : start + 7]) for part in (X, y))
            h, state = theirs(x, state)
            state = tuple(s.detach() for s in state) if cell == "LSTM" else state.detach()
            loss = ((head(h) - t) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * x.shape[1]
        losses.append(total / 24)
    assert history.loss == pytest.approx(losses, rel=1e-10)
    for name, value in made.parameters.items():
        layer, _, key = name.partition(".")
        wanted = getattr(theirs if layer == "0" else head, key).detach().numpy()
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", ["dense", "lengths", "mask", "ragged"])
def test_windows_change_no_prediction(kind: str) -> None:
    """At rate 0 the windows together have the loss of the whole sequences."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 11, 2)), rng.standard_normal((6, 11, 1))
    lengths = np.array([11, 3, 7, 1, 9, 5])
    which: dict[str, Any] = {
        "dense": {},
        "lengths": {"lengths": lengths},
        "mask": {"mask": rng.random((6, 11)) < 0.6},
        "ragged": {},
    }[kind]
    inputs: Any = X
    targets: Any = y
    if kind == "ragged":
        inputs = [x[:n] for x, n in zip(X, lengths, strict=True)]
        targets = [t[:n] for t, n in zip(y, lengths, strict=True)]
    still = {"optimizer": gru.SGD(0.0), "epochs": 1, "batch_size": 4, **which}
    held = {f"validation_{name}": value for name, value in which.items()}
    whole = run(model(), inputs, targets, **still)
    cut = run(model(), inputs, targets, bptt_steps=4, validation=(inputs, targets), **still, **held)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-12)
    assert cut.metric == pytest.approx(whole.metric, rel=1e-12)
    assert cut.val_loss == pytest.approx(whole.loss, rel=1e-12)


def test_stateful_batches_are_windows_of_streams() -> None:
    X, y = series()
    rows, targets = streams(X, y, 4)
    parts = [np.concatenate(np.split(part, 3, axis=1)) for part in (rows, targets)]
    a, b, c = model(), model(), model()
    call = {"batch_size": 4, "validation": (rows, targets)}
    first = run(a, rows, targets, bptt_steps=8, **call)
    second = run(b, *parts, stateful=True, batch_size=4, validation=tuple(parts))
    np.testing.assert_allclose(values(a), values(b), rtol=1e-10)
    assert first.loss == pytest.approx(second.loss, rel=1e-10)
    assert first.val_loss == pytest.approx(second.val_loss, rel=1e-10)
    without = run(c, *parts, batch_size=4)
    assert without.loss[0] != pytest.approx(second.loss[0], rel=1e-3)


def test_stateful_batches_with_one_target_each() -> None:
    """By hand: the state goes on from batch to batch and starts at zero in each epoch."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 4, 2)), rng.standard_normal((6, 1))
    made, wanted = model(pool=True), model(pool=True)
    history = run(made, X, y, batch_size=2, stateful=True, clip_norm=None)
    optimizer = gru.SGD(0.1)
    losses: list[float] = []
    for _ in range(2):
        state: Any = None
        for start in (0, 2, 4):
            x, t = X[start : start + 2], y[start : start + 2]
            prediction, state, tape = wanted.forward_carry(x, state, seed=0)
            loss, dy = gru.losses.mse(prediction, t)
            losses.append(loss)
            optimizer.step(wanted.blocks(), wanted.backward_blocks(tape, dy))
    assert np.array_equal(values(made), values(wanted))
    assert history.loss == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], rel=1e-12)


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
@pytest.mark.parametrize("step", [2, 5, 9])
def test_a_broken_run_goes_on_within_its_windows(cell: str, step: int, tmp_path: Path) -> None:
    class Stop(Exception):
        """Ends a run in the middle."""

    class Break(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step == step:
                raise Stop

    def made() -> gru.Sequential:
        return model(cell, num_layers=2, dropout=0.3)

    X, y = streams(*series(), 4)
    call = {"batch_size": 2, "bptt_steps": 9, "optimizer": gru.Adam(0.01)}  # 6 steps an epoch
    wanted, found = made(), made()
    run(wanted, X, y, **call)
    kept = {"checkpoint": tmp_path, "checkpoint_minutes": 0.0, "resume": True}
    with pytest.raises(Stop):
        run(made(), X, y, **{**call, "optimizer": gru.Adam(0.01)}, **kept, callbacks=[Break()])
    run(found, X, y, **{**call, "optimizer": gru.Adam(0.01)}, **kept)
    assert np.array_equal(values(wanted), values(found))


@pytest.mark.parametrize("bptt_steps", [None, 9000])
def test_a_memory_limit_changes_no_bit(bptt_steps: int | None) -> None:
    X, y = streams(*series(20_000), 2)
    plain, limited = model(num_layers=2), model(num_layers=2)
    call = {"bptt_steps": bptt_steps, "epochs": 1}
    run(plain, X, y, **call)
    run(limited, X, y, memory_limit="7MB", **call)
    assert np.array_equal(values(plain), values(limited))
    with pytest.raises(ValueError, match=r"memory_limit must be at least .* got 20000"):
        run(limited, X, y, memory_limit="20KB", **call)


def test_a_source_of_batches_in_windows() -> None:
    X, y = streams(*series(), 4)
    a, b = model(), model()
    run(a, [(X, y)], None, bptt_steps=5)
    run(b, [(X[:, s : s + 5], y[:, s : s + 5]) for s in range(0, 24, 5)], None, stateful=True)
    np.testing.assert_allclose(values(a), values(b), rtol=1e-12)


def test_steps_are_counted_where_they_are_known() -> None:
    moments: list[gru.schedules.Moment] = []

    class Watch(gru.schedules.Schedule):
        def factor(self, at: gru.schedules.Moment) -> float:
            moments.append(at)
            return 1.0

    X, y = streams(*series(), 4)
    run(model(), X, y, batch_size=2, bptt_steps=10, schedule=Watch())
    assert [(at.step, at.steps) for at in moments] == [(i, 12) for i in range(12)]
    moments.clear()
    ragged = [X[0], X[1][:4]], [y[0], y[1][:4]]
    run(model(), *ragged, batch_size=1, bptt_steps=10, schedule=Watch())
    assert [(at.step, at.steps) for at in moments] == [(i, None) for i in range(8)]


@pytest.mark.parametrize(
    ("made", "change", "kind", "message"),
    [
        (model(), {"bptt_steps": 0}, ValueError, "bptt_steps must be an integer of at least 1"),
        (model(), {"stateful": 1}, TypeError, "stateful must be True or False, got 1"),
        (model(pool=True), {"bptt_steps": 3}, ValueError, "an output at every step, got a Last"),
        (model(), {"bptt_steps": 3, "y": np.zeros((4, 1))}, ValueError, "y with a target at every"),
        (
            model(),
            {"stateful": True, "batch_size": 3},
            ValueError,
            "stateful needs a number of sequences that batch_size divides, got 4 and 3",
        ),
        (
            gru.Sequential([gru.GRU(2, 3, bidirectional=True), gru.Linear(6, 1)]),
            {"bptt_steps": 3},
            ValueError,
            "need a model that reads forward, got a bidirectional GRU",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    made: gru.Sequential, change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    X, y = streams(*series(), 4)
    with pytest.raises(kind, match=message):
        run(made, X, change.pop("y", y), **change)
