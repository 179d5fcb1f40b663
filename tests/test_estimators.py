"""The estimators: ragged lists throughout, weights, kinds of targets, what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gru

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from gru.recipe import SETTINGS

EXACT: dict[str, Any] = {"batch_size": 256, "dtype": "float64", "learning_rate": 0.03}


def task(count: int = 60, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Ragged sequences; the label is the sign of the first number."""
    rng = np.random.default_rng(seed)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(3, 9, count)]
    return X, np.array(["down" if item[0, 0] < 0 else "up" for item in X])


def small(**settings: Any) -> Any:
    usual = {"epochs": 25, "batch_size": 8, "learning_rate": 0.02, "random_state": 0}
    return gru.GRUClassifier(8, **{**usual, **settings})


def test_speakers_are_told_apart_with_the_defaults() -> None:
    data = gru.datasets.japanese_vowels()
    scores = [
        gru.GRUClassifier(random_state=seed)
        .fit(data.X_train, data.y_train)
        .score(data.X_test, data.y_test)
        for seed in range(5)
    ]
    assert np.median(scores) >= 0.96


def test_digits_are_read_row_by_row() -> None:
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    scores = [
        gru.GRUClassifier(64, epochs=25, random_state=seed)
        .fit(X[:1200], y[:1200])
        .score(X[1200:], y[1200:])
        for seed in range(3)
    ]
    assert np.median(scores) >= 0.92


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_every_architecture_learns(cell: str, pooling: str) -> None:
    X, y = task()
    chosen = small(cell=cell, pooling=pooling, bidirectional=True, num_layers=2, dropout=0.1)
    chosen.fit(X, y)
    assert chosen.score(X, y) > 0.9
    assert len(chosen.history_) == 25
    kinds = [type(layer).__name__ for layer in chosen.model_.layers]
    assert kinds == [cell.upper(), pooling.capitalize(), "Dropout", "Linear"]
    assert (chosen.n_features_in_, chosen.classes_.tolist()) == (2, ["down", "up"])


@pytest.mark.parametrize("kind", [gru.GRUClassifier, gru.GRURegressor, gru.GRUForecaster])
def test_every_setting_of_the_layer_reaches_it(kind: Any) -> None:
    layer: dict[str, Any] = {
        "hidden_size": 5, "num_layers": 2, "bidirectional": True, "dtype": "float64",
        "dropout": 0.1, "input_dropout": 0.2, "recurrent_dropout": 0.3, "zoneout": 0.4,
        "layer_norm": True, "reset_after": False, "update_gate": "new",
    }  # fmt: skip
    data = (np.sin(np.arange(60.0)),) if kind is gru.GRUForecaster else (ARRAY, [0, 1] * 6)
    fitted = kind(**layer, epochs=1, random_state=0).fit(*data)
    made = fitted.model_.layers[0]
    assert {name: getattr(made, name) for name in layer} == layer
    assert set(layer) | {"cell"} == set(SETTINGS)
    with pytest.raises(ValueError, match="layer_norm=True needs cell='gru', got cell='lstm'"):
        kind(cell="lstm", layer_norm=True).fit(*data)


def test_probabilities_are_the_softmax_of_the_models_logits() -> None:
    X, y = task()
    labels = np.where([len(item) > 6 for item in X], "long", y)
    chosen = small(epochs=3).fit(X, labels)
    logits = chosen.model_.predict(chosen.scaler_.scale(X)).astype(float)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chosen.predict_proba(X), wanted, rtol=1e-12)
    np.testing.assert_allclose(chosen.predict_log_proba(X), np.log(wanted), rtol=1e-9)
    assert np.array_equal(chosen.decision_function(X), logits)
    assert chosen.predict(X).tolist() == chosen.classes_[wanted.argmax(axis=1)].tolist()
    two = small(epochs=1).fit(X, y)
    logits = two.model_.predict(two.scaler_.scale(X)).astype(float)
    assert np.array_equal(two.decision_function(X), logits[:, 1] - logits[:, 0])


def test_arrays_lists_and_tables_are_the_same_sequences() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((30, 6))
    y = (table[:, 0] > 0).astype(int)
    forms = [table, table[:, :, None], list(table), list(table[:, :, None]), table.tolist()]
    objects = np.empty(30, object)
    objects[:] = list(table)
    found = [small(epochs=2).fit(X, y) for X in [*forms, objects]]
    wanted = found[0].predict_proba(table)
    for fitted in found:
        for X in forms:
            np.testing.assert_allclose(fitted.predict_proba(X), wanted, rtol=1e-5)
    assert [fitted.n_features_in_ for fitted in found] == [6, 1, 1, 1, 6, 1]
    assert [fitted.n_steps_in_ for fitted in found] == [6, None, None, None, 6, None]
    ragged = [[1.0, 2.0], [3.0], [1.0, 1.0, 1.0]]
    assert found[0].predict(ragged).tolist() == found[2].predict(ragged).tolist()


def test_scaling_is_measured_in_fit_and_can_be_left_out() -> None:
    X, y = task()
    moved = [1000 * item + 5e4 for item in X]
    scaled, plain = small().fit(moved, y), small(scale=False).fit(moved, y)
    assert scaled.score(moved, y) > 0.9
    assert scaled.score(moved, y) > plain.score(moved, y) + 0.2
    assert plain.scaler_ is None
    np.testing.assert_allclose(scaled.scaler_.mean, np.concatenate(moved).mean(axis=0))


def test_ragged_lists_go_through_pipelines_searches_and_cross_validation() -> None:
    X, y = task()

    def backwards(X: list[np.ndarray]) -> list[np.ndarray]:
        return [item[::-1] for item in X]  # what matters comes last then, which is easy

    steps = make_pipeline(FunctionTransformer(backwards), small(epochs=10))
    scores = cross_val_score(steps, X, y, cv=3)
    assert scores.mean() > 0.8
    search = GridSearchCV(steps, {"gruclassifier__epochs": [0, 10]}, cv=3).fit(X, y)
    assert search.best_params_ == {"gruclassifier__epochs": 10}
    assert search.predict(X[:2]).shape == (2,)
    targets = [item.cumsum(axis=0)[:, 0] for item in X]
    scores = cross_val_score(
        gru.GRURegressor(16, batch_size=8, learning_rate=0.02, random_state=0), X, targets, cv=3
    )
    assert scores.mean() > 0.8


@pytest.mark.parametrize("kind", ["classifier", "regressor", "forecaster"])
def test_a_pickle_gives_the_same_bits(kind: str) -> None:
    X, y = task(20)
    estimator: Any = {
        "classifier": small(epochs=1, cell="lstm", threads=1),
        "regressor": gru.GRURegressor(4, epochs=1, random_state=0),
        "forecaster": gru.GRUForecaster(4, epochs=1, horizon=3, random_state=0),
    }[kind]
    targets = y if kind == "classifier" else [item[:, 0] for item in X]
    series = np.sin(np.arange(120.0))
    estimator.fit(*((series,) if kind == "forecaster" else (X, targets)))
    again = pickle.loads(pickle.dumps(estimator))
    if kind == "forecaster":
        assert np.array_equal(again.predict(5), estimator.predict(5))
        assert np.array_equal(again.predict_interval(3), estimator.predict_interval(3))
    else:
        for one, other in zip(again.predict(X), estimator.predict(X), strict=True):
            assert np.array_equal(one, other)
    assert again.history_.loss == estimator.history_.loss
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "model_")


@pytest.mark.parametrize("kind", [gru.GRUClassifier, gru.GRURegressor])
def test_a_weight_of_2_is_the_sequence_twice_in_ragged_lists_too(kind: Any) -> None:
    X, labels = task(20)
    y = labels if kind is gru.GRUClassifier else [item[:, 0] ** 2 for item in X]
    weight = np.arange(20) % 3
    chosen = np.repeat(np.arange(20), weight)
    settings = {"epochs": 5, "random_state": 0, **EXACT}
    weighted = kind(4, **settings).fit(X, y, sample_weight=weight)
    repeated = kind(4, **settings).fit([X[i] for i in chosen], [y[i] for i in chosen])
    method = "predict_proba" if kind is gru.GRUClassifier else "predict"
    for one, other in zip(getattr(weighted, method)(X), getattr(repeated, method)(X), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_class_weights_are_sample_weights() -> None:
    X, y = task()
    rare = [0, *np.flatnonzero(y == y[0])[1:3], *np.flatnonzero(y != y[0])]
    X, y = [X[i] for i in rare], y[rare]
    other = str(y[-1])
    count = {label: int((y == label).sum()) for label in (y[0], other)}
    balanced = {label: len(y) / (2 * count[label]) for label in count}
    by_name = small(class_weight="balanced", epochs=3).fit(X, y)
    by_dict = small(class_weight=balanced, epochs=3).fit(X, y)
    by_hand = small(epochs=3).fit(X, y, sample_weight=[balanced[label] for label in y])
    plain = small(epochs=3).fit(X, y)
    wanted = by_name.predict_proba(X)
    np.testing.assert_allclose(by_dict.predict_proba(X), wanted, rtol=1e-6)
    np.testing.assert_allclose(by_hand.predict_proba(X), wanted, rtol=1e-6)
    column = plain.classes_.tolist().index(y[0])
    assert wanted[:, column].mean() > plain.predict_proba(X)[:, column].mean()


def test_random_states_are_those_of_scikit_learn() -> None:
    X, y = task(20)

    def answer(random_state: Any) -> list[Any]:
        return small(epochs=1, random_state=random_state).fit(X, y).predict_proba(X).tolist()

    assert answer(3) == answer(3) != answer(4)
    assert answer(np.random.RandomState(3)) == answer(3)
    moving = np.random.RandomState(3)
    assert answer(moving) != answer(moving)
    before = np.random.get_state()
    np.random.seed(5)
    first = answer(None)
    np.random.seed(5)
    assert answer(None) == first != answer(None)
    np.random.set_state(before)


def test_threads_change_no_bit_and_are_given_back(threads: None) -> None:
    X, y = task()
    gru.set_num_threads(2)
    one, two = (small(epochs=2, threads=count).fit(X, y) for count in (1, None))
    assert gru.get_num_threads() == 2
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    with pytest.raises(ValueError, match="threads must be an integer from 1 to 1024, got 0"):
        small(threads=0).fit(X, y)
    assert gru.get_num_threads() == 2


def test_progress_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """With scikit-learn's numbers too."""
    X, y = task(20)
    for verbose, shown in ((False, False), (0, False), (True, True), (2, True)):
        small(epochs=1, verbose=verbose).fit(X, y)
        assert bool(capsys.readouterr().err) is shown


def test_early_stopping_holds_sequences_out() -> None:
    X, y = task(200)
    stopped = small(epochs=300, early_stopping=20, validation_fraction=0.25).fit(X, y)
    assert 21 <= len(stopped.history_) < 300
    assert len(stopped.history_.val_loss) == len(stopped.history_)
    assert stopped.score(X, y) > 0.8
    assert small(epochs=1).fit(X, y).history_.val_loss == []
    with pytest.raises(ValueError, match=r"validation_fraction must be in \(0, 1\), got 1"):
        small(early_stopping=3, validation_fraction=1.0).fit(X, y)


ARRAY = np.random.default_rng(0).standard_normal((12, 5, 2))
RAGGED = [item[: 2 + i % 4] for i, item in enumerate(ARRAY)]


@pytest.mark.parametrize(
    ("X", "y", "targets", "per_step", "outputs"),
    [
        (ARRAY, ARRAY[:, 0, 0], "auto", False, 1),
        (ARRAY, ARRAY[:, 0], "auto", False, 2),
        (ARRAY, ARRAY[:, :, 0], "auto", True, 1),
        (ARRAY, ARRAY[:, :, 0], "sequence", False, 5),
        (ARRAY, ARRAY, "auto", True, 2),
        (ARRAY, list(ARRAY[:, :, 0]), "auto", True, 1),
        (ARRAY, list(ARRAY[:, 0]), "auto", False, 2),
        (ARRAY[:, :1], ARRAY[:, 0, :1], "auto", False, 1),
        (ARRAY[:, :1], ARRAY[:, 0, :1], "step", True, 1),
        (RAGGED, ARRAY[:, 0, 0], "auto", False, 1),
        (RAGGED, ARRAY[:, 0], "auto", False, 2),
        (RAGGED, [item[:, 0] for item in RAGGED], "auto", True, 1),
        (RAGGED, RAGGED, "auto", True, 2),
        (list(ARRAY), ARRAY[:, :, 0], "step", True, 1),
    ],
)
def test_the_shape_of_y_says_what_it_is(
    X: Any, y: Any, targets: str, per_step: bool, outputs: int
) -> None:
    fitted = gru.GRURegressor(3, epochs=1, targets=targets, random_state=0).fit(X, y)
    assert fitted.per_step_ is per_step
    assert fitted.model_.layers[-1].out_features == outputs
    said = fitted.predict(X)
    assert isinstance(said, list) is (per_step and isinstance(X, list))
    for one, other in zip(said, y, strict=True):
        assert np.shape(one) == np.shape(other)
        assert np.asarray(one).dtype == np.float64
    rows = [np.concatenate(list(part)) if per_step else np.asarray(part) for part in (y, said)]
    assert fitted.score(X, y) == pytest.approx(r2_score(*rows))
    weight = np.arange(12.0)
    each = np.repeat(weight, [len(item) for item in X]) if per_step else weight
    wanted = r2_score(*rows, sample_weight=each)
    assert fitted.score(X, y, weight) == pytest.approx(wanted)


def test_targets_are_scaled() -> None:
    X, _ = task()
    y = np.array([1e6 + 1e3 * item[0, 0] for item in X])
    settings: dict[str, Any] = {"batch_size": 8, "learning_rate": 0.02, "random_state": 0}
    scaled = gru.GRURegressor(16, **settings).fit(X, y)
    assert scaled.score(X, y) > 0.9
    assert gru.GRURegressor(16, scale=False, **settings).fit(X, y).score(X, y) < 0
    assert scaled.target_scaler_.mean[0] == pytest.approx(y.mean())
    robust = gru.GRURegressor(16, loss="huber", **settings).fit(X, y)
    assert robust.score(X, y) > 0.9


def test_without_scikit_learn_the_names_are_there_and_say_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from gru import *\n"
        "for kind in (GRUClassifier, GRURegressor, GRUForecaster):\n"
        "    try:\n"
        "        kind(8)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    wanted = 'estimators need scikit-learn; pip install "gru-engine[sklearn]" brings it'
    assert done.stdout.splitlines() == [wanted] * 3
