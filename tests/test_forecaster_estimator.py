"""The forecaster in scikit-learn's manner: its score, searches, intervals on noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

from gru.forecasting import Settings, fit_forecaster


def test_a_forecaster_is_the_core_in_scikit_learns_manner(threads: None) -> None:
    y, exog = np.sin(np.arange(80.0)), np.arange(80.0) % 7
    chosen = gru.GRUForecaster(4, epochs=2, horizon=5, lags=(7,), random_state=1, threads=1)
    assert chosen.fit(y, exog) is chosen
    seed = int(np.random.RandomState(1).randint(2**31 - 1))
    settings = Settings(horizon=5, lags=(7,), hidden_size=4, epochs=2, seed=seed)
    core = fit_forecaster(y, exog, settings)
    coming = np.arange(80.0, 85.0) % 7
    wanted, scale = core.predict(y, 5, exog=exog, future_exog=coming)
    assert chosen.predict(5, coming).tolist() == wanted.tolist()
    assert chosen.predict(exog=coming).tolist() == wanted.tolist()
    low, high = chosen.predict_interval(5, coming, coverage=0.7)
    assert np.array_equal([low, high], core.interval(wanted, scale, 0.7))
    newer = chosen.predict(5, coming, y=y[:-10], y_exog=exog[:-10])
    assert not np.array_equal(newer, wanted)
    assert (chosen.n_features_in_, len(chosen.history_)) == (1, 2)
    with pytest.raises(ValueError, match="y_exog goes with y: give both or neither"):
        chosen.predict(5, coming, y_exog=exog)
    with pytest.raises(NotFittedError):
        gru.GRUForecaster().predict(3)


def seasonal(steps: int = 120) -> np.ndarray:
    t = np.arange(steps)
    return (50 + t / 4) * (1 + 0.3 * np.sin(2 * np.pi * t / 12))


QUICK: dict[str, Any] = {"horizon": 6, "lags": 12, "calibration": 0.0, "random_state": 0}


def test_one_lag_is_a_season() -> None:
    y = seasonal()
    one, many = (
        gru.GRUForecaster(4, **{**QUICK, "epochs": 1, "lags": lags}).fit(y).predict()
        for lags in (np.int64(12), (12,))
    )
    assert np.array_equal(one, many)
    with pytest.raises(ValueError, match="lags must be an integer of at least 1, got 0"):
        gru.GRUForecaster(lags=0).fit(y)


@pytest.mark.parametrize("columns", [False, True])
def test_a_score_is_minus_the_mase_of_a_rolling_origin(columns: bool) -> None:
    whole, exog = seasonal(100), np.arange(100.0) % 7
    if columns:
        whole = np.stack([whole, 1000 - 3 * whole], axis=1)
    known, new = whole[:84], whole[84:]
    fitted = gru.GRUForecaster(4, epochs=2, **QUICK).fit(known, exog[:84])
    errors = []
    for start, end in ((84, 90), (90, 96), (96, 100)):
        said = fitted.predict(end - start, exog[start:end], y=whole[:start], y_exog=exog[:start])
        errors.append(np.abs(whole[start:end] - said) / np.abs(np.diff(known, axis=0)).mean(axis=0))
    assert fitted.score(new, exog[84:]) == pytest.approx(-np.concatenate(errors).mean())
    perfect = gru.GRUForecaster(4, epochs=0, **QUICK).fit(np.tile(np.arange(12.0), 5))
    assert perfect.score(np.tile(np.arange(12.0), 2)) == 0
    naive = gru.GRUForecaster(4, epochs=0, **{**QUICK, "lags": (), "horizon": 1})
    assert naive.fit(np.arange(40.0)).score(np.arange(40.0, 47.0)) == -1
    assert naive.fit(np.full(40, 5.0)).score(np.full(3, 7.0)) == pytest.approx(-2 / 3)


def test_a_score_of_a_list_is_that_of_the_last_horizons() -> None:
    series, exog = [seasonal(90), 5 * seasonal(70)], [np.arange(90.0), np.arange(70.0)]
    fitted = gru.GRUForecaster(4, epochs=2, **QUICK).fit(series[:1], exog[:1])
    errors = []
    for y, x in zip(series, exog, strict=True):
        [said] = fitted.predict(6, [x[-6:]], y=[y[:-6]], y_exog=[x[:-6]])
        errors.append(np.abs(y[-6:] - said) / np.abs(np.diff(y[:-6])).mean())
    assert fitted.score(series, exog) == pytest.approx(-np.mean(errors))


def test_forecasters_are_cross_validated_and_searched() -> None:
    y, exog = seasonal(), np.arange(120) % 7
    folds = TimeSeriesSplit(2, test_size=12)
    quick = gru.GRUForecaster(8, epochs=10, **QUICK)
    for series in (y, np.stack([y, -y], axis=1)):
        found = cross_val_score(quick, series, exog, cv=folds)
        wanted = [
            clone(quick).fit(series[train], exog[train]).score(series[test], exog[test])
            for train, test in folds.split(series)
        ]
        assert found.tolist() == wanted
    search = GridSearchCV(quick, {"lags": [(), 12]}, cv=folds).fit(y)
    assert search.best_params_ == {"lags": 12}
    assert search.predict(6).shape == (6,)
    assert -3 < search.score(seasonal(126)[120:]) < 0
    unseen = cross_val_score(quick, [y, 2 * y + 1, y[:80], y[5:]], cv=2)
    assert (unseen > -3).all()


@pytest.mark.parametrize(
    ("y", "exog", "message"),
    [
        (
            np.zeros((9, 2)),
            None,
            r"go on where that of fit ended, 1 series \(one\), got 2 \(columns\)",
        ),
        (np.zeros(9), np.zeros(9), "exog must have 0 columns as in fit, got 1"),
        ([np.zeros(90), np.zeros(29)], None, r"y\[1\] must have at least 30 steps, got 29"),
    ],
)
def test_what_cannot_be_scored_is_refused(y: Any, exog: Any, message: str) -> None:
    fitted = gru.GRUForecaster(4, epochs=0, **QUICK).fit(seasonal())
    with pytest.raises(ValueError, match=message):
        fitted.score(y, exog)
    with pytest.raises(NotFittedError):
        gru.GRUForecaster().score(y)


def test_numbers_that_no_forecast_can_hold_are_named_without_a_warning() -> None:
    with pytest.raises(ValueError, match=r"y must hold numbers of at most 1e\+140, got 1e\+300"):
        gru.GRUForecaster(4, epochs=0).fit(np.full(60, 1e300))
    with pytest.raises(
        ValueError, match="exog must hold numbers whose squares are finite, got lar"
    ):
        gru.GRUForecaster(4, epochs=0).fit(seasonal(), np.arange(120) * 1e200)
    assert np.isfinite(
        gru.GRUForecaster(4, epochs=1).fit(1e140 * np.sin(np.arange(60))).predict(3)
    ).all()


def test_intervals_from_few_errors_are_said_to_be_so() -> None:
    settings = {**QUICK, "calibration": 0.2, "epochs": 0}
    few = gru.GRUForecaster(4, **settings).fit(seasonal(100))
    assert len(few.forecaster_.errors) == 15
    with pytest.warns(
        UserWarning, match="from 15 errors and coverage=0.9 needs 20: they may cover"
    ):
        few.predict_interval(coverage=0.9)
    few.predict_interval(coverage=0.8)  # needs 10


@pytest.mark.parametrize("kind", ["white", "walk"])
def test_intervals_cover_the_noise_of_one_series(kind: str) -> None:
    """The mean of 40 series, each with errors of its own."""
    rng = np.random.default_rng(0)
    inside = []
    for seed in range(40):
        noise = rng.standard_normal(204)
        y = noise.cumsum() if kind == "walk" else noise
        fitted = gru.GRUForecaster(4, epochs=2, horizon=4, random_state=seed).fit(y[:200])
        low, high = fitted.predict_interval(coverage=0.8)
        inside.append(((low <= y[200:]) & (y[200:] <= high)).mean())
    assert abs(np.mean(inside) - 0.8) < 0.1  # a deviation of 0.03 to 0.05
