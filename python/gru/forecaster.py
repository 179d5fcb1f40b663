"""A fitted forecaster: what follows series, and how far off that may be; knows no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.frames import Frames, Framing, Series, joined
from gru.history import History
from gru.model import Sequential
from gru.scaling import Scaler

__all__ = ["Forecaster"]


@dataclass
class Forecaster:
    """A fitted model with what it needs to forecast.

    :func:`gru.forecasting.fit_forecaster` makes it.

    Attributes
    ----------
    model : Sequential
        Gives the scaled corrections of the simple forecast.
    history : History
        Of its training.
    framing : Framing
        How frames are cut.
    unit : float
        What the model's outputs are multiples of.
    exog_scaler : Scaler or None
        Of the exogenous inputs.
    errors : ndarray or None
        Shape (n, H): distance of truth and forecast over the frame's scale, on data that the model
        had not seen, each step of the horizon sorted. ``None`` if none were measured.

    Examples
    --------
    >>> import numpy as np
    >>> from gru.forecasting import Settings, fit_forecaster
    >>> y = np.arange(60) % 4
    >>> forecaster = fit_forecaster(y, settings=Settings(horizon=4, lags=(4,), epochs=0))
    >>> forecast, scale = forecaster.predict(y, 6)  # of an untrained model: the last season again
    >>> forecast.tolist()
    [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]
    """

    model: Sequential
    history: History
    framing: Framing
    unit: float
    exog_scaler: Scaler | None
    errors: Array | None = field(default=None)

    def predict(
        self, y: Any, horizon: int, *, exog: Any = None, future_exog: Any = None
    ) -> tuple[Any, Any]:
        """Forecast what follows series.

        Parameters
        ----------
        y : array_like or sequence of array_like
            What is known, in any form that :class:`gru.frames.Series` takes; it need not be what
            the model was fitted on.
        horizon : int
            Steps to forecast; beyond the fitted horizon forecasts are built on forecasts.
        exog, future_exog : array_like or sequence of array_like, optional
            As in the fit: for the steps of y, and for the steps to come.

        Returns
        -------
        forecast, scale : array_like
            In the container of y, with ``horizon`` steps; the scale is what the errors are
            multiples of.

        Raises
        ------
        TypeError, ValueError
            If anything does not fit.
        """
        series = Series(y)
        horizon = check.integer("horizon", horizon, 1)
        inputs = self._inputs(series, horizon, exog, future_exog)
        self._check_known([len(values) for values in series.values])
        known, scales = list(series.values), []
        for start in range(0, horizon, self.framing.horizon):
            steps = min(self.framing.horizon, horizon - start)
            forecasts, scale = self._ahead(known, inputs, steps)
            scales.append(np.repeat(scale, steps, axis=1))
            known = [np.concatenate(pair) for pair in zip(known, forecasts, strict=True)]
        forecast = [values[-horizon:] for values in known]
        return series.like(forecast), series.like(list(np.concatenate(scales, axis=1)))

    def follow(self, y: Any, starts: Sequence[int], *, exog: Any = None) -> list[Array]:
        """Forecast what is known already: one horizon after another, each from all before it.

        Parameters
        ----------
        y : array_like or sequence of array_like
            Series, in any form that :class:`gru.frames.Series` takes.
        starts : sequence of int
            The first step to forecast, one a series; the last horizon is cut at its end.
        exog : array_like or sequence of array_like, optional
            As in the fit, for the steps of y.

        Returns
        -------
        list of ndarray
            Shapes (T_i - start_i,).

        Raises
        ------
        TypeError, ValueError
            If anything does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from gru.forecasting import Settings, fit_forecaster
        >>> y = np.arange(60) % 4
        >>> forecaster = fit_forecaster(y, settings=Settings(horizon=4, lags=(4,), epochs=0))
        >>> forecaster.follow(y, [54])[0].tolist()
        [2.0, 3.0, 0.0, 1.0, 2.0, 3.0]
        """
        series = Series(y)
        inputs = self._scaled(self._exogenous(series, exog, [len(part) for part in series.values]))
        self._check_known(starts)
        found = []
        for values, known, start in zip(series.values, inputs, starts, strict=True):
            whole, rest = divmod(len(values) - start, self.framing.horizon)
            origins = start + self.framing.horizon * np.arange(whole + 1)
            parts = [(origins[:-1], self.framing.horizon), (origins[-1:], rest)]
            blocks = [
                self.correct(self.framing.cut(values, known, at, steps), steps)[0].ravel()
                for at, steps in parts
                if len(at) and steps
            ]
            found.append(np.concatenate(blocks) if blocks else np.zeros(0))
        return found

    def _check_known(self, lengths: Sequence[int]) -> None:
        """Refuse series of which too little is known."""
        for i, length in enumerate(lengths):
            if length < self.framing.first:
                raise ValueError(
                    f"y must have at least {self.framing.first} steps to forecast from, "
                    f"got {length} in series {i}"
                )

    def _ahead(self, known: list[Array], exog: list[Array], steps: int) -> tuple[Array, Array]:
        """Forecast up to one fitted horizon: arrays (S, steps) and (S, 1)."""
        pairs = zip(known, exog, strict=True)
        frames = [self.framing.cut(y, x, [len(y)], steps) for y, x in pairs]
        return self.correct(joined(frames), steps)

    def correct(self, frames: Frames, steps: int) -> tuple[Array, Array]:
        """Return the forecasts of frames (n, steps) and their scale (n, 1)."""
        answer = self.model.predict(frames.x)[:, -steps:, 0].astype(np.float64)
        return frames.base + answer * (self.unit * frames.scale), frames.scale

    def interval(self, forecast: Any, scale: Any, coverage: float) -> tuple[Any, Any]:
        """Return the lower and upper ends of prediction intervals.

        Each step's interval reaches as far to both sides as a quantile of the errors at that step,
        times the scale of the frame: the ceil((n + 1) coverage)-th of n errors (split conformal
        prediction, Lei et al. 2018). Errors of neighbouring origins are alike and series change,
        so the coverage is a good guess and not a guarantee. With fewer errors than
        coverage / (1 - coverage) it is the largest one, which covers less.

        Parameters
        ----------
        forecast, scale : array_like or list of array_like
            From :meth:`predict`, for at most the fitted horizon.
        coverage : float
            The share of the truth that should lie within, in (0, 1).

        Raises
        ------
        ValueError
            If no errors were measured, or for fewer steps, or the coverage is out of range.
        """
        if not 0 < check.number("coverage", coverage) < 1:
            raise ValueError(f"coverage must be in (0, 1), got {coverage}")
        if self.errors is None:
            raise ValueError(
                "no errors were measured for intervals: calibration is 0 or its share of the "
                "series is too short"
            )
        if isinstance(forecast, list):
            ends = [self.interval(*pair, coverage) for pair in zip(forecast, scale, strict=True)]
            return [low for low, _ in ends], [high for _, high in ends]
        if len(forecast) > self.framing.horizon:
            raise ValueError(
                f"intervals reach as far as the fitted horizon, {self.framing.horizon} steps, "
                f"got {len(forecast)}"
            )
        count = len(self.errors)
        rank = min(int(np.ceil((count + 1) * coverage - 1e-9)), count)
        shape = (-1,) + (1,) * (np.ndim(forecast) - 1)
        reach = self.errors[rank - 1, : len(forecast)].reshape(shape) * scale
        return forecast - reach, forecast + reach

    def needed(self, coverage: float) -> int:
        """Return how many errors intervals of a coverage should come from: 2 / (1 - coverage)."""
        return int(np.ceil(2 / (1 - coverage) - 1e-9))

    def enough(self, coverage: float) -> bool:
        """Whether so many errors were measured as intervals of a coverage need."""
        return self.errors is not None and len(self.errors) >= self.needed(coverage)

    def _inputs(self, series: Series, horizon: int, exog: Any, future: Any) -> list[Array]:
        """Return what is known besides, for the steps so far and those to come, scaled."""
        lengths = [len(values) for values in series.values]
        before = self._exogenous(series, exog, lengths)
        after = self._exogenous(series, future, [horizon] * len(lengths), " for the steps to come")
        return self._scaled([np.concatenate(pair) for pair in zip(before, after, strict=True)])

    def _exogenous(
        self, series: Series, exog: Any, steps: list[int], which: str = ""
    ) -> list[Array]:
        """Return what is known besides, checked."""
        parts = series.exogenous(exog, steps, f"exog{which}")
        wanted = 0 if self.exog_scaler is None else len(self.exog_scaler.mean)
        if parts[0].shape[1] != wanted:
            raise ValueError(
                f"exog{which} must have {wanted} columns as in fit, got {parts[0].shape[1]}"
            )
        return parts

    def _scaled(self, exog: list[Array]) -> list[Array]:
        return exog if self.exog_scaler is None else list(self.exog_scaler.scale(exog))
