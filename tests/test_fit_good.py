"""The last good weights: what a model has when training fails, and what is never written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.good import live_arrays


def task(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, 10, 2))
    return X, np.ones((count, 10, 1))


def model() -> gru.Sequential:
    return gru.Sequential([gru.GRU(2, 4, seed=0), gru.Linear(4, 1, seed=0)])


def fit(made: gru.Sequential, **change: Any) -> gru.History:
    X, y = task()
    call = {"loss": "mse", "batch_size": 20, "clip_norm": None, "epochs": 3, "verbose": False}
    return gru.fit(made, X, y, **{**call, **change})


def values(made: gru.Sequential) -> np.ndarray:
    return np.concatenate([block.copy() for block in made.blocks().values()])


def end(run: gru.Run) -> None:
    run.stop()


class Soon(gru.Callback):
    def on_step_end(self, run: gru.Run) -> None:
        run.stop()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"validation": task(5)}, "validation"),
        ({"epochs": 1}, "after its last step"),
        ({"early_stopping": gru.EarlyStopping(2, monitor="loss")}, "after its last step"),
        ({"checkpoint": "run"}, "after its last step"),
        ({"callbacks": [end]}, "after its last step"),
        ({"callbacks": [Soon()]}, "after its last step"),
        ({"bptt_steps": 10, "epochs": 1}, "after its last step"),
    ],
)
def test_a_step_that_ruins_the_model_is_found_where_no_other_follows(
    change: dict[str, Any], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch an epoch: the first step makes weights of 1e30, finite themselves."""
    monkeypatch.chdir(tmp_path)
    made = model()
    before, optimizer = values(made), gru.SGD(1e30, momentum=0.5)
    with pytest.raises(FloatingPointError, match=f"epoch 1, {place}: loss is inf"):
        fit(made, optimizer=optimizer, **change)
    assert np.array_equal(values(made), before)
    assert (optimizer.steps, optimizer.state) == (0, {})
    assert list(tmp_path.glob("run/*")) == []


class Turning(gru.Callback):
    """A squared error that after some steps of a run is nan, or does not come at all."""

    def __init__(self, steps: int, *, crash: bool) -> None:
        self.steps, self.crash, self.turned = steps, crash, False

    def on_fit_start(self, run: gru.Run) -> None:
        self.turned = run.step >= self.steps

    on_step_end = on_fit_start

    def loss(self, prediction: np.ndarray, target: Any, **which: Any) -> tuple[float, np.ndarray]:
        value, gradient = gru.losses.mse(prediction, target, **which)
        if self.turned and self.crash:
            raise LookupError("the process dies")
        return (float("nan") if self.turned else value), gradient


def fail(folder: Path | None, steps: int, *, crash: bool, **change: Any) -> tuple[Any, str]:
    """A run of four steps an epoch that fails: all that it leaves, and what it says."""
    made, optimizer, turning = model(), gru.Adam(0.05), Turning(steps, crash=crash)
    call: dict[str, Any] = {"optimizer": optimizer, "batch_size": 6, **change}
    if folder is not None:
        call |= {"checkpoint": folder, "checkpoint_minutes": 0.0, "resume": True}
    with pytest.raises((FloatingPointError, LookupError)) as caught:
        fit(made, loss=turning.loss, callbacks=[turning], **call)
    left = {name: array.copy() for name, array in live_arrays(made, optimizer).items()}
    return (left, optimizer.steps), str(caught.value)


@pytest.mark.parametrize("change", [{}, {"validation": task(5)}, {"bptt_steps": 10}])
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 9])
def test_a_resumed_run_falls_back_to_the_same_weights(
    steps: int, change: dict[str, Any], tmp_path: Path
) -> None:
    """The first loss after the resume is nan: in an epoch, at its end, at the next one's start."""
    wanted, said = fail(tmp_path / "whole", steps, crash=False, **change)
    assert "loss is nan" in said
    assert fail(tmp_path / "killed", steps, crash=True, **change)[1] == "the process dies"
    found, again = fail(tmp_path / "killed", steps, crash=False, **change)
    assert again == said
    assert found[1] == wanted[1]
    assert found[0].keys() == wanted[0].keys()
    for name, array in wanted[0].items():
        assert np.array_equal(found[0][name], array), name
    if steps not in (4, 8):  # within an epoch, a checkpoint changes nothing
        plain, _ = fail(None, steps, crash=False, **change)
        for name, array in wanted[0].items():
            assert np.array_equal(plain[0][name], array), name


def test_looking_at_the_last_weights_changes_no_bit(tmp_path: Path) -> None:
    plain, looked = model(), model()
    losses = fit(plain, batch_size=6).loss
    assert fit(looked, batch_size=6, checkpoint=tmp_path).loss == losses
    assert np.array_equal(values(plain), values(looked))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, FloatingPointError])
def test_the_best_weights_are_restored_when_a_run_is_broken_off(error: type[BaseException]) -> None:
    weights: list[np.ndarray] = []
    told = iter([3.0, 1.0, 2.0])

    def metric(prediction: np.ndarray, target: Any, **which: Any) -> float:
        return next(told)

    def watch(run: gru.Run) -> None:
        weights.append(values(run.model))
        if run.epoch == 3:
            raise error

    made, stopping = model(), gru.EarlyStopping(9, monitor="metric", mode="min")
    with pytest.raises(error):
        fit(made, metric=metric, early_stopping=stopping, callbacks=[watch], epochs=9)
    assert stopping.best_epoch == 2
    assert np.array_equal(values(made), weights[1])
    assert not np.array_equal(weights[1], weights[2])


def test_a_batch_in_which_nothing_counts_shows_nothing() -> None:
    """The last batch has no weight, so the weights before it are the last that showed a loss."""
    X, y = task(4)
    kept: list[np.ndarray] = []

    class Keep(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            kept.append(values(run.model))

    turning = Turning(3, crash=False)
    source = [(X, y), (X, y), gru.data.Batch(X, None, np.zeros((4, 10), bool), y)]
    made = model()
    call = {"loss": turning.loss, "callbacks": [turning, Keep()], "epochs": 1, "verbose": False}
    with pytest.raises(FloatingPointError, match="epoch 1, after its last step: loss is nan"):
        gru.fit(made, source, **call)
    assert np.array_equal(values(made), kept[0])
