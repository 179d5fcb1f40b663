"""``gru forecast``: the next values of the series in a CSV file, with intervals, as CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gru._types import Array
from gru.cli import report
from gru.cli.model_options import add_model, add_training, model_settings
from gru.cli.output import as_csv, as_json, check_outputs, check_stdout, deliver, digits, say
from gru.cli.parser import CommandError, Parser, between, names, whole
from gru.cli.series import SeriesTable, gather
from gru.cli.train_options import character
from gru.forecasting import Forecaster, Settings, fit_forecaster
from gru.runtime import num_threads
from gru.table import Table, read
from gru.table.errors import Say, plural, shown
from gru.writing import Content

__all__ = ["options", "run"]

Ends = tuple[list[Array], list[Array]] | None  # lower and upper ends, shapes (H,)
RULES = """\
The file is a CSV with a header and one row per step: of one series, or with --id of many, from
which one model learns together. Steps are taken as evenly spaced, in the order of --time (numbers
or ISO dates), else of the file.

  gaps          A missing value takes the last one before. Rows at the end of a series without a
                value are steps to come: their times are used, and with --exog they must be there,
                as many as the horizon, for they hold what is known of the steps to come.
  lags          How many steps before each step the model is also shown the series. The first is
                the season (12 for months, 24 for hours, 7 for days): the model starts from the
                last season repeated and learns the corrections; without lags, from the last value.
  intervals     lower and upper hold the share --coverage of held-out errors; fewer than
                2 / (1 - coverage) of these errors cover less, which is said.
  backtest      A model without the last horizon of each series forecasts it; its error is said
                beside that of the plain repetition. --no-backtest saves the time.

The result is CSV: id, time, step (1 is the first to come), forecast, lower, upper. What is mended
is said on stderr. Every error is one line with code 2. Files appear when they are complete.
"""


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULES
    parser.set_defaults(run=run)
    parser.add_argument("data", metavar="DATA.csv", help="rows to learn from; - is stdin")
    add = parser.add_argument_group("columns").add_argument
    add("--target", type=str.strip, required=True, metavar="COLUMN", help="the numbers to forecast")
    add(
        "--time",
        type=str.strip,
        metavar="COLUMN",
        help="orders the rows; the file's order if not given",
    )
    add(
        "--id", type=str.strip, metavar="COLUMN", help="tells series apart; one series if not given"
    )
    add("--exog", type=names, default=[], metavar="A,B", help="what is known beforehand")
    add("--encoding", default="utf-8", help="of the file (utf-8)")
    add("--delimiter", type=character, help="between cells; found in the header if not given")
    add = parser.add_argument_group("forecast").add_argument
    add("--horizon", type=whole(1, 100_000), required=True, metavar="N", help="steps to come")
    add("--lags", type=_lags, default=(), metavar="N,M", help="season, then other lags")
    add("--window", type=whole(1, 1_000_000), metavar="N", help="steps that a forecast sees")
    add("--coverage", type=between(0, 1, above=True), default=0.9, metavar="SHARE",
        help="of the truth that intervals should hold (0.9)")  # fmt: skip
    add("--backtest", action=argparse.BooleanOptionalAction, default=True, help="on the last rows")
    add_model(parser, hidden=32)
    add_training(parser, epochs=20, seeds="weights, order and dropout")
    add = parser.add_argument_group("results").add_argument
    add("--out", metavar="FILE", help="the forecast; stdout if not given or -")
    add("--metrics", metavar="FILE", help="scores of the backtest as JSON")
    add("--report", metavar="FILE", help="a PNG: the series and their forecasts")
    add("--quiet", action="store_true", help="say nothing on stderr but errors")


def _lags(text: str) -> tuple[int, ...]:
    return tuple(whole(1, 1_000_000)(part.strip()) for part in text.split(","))


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        horizon=options.horizon,
        lags=options.lags,
        window=options.window,
        **model_settings(options),
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rate=options.lr,
        seed=options.seed,
        verbose=not options.quiet and sys.stderr.isatty(),
    )


def _check_lengths(table: Table, data: SeriesTable, settings: Settings, target: str) -> None:
    """Refuse series that are too short, in terms of the options."""
    framing = settings.framing()
    longest = max(map(len, data.y))
    short = [i for i, values in enumerate(data.y) if len(values) < framing.first]
    if short:
        least = min(short, key=lambda i: len(data.y[i]))
        count = plural(len(data.y[least]), "value")
        whose, more = f"there are {count}", ""
        if data.ids[least]:
            many = "1 id is" if len(short) == 1 else f"{len(short):,} ids are"
            whose = f"{many} too short, {shown(data.ids[least])} has {count}"
            more = ", or leave such ids out"
        raise table.error(
            f"{whose}, a forecast sees {framing.first:,}; give a smaller --window or smaller "
            f"--lags{more}",
            column=target,
        )
    if longest < framing.first + framing.horizon:
        raise table.error(
            f"the longest series has {plural(longest, 'value')}; to learn from it takes "
            f"{framing.first + framing.horizon:,}, which a forecast sees ({framing.first:,}) and "
            f"the horizon ({framing.horizon:,})",
            column=target,
        )


def _backtest(
    data: SeriesTable, settings: Settings, coverage: float, note: Say
) -> dict[str, Any] | None:
    """Forecast the last horizon of each series without it."""
    horizon, framing = settings.horizon, settings.framing()
    kept = [i for i, values in enumerate(data.y) if len(values) >= framing.first + 2 * horizon]
    if not kept:
        note("no backtest: the series are too short to learn without their last horizon")
        return None
    y = [data.y[i][:-horizon] for i in kept]
    truth = np.array([data.y[i][-horizon:] for i in kept])
    before = after = None
    if data.exog is not None:
        before = [data.exog[i][:-horizon] for i in kept]
        after = [data.exog[i][-horizon:] for i in kept]
    forecaster = fit_forecaster(y, before, settings)
    forecast, scale = forecaster.predict(y, horizon, exog=before, future_exog=after)
    naive = [
        framing.cut(values, np.zeros((len(values) + horizon, 0)), [len(values)]).base[0]
        for values in y
    ]
    found: dict[str, Any] = {"series": len(kept), "count": truth.size}
    for name, values in (("forecast", forecast), ("naive", naive)):
        error = np.array(values) - truth
        found[name] = {
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt((error**2).mean())),
        }
    found["coverage"] = None
    if forecaster.errors is not None:
        low, high = map(np.array, forecaster.interval(forecast, scale, coverage))
        found["coverage"] = float(((truth >= low) & (truth <= high)).mean())
    again = f"the last {framing.lags[0]} repeated" if framing.lags else "the last value"
    note(
        f"backtest on the last {plural(horizon, 'row')} of {plural(len(kept), 'series', 'series')}:"
        f" mean absolute error {found['forecast']['mae']:.4g}, {again}: {found['naive']['mae']:.4g}"
    )
    return found


def run(options: argparse.Namespace) -> None:
    """Read, test on the last rows, learn from all, forecast, write."""
    note = partial(say, "gru forecast", options.quiet)
    outputs = {"out": options.out, "metrics": options.metrics, "report": options.report}
    check_outputs([options.data], ("report",), **outputs)
    check_stdout(out=options.out, metrics=options.metrics or "file")
    if options.report is not None:
        report.check()
    if options.metrics is not None and not options.backtest:
        raise CommandError("--metrics: holds the backtest, which --no-backtest leaves out")
    table = read(options.data, encoding=options.encoding, delimiter=options.delimiter)
    data = _data(options, table, note)
    settings = _settings(options)
    _check_lengths(table, data, settings, options.target)
    try:
        with num_threads(options.threads):
            tested = _backtest(data, settings, options.coverage, note) if options.backtest else None
            forecaster = fit_forecaster(data.y, data.exog, settings)
            forecast, scale = forecaster.predict(
                data.y, options.horizon, exog=data.exog, future_exog=data.future
            )
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; a smaller --lr may help") from None
    level = _level(forecaster, options.coverage, note)
    ends = None
    if forecaster.errors is not None:
        ends = forecaster.interval(forecast, scale, options.coverage)
    _write(options, data, forecast, (ends, level), tested, note)


def _data(options: argparse.Namespace, table: Table, note: Say) -> SeriesTable:
    columns = [options.target, options.id, options.time, *options.exog]
    given = [name for name in columns if name is not None]
    for name in given:
        table.column(name)
        if given.count(name) > 1 and not (name == options.time and name in options.exog):
            raise CommandError(f"--target, --id, --time and --exog: {name!r} occurs twice")
    if options.time is None:
        note("no --time: the rows are taken in the order of the file")
    data = gather(
        table,
        note,
        id=options.id,
        time=options.time,
        target=options.target,
        exog=options.exog,
        horizon=options.horizon,
    )
    lengths = sorted(map(len, data.y))
    steps = f"{lengths[0]:,} to {lengths[-1]:,}" if lengths[0] < lengths[-1] else f"{lengths[0]:,}"
    note(f"{plural(len(data.y), 'series', 'series')} of {steps} values")
    if not options.lags:
        note("no --lags: if the series have a season, such as 12 for months, --lags 12 shows it")
    return data


def _level(forecaster: Forecaster, coverage: float, note: Say) -> float | None:
    """Return what intervals cover, or ``None`` where too few errors were measured to tell."""
    if forecaster.errors is None:
        note("no intervals: the series are too short to measure errors")
        return None
    if forecaster.enough(coverage):
        return coverage
    note(
        f"intervals come from {plural(len(forecaster.errors), 'error')}, "
        f"{forecaster.needed(coverage)} are needed: they cover less than {coverage:g}"
    )
    return None


def _write(
    options: argparse.Namespace,
    data: SeriesTable,
    forecast: list[Array],
    intervals: tuple[Ends, float | None],
    tested: dict[str, Any] | None,
    note: Say,
) -> None:
    ends, level = intervals
    header = [name for name in (options.id, options.time) if name is not None]
    if options.time is not None and not data.moments[0]:
        header.remove(options.time)
    columns = ["step", "forecast", *(["lower", "upper"] if ends else [])]
    text = as_csv([*header, *columns], _rows(options, data, forecast, ends))
    outputs: list[tuple[str | None, Content]] = []
    if options.report is not None:
        names = (options.target, options.time)
        picture = report.draw_series(names, data, forecast, ends, level)
        outputs.append((options.report, picture))
    if options.metrics is not None:
        settings = {
            name: getattr(options, name) for name in ("horizon", "lags", "coverage", "seed")
        }
        metrics = as_json({"target": options.target, **settings, "backtest": tested})
        outputs.append((options.metrics, metrics.encode()))
    deliver(*outputs, (options.out, text.encode()), note=note)


def _rows(
    options: argparse.Namespace,
    data: SeriesTable,
    forecast: list[Array],
    ends: Ends,
) -> Iterator[list[str]]:
    for i, name in enumerate(data.ids):
        for step, value in enumerate(forecast[i]):
            cells = [name] if options.id is not None else []
            cells += data.moments[i][step : step + 1]
            cells += [str(step + 1), digits(value)]
            yield cells + [digits(end[i][step]) for end in ends or ()]
