"""Forecasts from the command line: series, times to come, the backtest."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import Run, write
from gru.cli.forecast import _level
from gru.forecasting import Settings, fit_forecaster
from gru.plot import canvas
from gru.table import Table, continued
from gru.table.cells import times


def months(count: int = 72) -> list[list[object]]:
    rows: list[list[object]] = [["month", "y"]]
    for i in range(count):
        value = (10 + i / 10) * (1 + 0.3 * np.sin(2 * np.pi * i / 12))
        rows.append([f"{2015 + i // 12}-{1 + i % 12:02d}-01", round(float(value), 4)])
    return rows


MONTHS = ("--target", "y", "--time", "month", "--horizon", "6", "--lags", "12")


def test_a_forecast(command: Run) -> None:
    write("a.csv", months())
    done = command("forecast", "a.csv", *MONTHS, "--epochs", "8", "--metrics", "s.json")
    assert list(done.rows[0]) == ["month", "step", "forecast", "lower", "upper"]
    assert [row["month"] for row in done.rows] == [f"2021-{i:02d}-01" for i in range(1, 7)]
    wanted = np.array([row[1] for row in months(78)[-6:]], float)
    found = np.array([float(row["forecast"]) for row in done.rows])
    assert np.abs(found - wanted).mean() < 0.05 * wanted.mean()
    assert all(float(row["lower"]) <= float(row["upper"]) for row in done.rows)
    backtest = json.loads(Path("s.json").read_text())["backtest"]
    y = np.array([row[1] for row in months()[1:]], float)
    assert backtest["naive"]["mae"] == pytest.approx(np.abs(y[-6:] - y[-18:-12]).mean(), rel=1e-12)
    assert backtest["forecast"]["mae"] < backtest["naive"]["mae"]
    again = command("forecast", "a.csv", *MONTHS, "--epochs", "8", "--no-backtest", "--quiet")
    assert (again.rows, again.err) == (done.rows, "")


def test_many_series_with_what_is_known_beforehand(command: Run) -> None:
    rng = np.random.default_rng(0)
    rows: list[list[object]] = [["shop", "day", "promo", "sales"]]
    for day in range(60):
        for shop in ("b", "a"):
            promo = int(rng.random() < 0.3)
            sales = "" if day >= 56 or (day, shop) == (7, "a") else 10 + day % 7 + 20 * promo
            rows.append([shop, day, ["no", "yes"][promo], sales])
    write("a.csv", rows)
    options = ("--id", "shop", "--time", "day", "--target", "sales", "--exog", "promo")
    more = ("--lags", "7", "--epochs", "60", "--no-backtest", "--out", "f.csv", "--lr", "0.01")
    done = command("forecast", "a.csv", *options, "--horizon", "4", *more)
    assert done.out == ""
    assert "column 'sales': 1 missing cell took the last value before" in done.err
    with open("f.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["shop"], row["day"]) for row in found] == [
        (shop, str(day)) for shop in "ba" for day in range(56, 60)
    ]
    coming = {(str(r[0]), str(r[1])): r[2] for r in rows[1:]}
    for row in found:
        bare = 10 + int(row["day"]) % 7
        promo = coming[row["shop"], row["day"]] == "yes"
        assert abs(float(row["forecast"]) - bare - 20 * promo) < 8
    short = command("forecast", "a.csv", *options, "--horizon", "5", *more, code=2)
    assert short.err.splitlines()[-1] == (
        "gru forecast: error: a.csv, line 112, column 'sales': 4 rows of id 'b' after this one, "
        "the last with a value; with exogenous columns 5 are needed, which hold them for the "
        "steps to come and no 'sales'"
    )


def test_a_forecast_without_times(command: Run) -> None:
    write("a.csv", [["y"], *([value] for _, value in months()[1:])])
    done = command("forecast", "a.csv", "--target", "y", "--horizon", "3", "--epochs", "2")
    assert [row["step"] for row in done.rows] == ["1", "2", "3"]
    assert list(done.rows[0]) == ["step", "forecast", "lower", "upper"]
    assert "no --time: the rows are taken in the order of the file" in done.err
    rows = months()
    write("b.csv", rows[:20] + rows[22:])
    done = command("forecast", "b.csv", *MONTHS, "--epochs", "2", "--no-backtest")
    assert "column 'month' is not evenly spaced: the result has steps and no times" in done.err
    assert list(done.rows[0]) == ["step", "forecast", "lower", "upper"]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ("1 2 3", "4 5"),
        ("10 5 0", "-5 -10"),
        ("0.1 0.2 0.3", "0.4 0.5"),
        ("2024-02-28 2024-02-29", "2024-03-01 2024-03-02"),
        ("2024/02/28 2024/02/29", "2024/03/01 2024/03/02"),
        ("2023-01-01 2024-01-01", "2025-01-01 2026-01-01"),
        ("2023-10-31 2023-11-30 2023-12-31 2024-01-31", "2024-02-29 2024-03-31"),
        ("2023-09 2023-10 2023-11", "2023-12 2024-01"),
        ("2023/05 2023/08 2023/11", "2024/02 2024/05"),
        ("2023-12-15 2024-01-15 2024-02-15", "2024-03-15 2024-04-15"),
        ("2024-01-01T22:00 2024-01-01T23:00", "2024-01-02T00:00 2024-01-02T01:00"),
        ("2024-01-01T22:00:30Z 2024-01-01T22:01:00Z", "2024-01-01T22:01:30Z 2024-01-01T22:02:00Z"),
        ("2024-01-01T00:00+01:00 2024-01-01T06:00+01:00", "2024-01-01T12:00+01:00"),
        ("2024-01-01 2024-01-08", "2024-01-15 2024-01-22"),
        ("1 2 4", ""),
        ("2024-01-01 2024-01-02 2024-01-04", ""),
        ("7", ""),
        ("9999-12-30 9999-12-31", ""),
    ],
)
def test_times_go_on_as_they_did(cells: str, wanted: str) -> None:
    words = cells.split()
    moments = times(Table("a.csv", {"t": words}, range(len(words))), "t")
    found = continued(words, np.sort(moments) if words[0] < words[-1] else moments, 2)
    assert (found or [])[: len(wanted.split()) or 2] == wanted.split()


def test_a_picture_of_a_forecast(command: Run) -> None:
    pytest.importorskip("matplotlib")
    write("a.csv", months())
    command("forecast", "a.csv", *MONTHS, "--epochs", "1", "--no-backtest", "--report", "f.png")
    assert Path("f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures as they are drawn."""
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    make = canvas.figure

    def kept(*arguments: Any, **options: Any) -> Any:
        drawn.append(make(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(canvas, "figure", kept)
    return drawn


def test_a_picture_shows_the_times(command: Run, figures: list[Any]) -> None:
    write("a.csv", months())
    options = (*MONTHS, "--epochs", "1", "--no-backtest", "--report", "f.png", "--coverage", "0.5")
    command("forecast", "a.csv", *options)
    (axes,) = (axes for figure in figures for axes in figure.axes)
    assert axes.get_xlabel() == "month"
    shown = axes.xaxis.get_major_formatter()
    assert [shown(step) for step in (-1, 0, 1, 6, 7)] == [
        "2020-11-01", "2020-12-01", "2021-01-01", "2021-06-01", "",
    ]  # fmt: skip
    ticks = axes.get_xticks()
    assert (ticks == np.round(ticks)).all()
    assert "50 % interval" in axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.98, 0.99])
def test_as_many_errors_as_are_needed_are_enough(coverage: float) -> None:
    forecaster = fit_forecaster(np.arange(60) % 4, settings=Settings(horizon=4, epochs=0))
    need, said = round(2 / (1 - coverage)), list[str]()
    enough = replace(forecaster, errors=np.zeros((need, 4)))
    assert _level(enough, coverage, said.append) == coverage
    few = replace(forecaster, errors=np.zeros((need - 1, 4)))
    assert _level(few, coverage, said.append) is None
    assert [f", {need} are needed" in text for text in said] == [True]


def test_a_picture_promises_no_coverage_that_it_cannot_know(
    command: Run, figures: list[Any]
) -> None:
    write("a.csv", months())
    options = (*MONTHS, "--epochs", "1", "--no-backtest", "--report", "f.png", "--out", "f.csv")
    done = command("forecast", "a.csv", *options, "--coverage", "0.99")
    assert "errors, 200 are needed: they cover less than 0.99\n" in done.err
    (axes,) = (axes for figure in figures for axes in figure.axes)
    assert axes.get_legend_handles_labels()[1][-1] == "interval"
    assert done.err.endswith("gru forecast: wrote f.png, f.csv\n")
