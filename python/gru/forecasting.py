"""Forecasts of series with a recurrent model, and how far off they may be; knows no scikit-learn.

One model learns from all series. It reads a frame of known steps, then the steps to come, for
which it is shown what is known of them: the seasonal lags and the exogenous inputs. So it answers
for all steps of the horizon in one call, and no forecast is fed back within the horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gru import check, losses
from gru._types import Array
from gru.forecaster import Forecaster
from gru.frames import Frames, Framing, Series, joined
from gru.recipe import SETTINGS, adam, recipe
from gru.scaling import Scaler
from gru.seeds import Seeds
from gru.train import fit

__all__ = ["Forecaster", "Settings", "fit_forecaster"]

Data = list[tuple[Array, Array]]  # of each series: its values, what is known besides

SHORTEST = 16  # steps of a window, unless told otherwise


@dataclass(frozen=True)
class Settings:
    """What :func:`fit_forecaster` builds and how it trains.

    Attributes
    ----------
    horizon, lags, window, calibration, max_frames
        As in :class:`gru.GRUForecaster`.
    hidden_size, num_layers, cell, bidirectional, dropout, dtype
        As in :func:`gru.recipe.recipe`.
    input_dropout, recurrent_dropout, zoneout, layer_norm, reset_after, update_gate
        As in :func:`gru.recipe.recipe`.
    epochs, batch_size, learning_rate, clip_norm, verbose
        As in :func:`gru.fit`, with Adam and Huber's loss.
    seed : int
        Of the first parameters, the batches and dropout: equal seeds give equal bits.
    """

    horizon: int = 12
    lags: Sequence[int] | int = ()
    window: int | None = None
    calibration: float = 0.2
    max_frames: int = 4096
    hidden_size: int = 32
    num_layers: int = 1
    cell: str = "gru"
    bidirectional: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    layer_norm: bool = False
    reset_after: bool = True
    update_gate: str = "keep"
    dtype: DTypeLike = "float32"
    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 3e-3
    clip_norm: float | None = 1.0
    verbose: bool = False
    seed: int = 0

    def framing(self) -> Framing:
        """Return how frames are cut, checked.

        Raises
        ------
        TypeError, ValueError
            If a setting is out of range.
        """
        horizon = check.integer("horizon", self.horizon, 1)
        single = isinstance(self.lags, (int, np.integer)) and not isinstance(self.lags, bool)
        wanted = "an integer or a sequence of integers"
        given = [self.lags] if single else check.several("lags", self.lags, wanted)
        names = ["lags"] if single else [f"lags[{i}]" for i in range(len(given))]
        lags = tuple(check.integer(*pair, 1) for pair in zip(names, given, strict=True))
        usual = max(SHORTEST, 2 * max(lags or (horizon,)))
        window = usual if self.window is None else check.integer("window", self.window, 1)
        return Framing(window, horizon, lags)

    def calibrated(self) -> float:
        """Return the share for the intervals, checked.

        Raises
        ------
        TypeError, ValueError
            If it is no number in [0, 1).
        """
        if not 0 <= check.number("calibration", self.calibration) < 1:
            raise ValueError(f"calibration must be in [0, 1), got {self.calibration}")
        return self.calibration


def fit_forecaster(y: Any, exog: Any = None, settings: Settings | None = None) -> Forecaster:
    """Fit a model to one or many series.

    Parameters
    ----------
    y : array_like or sequence of array_like
        (T,): one series; (T, S): a series a column; a list of arrays (T_i,): many. One model
        learns from all of them.
    exog : array_like or sequence of array_like, optional
        What is known beforehand, such as holidays, for every step of y: see
        :meth:`gru.frames.Series.exogenous`.
    settings : Settings, optional
        What is built and how it trains.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of range, or y or exog is not finite, does not fit, or too short.

    Examples
    --------
    >>> import numpy as np
    >>> from gru.forecasting import Settings, fit_forecaster
    >>> steps = np.arange(120)
    >>> y = np.sin(2 * np.pi * steps / 12) * (1 + steps / 100)
    >>> forecaster = fit_forecaster(y, settings=Settings(horizon=12, lags=(12,), epochs=5))
    >>> forecast, scale = forecaster.predict(y, 12)
    >>> low, high = forecaster.interval(forecast, scale, 0.8)
    >>> forecast.shape, bool((low <= high).all())
    ((12,), True)
    """
    chosen = Settings() if settings is None else settings
    framing, share = chosen.framing(), chosen.calibrated()
    series = Series(y)
    lengths = [len(values) for values in series.values]
    data = list(zip(series.values, series.exogenous(exog, lengths), strict=True))
    if not any(_origins(framing, length) for length in lengths):
        needed = framing.first + framing.horizon
        raise ValueError(
            f"y must have at least {needed} steps, window or longest lag plus horizon, "
            f"got {max(lengths)}"
        )
    errors = None
    cuts = [length - int(share * length) for length in lengths]
    known, held = _origin_lists(framing, cuts), _held_origins(framing, lengths, cuts)
    if share and sum(map(len, known)) and sum(map(len, held)):
        trained, scaled = _train(data, cuts, framing, chosen)
        errors = _errors(trained, scaled, held, chosen.max_frames)
    forecaster, _ = _train(data, lengths, framing, chosen)
    forecaster.errors = errors
    return forecaster


def _origins(framing: Framing, length: int) -> range:
    """Return the origins whose whole horizon lies before ``length``."""
    return range(framing.first, length - framing.horizon + 1)


def _origin_lists(framing: Framing, lengths: list[int]) -> list[range]:
    return [_origins(framing, length) for length in lengths]


def _held_origins(framing: Framing, lengths: list[int], cuts: list[int]) -> list[range]:
    """Return the origins at or after the cuts, of which the model has seen no target."""
    return [
        range(max(cut, framing.first), length - framing.horizon + 1)
        for length, cut in zip(lengths, cuts, strict=True)
    ]


def _frames(
    data: Data, origins: Sequence[range], framing: Framing, most: int
) -> tuple[Frames, Array]:
    """Cut frames at the origins, evenly thinned to at most ``most``, with their truth (n, H)."""
    stride = -(-sum(map(len, origins)) // most)
    steps = np.arange(framing.horizon)
    frames, truth = [], []
    for (values, exog), starts in zip(data, origins, strict=True):
        chosen = np.array(starts[::-1][::stride][::-1], int)  # the latest one is always kept
        if len(chosen):
            frames.append(framing.cut(values, exog, chosen))
            truth.append(values[chosen[:, None] + steps])
    return joined(frames), np.concatenate(truth)


def _scaled(data: Data, ends: list[int]) -> tuple[Data, Scaler | None]:
    """Scale the exogenous inputs as they are before the ends: what comes after must not show."""
    exog = [part for _, part in data]
    if not exog[0].shape[1]:
        return data, None
    scaler = Scaler.of([part[:end] for part, end in zip(exog, ends, strict=True)], name="exog")
    values = [part for part, _ in data]
    return list(zip(values, scaler.scale(exog), strict=True)), scaler


def _train(
    data: Data, ends: list[int], framing: Framing, settings: Settings
) -> tuple[Forecaster, Data]:
    """Build a model that starts as the simple forecast, and train it on all before the ends.

    Returns it, and the data in its scale.
    """
    data, scaler = _scaled(data, ends)
    origins = _origin_lists(framing, ends)
    most = check.integer("max_frames", settings.max_frames, 1)
    frames, truth = _frames(data, origins, framing, most)
    target = (truth - frames.base) / frames.scale
    unit = float(np.sqrt(np.mean(target**2))) or 1.0
    seeds = Seeds(settings.seed)
    model = recipe(
        frames.x.shape[2],
        1,
        pooling=None,
        seed=next(seeds),
        **{name: getattr(settings, name) for name in SETTINGS},
    )
    for value in model.layers[-1].parameters.values():
        value[...] = 0.0
    history = fit(
        model,
        frames.x,
        target / unit,
        loss=_at_the_end(framing.horizon),
        optimizer=adam(settings.learning_rate),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        clip_norm=settings.clip_norm,
        seed=next(seeds),
        verbose=settings.verbose,
    )
    return Forecaster(model, history, framing, unit, scaler), data


def _at_the_end(horizon: int) -> Callable[..., tuple[float, Array]]:
    """Return Huber's loss of the last steps alone: those before are known."""

    def huber(prediction: Array, target: Array, **_: Any) -> tuple[float, Array]:
        value, slope = losses.huber(np.ascontiguousarray(prediction[:, -horizon:]), target)
        gradient = np.zeros_like(prediction)
        gradient[:, -horizon:] = slope
        return value, gradient

    return huber


def _errors(forecaster: Forecaster, data: Data, origins: Sequence[range], most: int) -> Array:
    """Return the scaled errors at each step of the horizon, sorted: (n, H)."""
    frames, truth = _frames(data, origins, forecaster.framing, most)
    forecast, scale = forecaster.correct(frames, forecaster.framing.horizon)
    return np.sort(np.abs(truth - forecast) / scale, axis=0)
