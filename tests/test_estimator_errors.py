"""What the estimators refuse: each message is in terms of what the user gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.exceptions import NotFittedError

ARRAY = np.random.default_rng(0).standard_normal((12, 5, 2))
RAGGED = [item[: 2 + i % 4] for i, item in enumerate(ARRAY)]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (RAGGED, list("ab" * 5), "inconsistent numbers of samples"),
        ([*RAGGED[:11], np.zeros((0, 2))], list("ab" * 6), r"X\[11\] must have at least one step"),
        ([*RAGGED[:11], np.zeros((3, 1))], list("ab" * 6), r"X\[11\] must have shape \(T, 2\)"),
        ([*RAGGED[:11], np.full((1, 2), np.nan)], list("ab" * 6), r"nan at X\[11\]\[0, 0\]"),
        (np.full((12, 5, 2), np.inf), list("ab" * 6), "Input X contains infinity"),
        (np.zeros((12, 0, 2)), list("ab" * 6), "at least one step and one channel"),
        (
            np.zeros((12, 2, 2, 2)),
            list("ab" * 6),
            r"X must have shape \(B, T\) or \(B, T, I\), got ",
        ),
        ([], [], "X must hold at least one sequence, got none"),
        (RAGGED, ["a"] * 12, "y must hold at least two classes, got one class: a"),
        (RAGGED, None, "requires y to be passed, but the target y is None"),
        (RAGGED, ARRAY[:, 0, 0], "Unknown label type: continuous"),
        (RAGGED, list("ab" * 6), "cell must be one of 'gru', 'lstm', 'rnn', got 'gruu'"),
    ],
)
def test_what_cannot_be_classified_is_refused(X: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gru.GRUClassifier(2, cell="gruu").fit(X, y)


@pytest.mark.parametrize(
    ("y", "settings", "message"),
    [
        (None, {}, "requires y to be passed, but the target y is None"),
        (ARRAY, {}, r"as many steps as X, in every sequence: y\[0\] has 5 steps for 2"),
        ([*RAGGED[:11], RAGGED[11][:-1]], {}, r"in every sequence: y\[11\] has 4 steps for 5"),
        (ARRAY[:, 0, 0], {"targets": "step"}, r"in every sequence: y\[0\] has one number for 2"),
        (
            ARRAY[:, 0, 0],
            {"targets": "steps"},
            "must be one of 'auto', 'sequence', 'step', got 'st",
        ),
        (
            [item[:, 0] for item in RAGGED],
            {"pooling": "sum"},
            "pooling must be one of .*, got 'sum'",
        ),
        (
            np.arange(12) * 1e200,
            {},
            "y must hold numbers whose squares are finite, got larger ones",
        ),
        (ARRAY[:, 0, 0], {"loss": "cross_entropy"}, "loss must be one of 'mse', 'mae', 'huber'"),
        (ARRAY, {"targets": "sequence"}, r"y must have shape \(B,\) or \(B, K\) for sequences"),
        (np.zeros((12, 1, 1, 1)), {}, r"y must have shape \(B,\), .* got \(12, 1, 1, 1\)"),
        ([np.full(len(item), np.nan) for item in RAGGED], {}, r"y must be finite, got nan at y\[0"),
    ],
)
def test_what_cannot_be_regressed_is_refused(y: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gru.GRURegressor(2, **settings).fit(RAGGED, y)


def test_other_inputs_than_in_fit_are_refused() -> None:
    X, y = list(np.zeros((20, 3, 2))), ["up", "down"] * 10
    chosen = gru.GRUClassifier(8, epochs=0).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but GRUClassifier is expecting 2 feat"):
        chosen.predict([np.zeros((4, 3))])
    with pytest.raises(
        ValueError, match=r"at every step: an array \(B, 3\) is 3 steps of one numb"
    ):
        chosen.predict(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="X must hold at least one sequence, got none"):
        chosen.predict([])
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(20,\), got \(19,\)"):
        chosen.fit(X, y, np.ones(19))
    with pytest.raises(ValueError, match=r"must be at least 0, got -2.0 at sample_weight\[19\]"):
        chosen.fit(X, y, [1] * 19 + [-2])
    with pytest.raises(ValueError, match="sample_weight must be above zero somewhere, got nothing"):
        chosen.fit(X, y, np.zeros(20))
    with pytest.raises(NotFittedError):
        gru.GRUClassifier().predict(X)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"learning_rate": -1}, ValueError, "learning_rate must be at least 0, got -1"),
        ({"learning_rate": "a"}, TypeError, "learning_rate must be a number, got 'a'"),
        ({"verbose": "x"}, TypeError, "verbose must be True, False or an integer .*, got 'x'"),
    ],
)
def test_settings_are_named_as_they_are_given(change: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gru.GRUClassifier(2, **change).fit(RAGGED, list("ab" * 6))
    with pytest.raises(error, match=message):
        gru.GRUForecaster(2, **change).fit(np.arange(60.0))


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ("aaaaaaaaaaac", {}, "y holds one alone of class c"),
        (
            "abcdabcdabcd",
            {},
            r"least 4 .* 4 to hold out \(one of each class\): .*=0.1 of 12 holds ",
        ),
        (
            "abcdabcdabcd",
            {"validation_fraction": 0.8},
            "validation_fraction=0.8 of 12 holds out 10",
        ),
        (
            "ab" * 6,
            {"early_stopping": 0},
            "early_stopping must be None or an integer of at least 1",
        ),
    ],
)
def test_what_leaves_too_little_to_hold_out(labels: str, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gru.GRUClassifier(2, **{"early_stopping": 3, **settings}).fit(RAGGED, list(labels))


def test_a_regressor_needs_one_sequence_to_hold_out() -> None:
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 of 1 holds out 1"):
        gru.GRURegressor(2, early_stopping=3).fit(RAGGED[:1], [1.0])


def test_a_score_of_steps_compares_sequence_by_sequence() -> None:
    """As many steps in all, but not in each."""
    fitted = gru.GRURegressor(2, epochs=0).fit(RAGGED, [item[:, 0] for item in RAGGED])
    lengths = [len(item) for item in RAGGED]
    y = [np.zeros(length) for length in lengths[::-1]]
    assert sum(map(len, y)) == sum(lengths)
    with pytest.raises(ValueError, match=r"y\[0\] must have shape \(2,\), got \(5,\)"):
        fitted.score(RAGGED, y)
    with pytest.raises(ValueError, match=r"y\[0\] must have shape \(2,\), got \(2, 1\)"):
        fitted.score(RAGGED, [np.zeros((length, 1)) for length in lengths])


@pytest.mark.parametrize(
    ("class_weight", "kind", "message"),
    [
        ({"a": np.nan}, ValueError, r"class_weight\['a'\] must be finite and at least 0, got nan"),
        ({"a": -1}, ValueError, r"class_weight\['a'\] must be finite and at least 0, got -1"),
        ({"a": "b"}, TypeError, r"class_weight\['a'\] must be a number, got 'b'"),
        ({"a": [1, 2]}, TypeError, r"class_weight\['a'\] must be a number, got "),
        ({"a": 0, "b": 0}, ValueError, "class_weight and sample_weight must leave .*, got none"),
        ({"a": 0}, ValueError, "must leave at least two classes of y that count, got 'b'"),
    ],
)
def test_bad_class_weights_are_named(
    class_weight: Any, kind: type[Exception], message: str
) -> None:
    chosen = gru.GRUClassifier(2, epochs=1, class_weight=class_weight)
    with pytest.raises(kind, match=message):
        chosen.fit(RAGGED, list("ab" * 6))
