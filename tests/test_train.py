"""The training loop: learns, repeats bit for bit, refuses and reports what it should."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gru
from gru.data import Dataset, Sequences
from gru.objective import Objective
from gru.train import evaluate


def task(count: int = 48) -> tuple[list[np.ndarray], np.ndarray]:
    """Ragged sequences; the class is the sign of the first number."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(3, 9, count)]
    return X, np.array([int(item[0, 0] > 0) for item in X])


def model(seed: int = 0, dtype: str = "float32") -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(2, 8, seed=seed, dtype=dtype),
            gru.Dropout(0.1),
            gru.Last(),
            gru.Linear(8, 2, seed=seed, dtype=dtype),
        ]
    )


def run(**options: Any) -> tuple[gru.Sequential, gru.History]:
    chosen = model()
    settings = {"optimizer": gru.Adam(0.01), "epochs": 3, "verbose": False, **options}
    return chosen, gru.fit(chosen, *task(), **settings)


def test_it_learns() -> None:
    trained, history = run(epochs=40, batch_size=8)
    X, y = task()
    assert len(history) == 40
    assert history.loss[-1] < 0.3 * history.loss[0]
    assert history.metric_name == "accuracy"
    assert (trained.predict(X).argmax(axis=1) == y).mean() > 0.95


@pytest.mark.parametrize("threads", [1, 2])
def test_one_seed_gives_the_same_bits(threads: int, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: gru.set_num_threads(None))
    first, a = run(seed=5)
    gru.set_num_threads(threads)
    second, b = run(seed=5)
    third, _ = run(seed=6)
    assert a.loss == b.loss
    for name, value in first.parameters.items():
        assert np.array_equal(value, second.parameters[name])
    assert not np.array_equal(first.parameters["3.weight"], third.parameters["3.weight"])


def test_validation_is_recorded_and_changes_nothing() -> None:
    X, y = task(20)
    plain, without = run()
    checked, history = run(validation=(X, y))
    assert without.val_loss == []
    assert len(history.val_loss) == len(history.val_metric) == len(history.seconds) == 3
    assert history.loss == without.loss
    assert np.array_equal(plain.predict(X), checked.predict(X))
    loss, _ = gru.losses.cross_entropy(checked.predict(X), y)
    assert history.val_loss[-1] == pytest.approx(loss, rel=1e-5)
    assert history.val_metric[-1] == (checked.predict(X).argmax(axis=1) == y).mean()
    assert set(history.last) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_an_array_with_lengths_is_a_list() -> None:
    X, y = task()
    lengths = np.array([len(item) for item in X])
    dense = np.zeros((len(X), 9, 2))
    for row, item in zip(dense, X, strict=True):
        row[: len(item)] = item
    settings: dict[str, Any] = {"epochs": 2, "verbose": False, "validation": None}
    losses = [
        gru.fit(model(), X, y, **settings).loss,
        gru.fit(model(), dense, y, lengths=lengths, **settings).loss,
        gru.fit(model(), dense, y, mask=np.arange(9) < lengths[:, None], **settings).loss,
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] == pytest.approx(losses[2], rel=1e-6)


@pytest.mark.parametrize("ragged", [True, False])
def test_targets_at_each_step(ragged: bool) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, 16)
    X = [rng.standard_normal((steps, 2)) for steps in lengths]
    y = [item[:, :1] for item in X]
    tagger = gru.Sequential([gru.RNN(2, 8, seed=0), gru.Linear(8, 1, seed=0)])
    options: dict[str, Any] = {"loss": "mse", "epochs": 30, "verbose": False, "batch_size": 4}
    if not ragged:
        pads = [[(0, 6 - n), (0, 0)] for n in lengths]
        X, y = (
            np.stack([np.pad(item, by) for item, by in zip(part, pads, strict=True)])
            for part in (X, y)
        )
        options["lengths"] = lengths
    history = gru.fit(tagger, X, y, optimizer=gru.Adam(0.01), **options)
    assert history.metric_name == "mae"
    assert history.loss[-1] < 0.2 * history.loss[0]


def test_other_losses_metrics_and_optimizers() -> None:
    X, y = task()
    one = gru.Sequential([gru.LSTM(2, 4, seed=0), gru.Mean(), gru.Linear(4, 1, seed=0)])

    def hits(prediction: np.ndarray, target: np.ndarray) -> float:
        return float(((prediction[:, 0] > 0) == target).mean())

    def twice(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = gru.losses.binary_cross_entropy(prediction, target)
        return 2 * value, 2 * gradient

    for loss, name in (
        ("binary_cross_entropy", "accuracy"),
        ("huber", "mae"),
        ("mae", "mae"),
        (twice, None),
    ):
        history = gru.fit(one, X, y, loss=loss, optimizer=gru.RMSprop(), epochs=1, verbose=False)
        assert history.metric_name == name
        assert len(history.metric) == (0 if name is None else 1)
    history = gru.fit(one, X, y, loss=twice, metric=hits, epochs=1, verbose=False)
    assert history.metric_name == "hits"
    assert 0 <= history.metric[0] <= 1


def test_an_optimizer_goes_on() -> None:
    optimizer = gru.Adam(0.01)
    run(optimizer=optimizer, epochs=2, batch_size=16)
    assert optimizer.steps == 6


def test_evaluate_is_the_mean_over_all() -> None:
    X, y = task()
    chosen = model()
    data = Dataset(Sequences(X, chosen.input_dtype), y)
    objective = Objective.of("cross_entropy", None)
    small = evaluate(chosen, data, objective, batch_size=7)
    large = evaluate(chosen, data, objective)
    assert small == pytest.approx(large, rel=1e-6)


def test_an_embedding_learns() -> None:
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 5, steps) for steps in rng.integers(2, 6, 40)]
    y = [int(item[-1] > 2) for item in X]
    words = gru.Sequential(
        [gru.Embedding(5, 4, seed=0), gru.GRU(4, 8, seed=0), gru.Last(), gru.Linear(8, 2, seed=0)]
    )
    history = gru.fit(words, X, y, optimizer=gru.Adam(0.02), epochs=20, verbose=False)
    assert history.metric[-1] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": [[[np.nan, 0.0]]] * 2}, r"X must be finite, got nan at X\[0\]\[0, 0\]"),
        ({"X": np.full((2, 3, 2), np.inf)}, r"X must be finite, got inf at X\[0, 0, 0\]"),
        ({"y": [0.0, np.nan], "loss": "mse"}, r"y must be finite, got nan at y\[1\]"),
        ({"y": [0, 1, 2]}, "y must have one entry a sequence, 2, got 3"),
        ({"y": [0.5, -1e300], "loss": "mse"}, r"y must fit float32, got -1e\+300 at y\[1\]"),
        ({"X": np.full((2, 3, 2), 1e39)}, r"X must fit float32, got 1e\+39 at X\[0, 0, 0\]"),
        ({"X": [[[0, 0]], [[0, 1e39]]]}, r"X\[1\] must fit float32, got 1e\+39 at X\[1\]\[0, 1\]"),
        (
            {"X": [np.zeros((3, 2)), np.zeros((5, 2))], "y": [[0, 1, 1], [0, 1, 0, 1]]},
            r"y\[1\] must have one target for each of the 5 steps of X\[1\], got 4",
        ),
        ({"y": [0, 9]}, "target must lie in 0 .. 1"),
        ({"loss": "crossentropy"}, "loss must be one of 'mse', .* got 'crossentropy'"),
        ({"metric": "f1"}, "metric must be one of"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0 or None, got 0.0"),
    ],
)
def test_bad_data_is_refused(change: dict[str, Any], message: str) -> None:
    call = {"X": np.zeros((2, 3, 2)), "y": [0, 1], **change}
    with pytest.raises(ValueError, match=message):
        gru.fit(model(), call.pop("X"), call.pop("y"), verbose=False, **call)


def test_labels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"y must hold numbers, got <U1; .* as gru\.GRUC"):
        gru.fit(model(), np.zeros((2, 3, 2)), ["a", "b"], verbose=False)


def test_a_weight_that_does_not_fit_names_each_shape_once() -> None:
    message = r"weight must have shape \(2,\) for a prediction \(2, 3\), got \(3,\)"
    with pytest.raises(ValueError, match=message):
        gru.losses.cross_entropy(np.zeros((2, 3)), [0, 1], weight=np.ones(3))


def test_a_frozen_model_is_refused() -> None:
    frozen = model()
    frozen.layers[0].freeze()
    with pytest.raises(ValueError, match=r"frozen; call model\.unfreeze\(\) before fit"):
        gru.fit(frozen, *task(), verbose=False)


def test_a_loss_that_is_not_finite_names_epoch_and_step() -> None:
    X = np.ones((8, 3, 2))
    broken = gru.Sequential([gru.GRU(2, 4, seed=0), gru.Last(), gru.Linear(4, 1, seed=0)])
    with pytest.raises(FloatingPointError, match="epoch 1, step 1 of 2: loss is inf"):
        gru.fit(broken, X, np.full(8, 1e30), loss="mse", batch_size=4, verbose=False)
    calls = iter([1.0, 1.0, 1.0, float("nan")])

    def later(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return next(calls), np.zeros_like(prediction)

    with pytest.raises(FloatingPointError, match="epoch 2, step 2 of 2: loss is nan"):
        gru.fit(broken, X, np.ones(8), loss=later, batch_size=4, epochs=3, verbose=False)


def test_a_gradient_that_is_not_finite_leaves_the_parameters() -> None:
    def endless(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return 1.0, np.full_like(prediction, np.inf)

    chosen = model()
    before = {name: value.copy() for name, value in chosen.parameters.items()}
    with pytest.raises(FloatingPointError, match="epoch 1, step 1 of 2: norm of the gradient"):
        gru.fit(chosen, *task(), loss=endless, verbose=False)
    for name, value in chosen.parameters.items():
        assert np.array_equal(value, before[name])


def test_the_bar_shows_loss_and_metric(capsys: pytest.CaptureFixture[str]) -> None:
    run(verbose=True)
    shown = capsys.readouterr().err
    assert "loss=" in shown
    assert "accuracy=" in shown
    run(verbose=False)
    assert capsys.readouterr().err == ""


def test_importing_and_silent_training_need_no_tqdm_and_no_matplotlib() -> None:
    code = (
        "import sys, numpy as np, gru\n"
        "m = gru.Sequential([gru.GRU(2, 4), gru.Last(), gru.Linear(4, 2)])\n"
        "gru.fit(m, np.zeros((4, 3, 2)), [0, 1, 0, 1], epochs=1, verbose=False)\n"
        "assert 'tqdm' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
