"""What fit takes beside data: stopping, callbacks, metrics, penalties, clipping, logs, failures."""

from __future__ import annotations

import csv
import json
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.metrics import METRICS


def task(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, 5, 2))
    return X, (X.sum(axis=(1, 2)) > 0).astype(int)


def model(out: int = 2, dtype: str = "float64") -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(2, 4, seed=0, dtype=dtype),
            gru.Last(),
            gru.Linear(4, out, seed=0, dtype=dtype),
        ]
    )


def run(made: gru.Sequential | None = None, **change: Any) -> tuple[gru.Sequential, gru.History]:
    made = made or model()
    X, y = task()
    call = {"X": X, "y": y, "epochs": 3, "batch_size": 8, "verbose": False, **change}
    return made, gru.fit(made, **call)


def values(made: gru.Sequential) -> np.ndarray:
    return np.concatenate([block.copy() for block in made.blocks().values()])


def scripted(numbers: list[float]) -> Any:
    """A metric that says what it is told, call by call."""
    left = iter(numbers)

    def told(prediction: np.ndarray, target: np.ndarray) -> float:
        return next(left)

    return told


class Record(gru.Callback):
    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []
        self.moments: list[str] = []

    def on_fit_start(self, run: gru.Run) -> None:
        self.moments.append("start")

    def on_epoch_start(self, run: gru.Run) -> None:
        self.moments.append(f"epoch {run.epoch}")

    def on_step_end(self, run: gru.Run) -> None:
        assert np.isfinite(run.loss)
        self.moments.append(f"step {run.step}")

    def on_epoch_end(self, run: gru.Run) -> None:
        assert len(run.history) == run.epoch
        self.moments.append(f"ended {run.epoch}")
        self.weights.append(values(run.model))

    def on_fit_end(self, run: gru.Run) -> None:
        self.moments.append("end")


def test_early_stopping_restores_the_best_weights() -> None:
    X, y = task()
    # one batch of training and one of validation an epoch: two calls each
    numbers = [0, 5.0, 0, 3.0, 0, 2.5, 0, 3.0, 0, 2.4, 0, 9.0, 0, 2.45, 0, 0.0]
    stopping, record = gru.EarlyStopping(2, monitor="val_told", mode="min", min_delta=0.2), Record()
    made, history = run(
        metric=scripted(numbers),
        validation=(X, y),
        early_stopping=stopping,
        callbacks=[record],
        batch_size=24,
        epochs=20,
    )
    assert history.val_metric == [5.0, 3.0, 2.5, 3.0, 2.4]  # 2.4 is not 0.2 better than 2.5
    assert (stopping.best_epoch, stopping.best_value) == (3, 2.5)
    assert np.array_equal(values(made), record.weights[2])
    assert not np.array_equal(record.weights[2], record.weights[-1])


def test_the_best_weights_are_restored_where_nothing_stops() -> None:
    record, numbers = Record(), [1.0, 3.0, 2.0]
    stopping = gru.EarlyStopping(9, monitor="told", mode="max")
    call = {"metric": scripted(numbers), "callbacks": [record], "batch_size": 24}
    made, history = run(early_stopping=stopping, **call)
    assert len(history) == 3
    assert np.array_equal(values(made), record.weights[1])


def test_a_patience_follows_the_validation_loss() -> None:
    X, y = task()
    call = {"validation": (X, 1 - y), "optimizer": gru.Adam(0.05), "epochs": 50}
    _, history = run(early_stopping=3, **call)
    best = int(np.argmin(history.val_loss))
    assert len(history) == best + 1 + 3


def test_without_early_stopping_nothing_changes() -> None:
    X, y = task()
    plain, a = run(validation=(X, y))
    patient, b = run(validation=(X, y), early_stopping=50, optimizer=gru.Adam(1e-3))
    assert a.loss == b.loss
    assert np.array_equal(values(plain), values(patient))


def test_callbacks_see_every_moment_in_order() -> None:
    record = Record()
    run(callbacks=[record], epochs=2, batch_size=12)
    assert record.moments == [
        "start",
        *("epoch 0", "step 1", "step 2", "ended 1"),
        *("epoch 1", "step 3", "step 4", "ended 2"),
        "end",
    ]


def test_a_callback_stops_after_an_epoch_or_a_step() -> None:
    def enough(run: gru.Run) -> None:
        if run.epoch == 2:
            run.stop()

    assert len(run(callbacks=[enough], epochs=9)[1]) == 2

    class Soon(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            if run.step == 4:
                run.stop()

    optimizer = gru.Adam()
    _, history = run(callbacks=[Soon()], epochs=9, optimizer=optimizer)
    assert optimizer.steps == 4
    assert len(history) == 2


def test_what_a_callback_raises_comes_out() -> None:
    def fail(run: gru.Run) -> None:
        raise LookupError("mine")

    optimizer = gru.SGD(0.5)
    with pytest.raises(LookupError, match="mine"):
        run(callbacks=[fail], optimizer=optimizer, schedule=gru.schedules.WarmUp(9))
    assert optimizer.lr == 0.5


def test_several_metrics() -> None:
    X, y = task()

    def hits(prediction: np.ndarray, target: np.ndarray) -> float:
        return float((prediction.argmax(axis=1) == target).sum())

    made, history = run(metrics=["accuracy", "f1_macro", hits], validation=(X, y))
    assert history.metric_name == "accuracy"
    assert list(history.metrics) == list(history.val_metrics) == ["accuracy", "f1_macro", "hits"]
    assert history.metrics["accuracy"] is history.metric
    names = ["loss", "accuracy", "f1_macro", "hits"]
    assert list(history.last) == names + [f"val_{name}" for name in names]
    guess = made.predict(X).argmax(axis=1)
    assert history.val_metrics["accuracy"][-1] == (guess == y).mean()


@pytest.mark.parametrize("offset", [5, 1e4, 1e7, -1e8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("per_step", [False, True])
def test_regression_metrics_are_scikit_learns_over_any_batches(
    per_step: bool, dtype: str, offset: float
) -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    shape = (30, 4, 3) if per_step else (30, 3)
    t = (4e-8 * abs(offset) + 1) * rng.standard_normal(shape) + offset
    p, t = (x.astype(dtype) for x in (t + 0.3 * rng.standard_normal(shape), t))
    lengths = rng.integers(0, 5, 30) if per_step else None
    valid = np.arange(4) < lengths[:, None] if lengths is not None else slice(None)
    exact = t[valid].astype(np.float64), p[valid].astype(np.float64)
    wanted = {
        "mse": theirs.mean_squared_error(*exact),
        "rmse": theirs.mean_squared_error(*map(np.ravel, exact)) ** 0.5,
        "r2": theirs.r2_score(*exact),
    }
    for name, value in wanted.items():
        metric: Any = METRICS[name]
        parts = [slice(0, 7), slice(7, 8), slice(8, 30)]
        given = {} if lengths is None else {"lengths": lengths}
        cut = [{k: v[part] for k, v in given.items()} for part in parts]
        sums = [metric.sums(p[s], t[s], **w) for s, w in zip(parts, cut, strict=True)]
        assert metric.value(reduce(metric.merge, sums)) == pytest.approx(value, rel=1e-10)
        assert metric(p, t, **given) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("value", [1.0, 0.1, 1e8 + 0.1])
def test_r2_of_constant_targets_is_one_or_nothing(value: float) -> None:
    """As scikit-learn has it, whatever the rounding of their mean is."""
    metric: Any = METRICS["r2"]
    same, other = np.full((7, 1), value), value + np.arange(7.0)[:, None]
    for p, wanted in ((same, 1.0), (other, 0.0)):
        assert metric(p, same) == wanted
        sums: Any = [metric.sums(p[s], same[s]) for s in (slice(3), slice(3, 3), slice(3, 7))]
        assert metric.value(reduce(metric.merge, sums)) == wanted


def test_r2_of_a_run_is_scikit_learns_for_targets_with_an_offset() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    X, _ = task()
    y = 1e7 + X.sum(axis=(1, 2))
    made = model(1)
    made.layers[2].parameters["bias"][...] = 1e7
    call = {"loss": "mse", "metric": "r2", "optimizer": gru.SGD(0.0), "epochs": 1}
    _, history = run(made, y=y, validation=(X, y), **call)
    wanted = theirs.r2_score(y, made.predict(X))
    assert history.metric + history.val_metric == pytest.approx([wanted] * 2, rel=1e-9)


def test_f1_is_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    metric = METRICS["f1_macro"]
    p, t = rng.standard_normal((40, 4)), rng.integers(0, 3, 40)
    wanted = theirs.f1_score(t, p.argmax(axis=1), average="macro")
    assert metric(p, t) == pytest.approx(wanted, rel=1e-12)
    single, answers = rng.standard_normal((40, 1)), rng.integers(0, 2, 40)
    wanted = theirs.f1_score(answers, single[:, 0] > 0, average="macro")
    assert metric(single, answers) == pytest.approx(wanted, rel=1e-12)


def test_penalties_are_pytorchs_on_weights_alone() -> None:
    torch = pytest.importorskip("torch")
    made = model()
    before = {name: value.copy() for name, value in made.parameters.items()}
    plain, _ = run(model(), optimizer=gru.SGD(1.0), epochs=1, batch_size=24, clip_norm=None)
    call = {"optimizer": gru.SGD(1.0), "epochs": 1, "batch_size": 24, "clip_norm": None}
    run(made, l1=0.01, l2=0.03, **call)
    for name, value in made.parameters.items():
        w = torch.tensor(before[name], requires_grad=True)
        (0.01 * w.abs().sum() + 0.03 * (w * w).sum()).backward()
        gradient = w.grad.numpy() if "weight" in name else 0.0
        wanted = plain.parameters[name] - gradient
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-15, err_msg=name)


def test_the_losses_shown_are_without_penalties() -> None:
    call = {"optimizer": gru.SGD(0.0), "epochs": 1}
    assert run(l1=1.0, l2=1.0, **call)[1].loss == run(**call)[1].loss


def test_clipping_by_value_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    start = values(model())
    call = {"optimizer": gru.SGD(1.0), "epochs": 1, "batch_size": 24}
    gradient = start - values(run(clip_norm=None, **call)[0])
    limit = float(np.median(np.abs(gradient)))
    vector = torch.nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
    vector.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_value_([vector], limit)
    moved = start - values(run(clip_norm=None, clip_value=limit, **call)[0])
    np.testing.assert_allclose(moved, vector.grad.numpy(), rtol=1e-9, atol=1e-15)
    torch.nn.utils.clip_grad_norm_([vector], 0.01)
    moved = start - values(run(clip_norm=0.01, clip_value=limit, **call)[0])
    np.testing.assert_allclose(moved, vector.grad.numpy(), rtol=1e-9, atol=1e-15)


def bad_at(call: int, value: float) -> Any:
    """Squared error, but for one call."""
    count = iter(range(1000))

    def loss(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        found, gradient = gru.losses.mse(prediction, target)
        return (value if next(count) == call else found), gradient

    return loss


@pytest.mark.parametrize("optimizer", [gru.Adam(0.1), gru.SGD(0.1)])
def test_a_loss_that_is_not_finite_leaves_the_last_good_weights(optimizer: gru.Optimizer) -> None:
    """Those that gave the last finite loss: of the second call, before the step it led to."""
    wanted = model(1)
    fresh = type(optimizer)(0.1)

    class Soon(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            run.stop()

    run(wanted, loss="mse", optimizer=fresh, callbacks=[Soon()], epochs=1)
    made = model(1)
    with pytest.raises(FloatingPointError, match="epoch 1, step 3 of 3: loss is nan"):
        run(made, loss=bad_at(2, float("nan")), optimizer=optimizer)
    assert np.array_equal(values(made), values(wanted))
    assert optimizer.steps == fresh.steps == 1
    for name, parts in fresh.state.items():
        for a, b in zip(parts, optimizer.state[name], strict=True):
            assert np.array_equal(a, b)


def test_a_step_that_overflows_is_taken_back() -> None:
    made = model(1, "float32")
    before, optimizer = values(made), gru.SGD(1e38, momentum=0.5)
    _, y = task()
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1 of 3: the step would make para"):
        run(made, y=1e4 * y, loss="mse", optimizer=optimizer, clip_norm=None)
    assert np.array_equal(values(made), before)
    assert (optimizer.steps, optimizer.state) == (0, {})


def test_numbers_whose_squares_overflow_are_finite_all_the_same() -> None:
    def steep(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return 1.0, np.full_like(prediction, 1e200)

    made = model()
    run(made, loss=steep, optimizer=gru.SGD(1.0), clip_norm=None, epochs=1, batch_size=24)
    assert np.abs(values(made)).max() > 1e199


@pytest.mark.parametrize("limits", [{"clip_norm": None}, {"clip_value": 1.0}])
def test_a_gradient_that_is_not_finite_is_found_without_its_norm(limits: dict[str, Any]) -> None:
    def endless(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return 1.0, np.full_like(prediction, np.inf)

    made = model()
    before = values(made)
    with pytest.raises(FloatingPointError, match="epoch 1, step 1 of 3: the gradient is not fini"):
        run(made, loss=endless, **limits)
    assert np.array_equal(values(made), before)


def test_a_validation_loss_that_is_not_finite_stops() -> None:
    X, _ = task()
    with pytest.raises(FloatingPointError, match="epoch 1, validation: loss is inf"):
        run(model(1), loss="mse", validation=(X, np.full(24, 1e200)))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_log_has_a_line_for_each_epoch_as_it_ends(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{kind}"
    path.write_text("old")
    counts: list[int] = []

    class Count(gru.Callback):
        def on_epoch_start(self, run: gru.Run) -> None:
            counts.append(len(path.read_text().splitlines()))

    X, y = task()
    _, history = run(log=path, callbacks=[Count()], validation=(X, y))
    assert counts == ([0, 2, 3] if kind == "csv" else [0, 1, 2])
    with path.open(newline="") as file:
        lines: Any = list(csv.DictReader(file)) if kind == "csv" else list(map(json.loads, file))
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert [list(line) for line in lines] == [names] * 3
    assert [int(line["epoch"]) for line in lines] == [1, 2, 3]
    assert [float(line["val_loss"]) for line in lines] == history.val_loss
    assert [float(line["seconds"]) for line in lines] == history.seconds


def test_the_bar_shows_epochs_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    run(verbose=True)
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "9/9 [00:0" in shown


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"clip_value": 0}, ValueError, "clip_value must be above 0 or None, got 0"),
        ({"l1": -1}, ValueError, "l1 must be at least 0, got -1"),
        ({"l2": np.inf}, ValueError, "l2 must be at least 0, got inf"),
        ({"callbacks": [3]}, TypeError, r"callbacks\[0\] must be a gru.Callback or .*, got 3"),
        ({"callbacks": [Record]}, TypeError, r"callbacks\[0\] must be .*, got type"),
        ({"early_stopping": 0}, ValueError, "patience must be an integer of at least 1, got 0"),
        ({"early_stopping": "3"}, TypeError, "early_stopping must be None, .* got '3'"),
        ({"early_stopping": 3}, ValueError, "there is no 'val_loss' to monitor; there are 'loss'"),
        ({"metrics": ["accuracy"] * 2}, ValueError, r"metrics\[1\] is called 'accuracy', as anoth"),
        ({"metrics": ["f2"]}, ValueError, r"metrics\[0\] must be one of 'accuracy', .* got 'f2'"),
        ({"metrics": "mae"}, TypeError, "metrics must be a list of names or functions, got 'mae'"),
        ({"metric": "r2"}, ValueError, "metric must compare classes, as the loss .* got 'r2'"),
        ({"metric": METRICS["mae"]}, ValueError, "metric must compare classes, .* got 'mean_abs"),
        (
            {"loss": gru.losses.cross_entropy, "metrics": ["accuracy", "rmse"]},
            ValueError,
            r"metrics\[1\] must compare classes, .* 'accuracy' or 'f1_macro', got 'rmse'",
        ),
        (
            {"loss": lambda p, t: (1.0, p * 0), "metric": "r2"},
            ValueError,
            r"in the metric r2, target must have shape \(8, 2\) to match the pred.* got \(8,\)",
        ),
        (
            {"loss": lambda p, t: (1.0, p * 0), "metric": "accuracy", "y": np.zeros(24)},
            ValueError,
            r"in the metric accuracy, target must hold integer classes of shape \(8,\), .* float64",
        ),
        ({"log": "run.txt"}, ValueError, r"log must end in \.csv or \.jsonl, got 'run.txt'"),
    ],
)
def test_bad_settings(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run(**change)


def test_a_stop_before_the_first_step_of_an_epoch_takes_no_step() -> None:
    class StopAt(Record):
        def __init__(self, epoch: int) -> None:
            super().__init__()
            self.epoch = epoch

        def on_epoch_start(self, run: gru.Run) -> None:
            super().on_epoch_start(run)
            if run.epoch == self.epoch:
                run.stop()

    for epoch in (0, 1):
        record, made = StopAt(epoch), model()
        X, y = np.ones((4, 3, 2)), np.array([0, 1, 0, 1])
        history = gru.fit(made, X, y, epochs=3, batch_size=4, callbacks=[record], verbose=False)
        assert len(history) == epoch
        ran = ["epoch 0", "step 1", "ended 1"] if epoch else []
        assert record.moments[:-1] == ["start", *ran, f"epoch {epoch}"]
