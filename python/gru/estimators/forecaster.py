"""A forecaster of series in the manner of scikit-learn; the work is in gru.forecasting."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gru import check
from gru._types import Array
from gru.estimators.base import loud, seed_of
from gru.estimators.bases import BaseEstimator
from gru.estimators.inputs import read_series
from gru.forecasting import Forecaster, Settings, fit_forecaster
from gru.frames import Series
from gru.history import History
from gru.model import Sequential
from gru.runtime import num_threads
from gru.scaling import Scaler

__all__ = ["GRUForecaster"]


class GRUForecaster(BaseEstimator):
    """One model that forecasts one or many series, with prediction intervals.

    It scales each window of known steps by itself, and learns how far the truth lies from a simple
    forecast: the last season, or without ``lags`` the last value. See :mod:`gru.forecasting`.

    Parameters
    ----------
    hidden_size, num_layers, cell, bidirectional, dtype
        As in :class:`gru.GRUClassifier`. Series are short, so the layer is smaller here.
    input_dropout, recurrent_dropout, zoneout, layer_norm, reset_after, update_gate
        As in :class:`gru.GRUClassifier`.
    epochs, batch_size, learning_rate, clip_norm, threads, random_state, verbose, dropout
        As in :class:`gru.GRUClassifier`.
    horizon : int
        Steps that the model learns to forecast at once.
    lags : int or sequence of int
        Seasonal lags, how many steps before each step the series is also shown, the season first:
        ``12`` for months, ``(24, 168)`` for hours. The last repetition of the first one is what
        the model corrects; without lags that is the last value.
    window : int or None
        Known steps that a forecast sees; ``None``: twice the longest lag or, without lags, twice
        the horizon, but at least 16.
    calibration : float
        Share of each series, its end, on which the errors for the intervals are measured, before
        the model is fitted once more on everything. 0 spares the first fit and the intervals.
    max_frames : int
        Windows to train on at most, and to measure errors on, evenly spread over the series.

    Notes
    -----
    In cross validation the steps of a series, or of columns, are the samples, in order: give
    ``cv=TimeSeriesSplit(...)``; the default ``KFold`` would cut pieces out of the middle. Of a list
    the series are the samples: those held out are series that the model has not seen. See
    :meth:`score`. ``GridSearchCV`` is faster with ``calibration=0``; candidates should have one
    horizon. Exogenous inputs stand where scikit-learn has the targets, and are split with the
    series: ``cross_val_score(forecaster, y, exog, cv=TimeSeriesSplit(...))`` and
    ``search.fit(y, exog)``.

    Attributes
    ----------
    forecaster_ : gru.forecasting.Forecaster
        What was fitted.
    model_ : Sequential
        Its model.
    history_ : History
        Of the last fit.
    scaler_ : Scaler or None
        Of the exogenous inputs.
    n_features_in_ : int
        Number of exogenous inputs.

    Examples
    --------
    >>> import numpy as np, gru
    >>> months = np.arange(120)
    >>> y = 10 + months / 12 + np.sin(2 * np.pi * months / 12)
    >>> forecaster = gru.GRUForecaster(8, horizon=12, lags=12, random_state=0).fit(y)
    >>> low, high = forecaster.predict_interval(12, coverage=0.8)
    >>> forecaster.predict(12).shape, low.shape, forecaster.predict(30).shape
    ((12,), (12,), (30,))
    >>> from sklearn.model_selection import TimeSeriesSplit, cross_val_score
    >>> quick = gru.GRUForecaster(8, horizon=6, lags=12, calibration=0, random_state=0)
    >>> bool(cross_val_score(quick, y, cv=TimeSeriesSplit(2, test_size=12)).min() > -1)
    True
    >>> exog = np.cos(months)[:, None]
    >>> cross_val_score(quick, y, exog, cv=TimeSeriesSplit(2, test_size=12)).shape
    (2,)
    """

    forecaster_: Forecaster
    model_: Sequential
    history_: History
    scaler_: Scaler | None
    n_features_in_: int

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        num_layers: int = 1,
        cell: str = "gru",
        bidirectional: bool = False,
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        clip_norm: float | None = 1.0,
        dtype: DTypeLike = "float32",
        threads: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
        horizon: int = 12,
        lags: Sequence[int] | int = (),
        window: int | None = None,
        calibration: float = 0.2,
        max_frames: int = 4096,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        reset_after: bool = True,
        update_gate: str = "keep",
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.dtype = dtype
        self.threads = threads
        self.random_state = random_state
        self.verbose = verbose
        self.horizon = horizon
        self.lags = lags
        self.window = window
        self.calibration = calibration
        self.max_frames = max_frames
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout
        self.layer_norm = layer_norm
        self.reset_after = reset_after
        self.update_gate = update_gate

    def fit(self, y: Any, exog: Any = None) -> GRUForecaster:
        """Train a fresh model on one or many series.

        Parameters
        ----------
        y : array_like or sequence of array_like
            (T,): one series; (T, S): a series a column; a list of arrays (T_i,): many series.
        exog : array_like or sequence of array_like, optional
            What is known beforehand at every step, such as holidays. For one series (T,) or
            (T, E); for columns the same, or (T, S, E); for a list one array (T_i, E) a series.

        Returns
        -------
        GRUForecaster
            Itself.

        Raises
        ------
        TypeError, ValueError
            If a setting is out of range, or y or exog is not finite, does not fit or is too short.
        """
        y, exog = read_series(self, y, "y"), read_series(self, exog, "exog")
        names = {field.name for field in fields(Settings)} - {"seed", "verbose"}
        own = {name: getattr(self, name) for name in names}
        seed, verbose = seed_of(self.random_state), loud(self.verbose)
        settings = Settings(**own, seed=seed, verbose=verbose)
        with num_threads(self.threads):
            self.forecaster_ = fit_forecaster(y, exog, settings)
        self.model_, self.history_ = self.forecaster_.model, self.forecaster_.history
        self.scaler_ = self.forecaster_.exog_scaler
        self.n_features_in_ = 0 if self.scaler_ is None else len(self.scaler_.mean)
        self._y, self._exog = deepcopy(y), deepcopy(exog)  # the caller may change theirs
        return self

    def predict(
        self, horizon: int | None = None, exog: Any = None, *, y: Any = None, y_exog: Any = None
    ) -> Any:
        """Forecast the steps that follow.

        Parameters
        ----------
        horizon : int, optional
            Steps; the fitted horizon if not given. Beyond it forecasts are built on forecasts.
        exog : array_like or sequence of array_like, optional
            The exogenous inputs of these steps, in the form of fit.
        y, y_exog : array_like or sequence of array_like, optional
            What is known, where it is not what fit was given: newer or other series, in any form
            that fit takes. The model stays as it is.

        Returns
        -------
        ndarray or list of ndarray
            (horizon,), (horizon, S) or a list of (horizon,), as y came.

        Raises
        ------
        TypeError, ValueError
            If anything does not fit.
        """
        return self._forecast(horizon, exog, y, y_exog)[0]

    def predict_interval(
        self,
        horizon: int | None = None,
        exog: Any = None,
        *,
        coverage: float = 0.9,
        y: Any = None,
        y_exog: Any = None,
    ) -> tuple[Any, Any]:
        """Return the lower and upper ends of prediction intervals.

        Parameters
        ----------
        horizon, exog, y, y_exog
            As in :meth:`predict`; at most the fitted horizon.
        coverage : float
            The share of the truth that should lie within, in (0, 1); see
            :meth:`gru.forecasting.Forecaster.interval`.

        Returns
        -------
        low, high : ndarray or list of ndarray
            As in :meth:`predict`.

        Raises
        ------
        TypeError, ValueError
            If anything does not fit, or the series were too short to measure errors.

        Warns
        -----
        UserWarning
            If fewer errors were measured than ``2 / (1 - coverage)``: the intervals may cover less.
        """
        forecast, scale = self._forecast(horizon, exog, y, y_exog)
        errors = self.forecaster_.errors
        if (
            errors is not None
            and 0 < check.number("coverage", coverage) < 1
            and not self.forecaster_.enough(coverage)
        ):
            warnings.warn(
                f"intervals come from {len(errors)} errors and coverage={coverage} needs "
                f"{self.forecaster_.needed(coverage)}: they may cover less",
                UserWarning,
                stacklevel=2,
            )
        return self.forecaster_.interval(forecast, scale, coverage)

    def _forecast(self, horizon: int | None, exog: Any, y: Any, y_exog: Any) -> tuple[Any, Any]:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        if y is None and y_exog is not None:
            raise ValueError("y_exog goes with y: give both or neither")
        steps = self.forecaster_.framing.horizon if horizon is None else horizon
        known, inputs = self._y, self._exog
        if y is not None:
            known, inputs = read_series(self, y, "y"), read_series(self, y_exog, "y_exog")
        with num_threads(self.threads):
            return self.forecaster_.predict(
                known,
                check.integer("horizon", steps, 1),
                exog=inputs,
                future_exog=read_series(self, exog, "exog"),
            )

    def score(self, y: Any, exog: Any = None) -> float:
        """Return minus the mean absolute scaled error (MASE) of forecasts from a rolling origin.

        The steps of y are forecast one fitted horizon after another, each from all that came
        before; every error is divided by the mean absolute change from step to step of what came
        before y (Hyndman and Koehler 2006), 1 where that never changed. 0 is perfect, and -1 as far
        off as repeating the last value is for one step. The model stays as it is.

        Parameters
        ----------
        y : array_like or sequence of array_like
            One series or columns: what followed those of fit. A list: whole series, whether those
            of fit or others, of which the last horizon is forecast from the steps before.
        exog : array_like or sequence of array_like, optional
            The exogenous inputs of the steps of y.

        Raises
        ------
        TypeError, ValueError
            If anything does not fit.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        new = Series(read_series(self, y, "y"))
        inputs = new.exogenous(read_series(self, exog, "exog"), [len(part) for part in new.values])
        if new.kind == "list":
            values, starts = new.values, self._last_horizons(new)
        else:
            values, inputs, starts = self._going_on(new, inputs)
        with num_threads(self.threads):
            found = self.forecaster_.follow(values, starts, exog=inputs)
        errors = []
        for part, forecast, start in zip(values, found, starts, strict=True):
            change = np.abs(np.diff(part[:start])).sum() / max(start - 1, 1)
            errors.append(np.abs(part[start:] - forecast) / (change or 1.0))
        return -float(np.concatenate(errors).mean())

    def _last_horizons(self, series: Series) -> list[int]:
        """Return where the last horizon of each series starts."""
        framing = self.forecaster_.framing
        least = framing.first + framing.horizon
        for i, part in enumerate(series.values):
            if len(part) < least:
                raise ValueError(f"y[{i}] must have at least {least} steps, got {len(part)}")
        return [len(part) - framing.horizon for part in series.values]

    def _going_on(
        self, new: Series, inputs: list[Array]
    ) -> tuple[list[Array], list[Array], list[int]]:
        """Put what followed to what fit was given; say where it starts."""
        known = Series(self._y)
        if (known.kind, len(known.values)) != (new.kind, len(new.values)):
            raise ValueError(
                f"y must go on where that of fit ended, {len(known.values)} series "
                f"({known.kind}), got {len(new.values)} ({new.kind})"
            )
        starts = [len(part) for part in known.values]
        before = known.exogenous(self._exog, starts)
        if before[0].shape[1] != inputs[0].shape[1]:
            raise ValueError(
                f"exog must have {before[0].shape[1]} columns as in fit, got {inputs[0].shape[1]}"
            )
        values, exog = (
            [np.concatenate(pair) for pair in zip(*pairs, strict=True)]
            for pairs in ((known.values, new.values), (before, inputs))
        )
        return values, exog, starts

    def __sklearn_tags__(self) -> Any:
        """Say that a table is taken; one series too, but scikit-learn means by it nothing else."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags
