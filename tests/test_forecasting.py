"""Forecasts: frames that see no future, the simple forecast at the start, better than it after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gru
from gru.forecasting import Settings, _frames, fit_forecaster
from gru.frames import Framing, Series

SMALL = Settings(horizon=6, lags=(12,), hidden_size=8, epochs=3, calibration=0.3)
NOTHING = np.zeros((1000, 0))


def seasonal(steps: int = 120, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """Twelve steps a year, both level and season grow, and noise that remembers."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    rest = np.convolve(rng.standard_normal(steps + 20), 0.8 ** np.arange(20), "valid")[:steps]
    return (100 + t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12) + noise * rest)


def test_frames_hold_what_the_definition_says() -> None:
    y, exog = seasonal(60), np.arange(70.0)[:, None]
    framing = Framing(window=10, horizon=5, lags=(3, 12))
    frames = framing.cut(y, exog, [12, 55])
    assert frames.x.shape == (2, 15, 5)
    for row, origin in enumerate([12, 55]):
        mean, std = y[origin - 10 : origin].mean(), frames.scale[row, 0]
        assert std == pytest.approx(y[origin - 10 : origin].std())
        for at, step in enumerate(range(origin - 10, origin + 5)):
            known = step < origin
            lagged = []
            for lag in (3, 12):
                back = step - lag
                while not known and back >= origin:
                    back -= lag
                lagged.append((y[back] - mean) / std if back >= 0 else 0.0)
            shown = (y[step] - mean) / std if known else 0.0
            np.testing.assert_allclose(
                frames.x[row, at], [shown, not known, *lagged, exog[step, 0]], atol=1e-12
            )
    assert frames.base[1].tolist() == [y[52], y[53], y[54], y[52], y[53]]


def test_frames_see_no_future() -> None:
    framing = Framing(window=8, horizon=4, lags=(6,))
    y = seasonal(40)
    changed = y.copy()
    changed[20:] = -1e6
    for one, other in zip(
        vars(framing.cut(y, NOTHING, [10, 20])).values(),
        vars(framing.cut(changed, NOTHING, [10, 20])).values(),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_constant_and_a_calm_stretch_are_not_blown_up() -> None:
    framing = Framing(window=4, horizon=2, lags=())
    assert framing.cut(np.full(9, 0.1), NOTHING, [9]).scale.tolist() == [[1.0]]
    y = np.array([-1.0, 1.0] * 10 + [0.0, 1e-9, 0.0, 1e-9])
    assert framing.cut(y, NOTHING, [24]).scale[0, 0] == pytest.approx(0.1 * y.std(), rel=1e-6)


@pytest.mark.parametrize("lags", [(12,), (12, 3), ()])
def test_an_untrained_model_gives_the_simple_forecast(lags: tuple[int, ...]) -> None:
    y = seasonal()
    forecaster = fit_forecaster(y, settings=replace(SMALL, lags=lags, epochs=0))
    forecast, _ = forecaster.predict(y, 30)
    wanted = np.resize(y[-12:], 30) if lags else np.full(30, y[-1])
    assert forecast.tolist() == wanted.tolist()


def test_it_beats_seasonal_naive_on_a_rolling_origin() -> None:
    y = seasonal(168, noise=0.005)
    ours, naive = [], []
    settings = Settings(horizon=12, lags=(12,), hidden_size=16, calibration=0.0)
    for origin in (120, 132, 144, 156):
        forecast, _ = fit_forecaster(y[:origin], settings=settings).predict(y[:origin], 12)
        truth = y[origin : origin + 12]
        ours.append(np.abs(forecast - truth).mean())
        naive.append(np.abs(y[origin - 12 : origin] - truth).mean())
    assert np.mean(ours) < 0.75 * np.mean(naive)


def test_other_units_give_the_same_forecast() -> None:
    """Every frame is scaled by itself: a model knows shapes, not units."""
    y = seasonal()
    forecaster = fit_forecaster(y, settings=replace(SMALL, dtype="float64"))
    forecast, scale = forecaster.predict(y, 6)
    other, wider = forecaster.predict(1000 * y - 7, 6)
    np.testing.assert_allclose(other, 1000 * forecast - 7, rtol=1e-9)
    np.testing.assert_allclose(wider, 1000 * scale, rtol=1e-9)


def test_beyond_the_horizon_forecasts_build_on_forecasts() -> None:
    y = seasonal()
    forecaster = fit_forecaster(y, settings=SMALL)
    far, _ = forecaster.predict(y, 15)
    near, _ = forecaster.predict(y, 6)
    then, _ = forecaster.predict(np.concatenate([y, near]), 9)
    assert far.tolist() == [*near, *then]
    shorter, _ = forecaster.predict(y, 4)
    assert shorter.tolist() == near[:4].tolist()  # no step looks at a later one


def test_all_containers_give_the_same_bits() -> None:
    columns = np.stack([seasonal(seed=0), seasonal(seed=1)], axis=1)
    as_columns = fit_forecaster(columns, settings=SMALL)
    as_list = fit_forecaster(list(columns.T), settings=SMALL)
    a, _ = as_columns.predict(columns, 6)
    b, _ = as_list.predict(list(columns.T), 6)
    assert a.shape == (6, 2)
    assert [item.tolist() for item in b] == a.T.tolist()
    one, _ = as_columns.predict(columns[:, 1], 6)
    assert one.tolist() == a[:, 1].tolist()
    low, high = as_columns.interval(*as_columns.predict(columns, 6), 0.5)
    lows, highs = as_list.interval(*as_list.predict(list(columns.T), 6), 0.5)
    assert np.array_equal(low.T, lows)
    assert np.array_equal(high.T, highs)


@pytest.mark.parametrize("threads_used", [1, 2])
def test_one_seed_gives_the_same_bits(threads_used: int, threads: None) -> None:
    y = seasonal()
    first = fit_forecaster(y, settings=SMALL)
    gru.set_num_threads(threads_used)
    again = fit_forecaster(y, settings=SMALL)
    other = fit_forecaster(y, settings=replace(SMALL, seed=1))
    assert first.errors is not None
    assert np.array_equal(first.errors, again.errors)
    assert first.predict(y, 6)[0].tolist() == again.predict(y, 6)[0].tolist()
    assert first.predict(y, 6)[0].tolist() != other.predict(y, 6)[0].tolist()


def test_what_is_known_beforehand_is_used() -> None:
    rng = np.random.default_rng(0)
    holidays = (rng.random(200) < 0.3).astype(float)
    y = 10 + 3 * holidays + 0.1 * rng.standard_normal(200)
    settings = Settings(horizon=8, hidden_size=8, calibration=0.0, learning_rate=0.01)
    errors = []
    for inputs in (holidays, None):
        forecaster = fit_forecaster(
            y[:-8], None if inputs is None else inputs[:-8], settings=settings
        )
        future = {} if inputs is None else {"exog": inputs[:-8], "future_exog": inputs[-8:]}
        forecast, _ = forecaster.predict(y[:-8], 8, **future)
        errors.append(np.abs(forecast - y[-8:]).mean())
    assert errors[0] < 0.4
    assert errors[0] < 0.4 * errors[1]


def test_exogenous_inputs_in_all_forms_give_the_same_bits() -> None:
    y = np.stack([seasonal(seed=0), seasonal(seed=1)], axis=1)
    x, future = np.arange(120.0), np.arange(120.0, 126.0)
    forms: list[tuple[Any, Any, Any]] = [
        (y, x, future),
        (y, x[:, None], future[:, None]),
        (y, np.stack([x, x], axis=1)[:, :, None], np.stack([future, future], axis=1)[:, :, None]),
        (list(y.T), [x, x], [future, future[:, None]]),
    ]
    found = []
    for series, exog, coming in forms:
        forecaster = fit_forecaster(series, exog, settings=replace(SMALL, epochs=1))
        forecast = forecaster.predict(series, 6, exog=exog, future_exog=coming)[0]
        found.append(np.transpose(forecast) if isinstance(forecast, list) else forecast)
    for other in found[1:]:
        assert np.array_equal(found[0], other)


@pytest.mark.parametrize("exog", [None, 1.1 ** np.arange(120.0)], ids=["alone", "exog"])
def test_intervals_are_the_order_statistics_of_held_out_errors(exog: Any) -> None:
    """Held out altogether: not even the scale of the exogenous inputs is that of later steps."""
    y = seasonal()
    cut = 120 - 36  # calibration is 0.3
    forecaster = fit_forecaster(y, exog, settings=SMALL)
    seen = fit_forecaster(
        y[:cut], None if exog is None else exog[:cut], replace(SMALL, calibration=0.0)
    )

    def known(start: int, end: int) -> Any:
        return None if exog is None else exog[start:end]

    errors = np.stack(
        [
            np.abs(y[origin : origin + 6] - forecast) / scale
            for origin in range(cut, 120 - 6 + 1)
            for forecast, scale in [
                seen.predict(
                    y[:origin], 6, exog=known(0, origin), future_exog=known(origin, origin + 6)
                )
            ]
        ]
    )
    assert forecaster.errors is not None
    np.testing.assert_allclose(forecaster.errors, np.sort(errors, axis=0), rtol=1e-6)
    coming = None if exog is None else 1.1 ** np.arange(120.0, 124.0)
    forecast, scale = forecaster.predict(y, 4, exog=exog, future_exog=coming)
    count = len(errors)
    for coverage in (0.5, 0.8, 0.999):
        rank = min(int(np.ceil((count + 1) * coverage)), count)
        low, high = forecaster.interval(forecast, scale, coverage)
        np.testing.assert_allclose(high - forecast, forecaster.errors[rank - 1, :4] * scale)
        np.testing.assert_allclose(forecast - low, high - forecast)


def test_intervals_cover_what_they_say() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, 150))
    y = [np.convolve(row, 0.7 ** np.arange(10), "valid") for row in noise]
    settings = Settings(horizon=4, hidden_size=8, epochs=5, max_frames=1000)
    forecaster = fit_forecaster([item[:-4] for item in y], settings=settings)
    for coverage in (0.5, 0.9):
        pair = forecaster.predict([item[:-4] for item in y], 4)
        low, high = forecaster.interval(*pair, coverage)
        truth = np.stack([item[-4:] for item in y])
        inside = ((np.stack(low) <= truth) & (truth <= np.stack(high))).mean()
        assert abs(inside - coverage) < 0.12  # 160 truths: a deviation of 0.04


def test_frames_are_thinned_evenly_and_the_latest_stays() -> None:
    framing = Framing(window=8, horizon=4, lags=())
    y = np.arange(50.0)
    _, truth = _frames([(y, NOTHING)], [range(8, 47)], framing, 10)
    assert truth[:, 0].tolist() == [10, 14, 18, 22, 26, 30, 34, 38, 42, 46]
    _, everything = _frames([(y, NOTHING)] * 2, [range(8, 47)] * 2, framing, 78)
    assert len(everything) == 78


@pytest.mark.parametrize(
    ("y", "change", "message"),
    [
        (np.zeros(29), {}, r"y must have at least 30 steps, .* got 29"),
        (np.zeros((2, 3, 4)), {}, r"y must have shape \(T,\) or \(T, S\), or be a list .* \(2, 3"),
        (np.zeros(0), {}, r"y must have shape \(T,\) or \(T, S\)"),
        ([np.zeros(50), np.zeros((5, 5))], {}, r"y\[1\] must have shape \(T,\), got \(5, 5\)"),
        (np.full(50, np.nan), {}, r"y must be finite, got nan at y\[0\]"),
        ([np.zeros(50), np.full(50, np.inf)], {}, r"y must be finite, got inf at y\[1\]\[0\]"),
        (seasonal(), {"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        (seasonal(), {"lags": (12, 0)}, r"lags\[1\] must be an integer of at least 1, got 0"),
        (seasonal(), {"window": 0}, "window must be an integer of at least 1, got 0"),
        (seasonal(), {"calibration": 1.0}, r"calibration must be in \[0, 1\), got 1.0"),
        (seasonal(), {"max_frames": 0}, "max_frames must be an integer of at least 1, got 0"),
        (seasonal(), {"cell": "gruu"}, "cell must be one of 'gru', 'lstm', 'rnn', got 'gruu'"),
        (seasonal(), {"dropout": 2}, "dropout must be from 0 to 1, got 2"),
    ],
)
def test_what_cannot_be_fitted_is_refused(y: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_forecaster(y, settings=replace(SMALL, **change))


def test_words_are_no_series() -> None:
    with pytest.raises(TypeError, match="y must hold numbers, got <U1"):
        Series(["a", "b"])
    with pytest.raises(TypeError, match="lags must be an integer or a sequence of integers, got T"):
        fit_forecaster(seasonal(), settings=replace(SMALL, lags=True))


@pytest.mark.parametrize(
    ("exog", "message"),
    [
        (np.zeros(119), r"exog must have one row \(E,\) a step, 120, got shape \(119, 1\)"),
        (np.zeros((120, 2, 2)), r"exog must have one row \(E,\) a step, 120, got shape \(120, 2"),
        (np.full(120, np.nan), r"exog must be finite, got nan at exog\[0, 0\]"),
    ],
)
def test_exogenous_inputs_that_do_not_fit_are_refused(exog: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_forecaster(seasonal(), exog, settings=SMALL)
    with pytest.raises(ValueError, match="exog must be a list of 1 arrays, one a series"):
        fit_forecaster([seasonal()], np.zeros(120), settings=SMALL)


def test_what_cannot_be_forecast_is_refused() -> None:
    y = seasonal()
    forecaster = fit_forecaster(y, np.arange(120.0), settings=SMALL)
    given: dict[str, Any] = {"exog": np.arange(120.0), "future_exog": np.arange(6.0)}
    with pytest.raises(ValueError, match="exog must have 1 columns as in fit, got 0"):
        forecaster.predict(y, 6)
    with pytest.raises(ValueError, match="exog for the steps to come must have 1 columns as in"):
        forecaster.predict(y, 6, exog=given["exog"])
    with pytest.raises(ValueError, match=r"for the steps to come must have one row .* step, 7"):
        forecaster.predict(y, 7, **given)
    with pytest.raises(ValueError, match="at least 24 steps to forecast from, got 23 in series 0"):
        forecaster.predict(y[:23], 6, exog=np.zeros(23), future_exog=np.zeros(6))
    far = forecaster.predict(y, 7, exog=given["exog"], future_exog=np.zeros(7))
    with pytest.raises(ValueError, match="as far as the fitted horizon, 6 steps, got 7"):
        forecaster.interval(*far, 0.8)
    with pytest.raises(ValueError, match=r"coverage must be in \(0, 1\), got 1"):
        forecaster.interval(*forecaster.predict(y, 6, **given), 1)
    plain = fit_forecaster(y, settings=replace(SMALL, calibration=0.0))
    with pytest.raises(ValueError, match="no errors were measured for intervals: calibration is 0"):
        plain.interval(*plain.predict(y, 6), 0.8)
