"""A forecast of a real series against two simple ones: CO2 on Mauna Loa, month by month.

Before each of twelve years it forecasts the year, with a model fitted on what was known by then
(a rolling origin). It is measured against the same month of the last year (seasonal naive) and
against that plus what the last year has gained (with drift), which on a growing series is much
harder to beat. ``python examples/forecast.py`` takes about 20 seconds and
writes ``forecast.png`` (needs scikit-learn and matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="forecast.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="two years, trained far too little")
options = parser.parse_args()

SEASON, COVERAGE = 12, 0.8
folds, epochs = (2, 1) if options.quick else (12, 40)
data = Path(__file__).parent / "data" / "co2.csv"  # January 1965 to December 2001, ppm
co2 = np.loadtxt(data, delimiter=",", skiprows=1, usecols=1)
years = np.arange(2002 - folds, 2002)
truth = co2[-folds * SEASON :].reshape(folds, SEASON)

forecasts: dict[str, list[np.ndarray]] = {"GRU": [], "with drift": [], "seasonal naive": []}
lows, highs = [], []
for year in years:
    known = co2[: (year - 1965) * SEASON]
    model = gru.GRUForecaster(horizon=SEASON, lags=(SEASON,), epochs=epochs, random_state=0)
    forecasts["GRU"].append(model.fit(known).predict())
    low, high = model.predict_interval(coverage=COVERAGE)
    lows.append(low)
    highs.append(high)
    last, before = known[-SEASON:], known[-2 * SEASON : -SEASON]
    forecasts["seasonal naive"].append(last)
    forecasts["with drift"].append(last + (last - before).mean())

errors = {name: np.abs(np.array(f) - truth).mean(axis=1) for name, f in forecasts.items()}
print("mean absolute error in ppm\nyear", *(f"{name:>15}" for name in errors))
for i, year in enumerate(years):
    print(year, *(f"{error[i]:15.2f}" for error in errors.values()))
print("mean", *(f"{error.mean():15.2f}" for error in errors.values()))
inside = np.mean((np.array(lows) <= truth) & (truth <= np.array(highs)))
print(f"{100 * inside:.0f} % of the months lie in their {100 * COVERAGE:.0f} % interval")

figure = gru.plot.figure(size=(9.0, 6.4))
upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
gru.plot.forecast(
    np.concatenate(forecasts["GRU"]),
    truth.ravel(),
    interval=(np.concatenate(lows), np.concatenate(highs)),
    level=COVERAGE,
    time=np.arange(f"{years[0]}-01", "2002-01", dtype="datetime64[M]"),
    label="CO2 on Mauna Loa (ppm)",
    ax=upper,
)
upper.set_xlabel("each year is forecast from what was known before it")
colours = {"GRU": "#D55E00", "with drift": "#999999", "seasonal naive": "#CCCCCC"}
for i, (name, error) in enumerate(errors.items()):
    label = f"{name}: {error.mean():.2f} ppm over all"
    lower.bar(years + 0.27 * (i - 1), error, 0.25, color=colours[name], label=label)
lower.set(xticks=years, ylabel="mean absolute error\n(ppm)")
lower.margins(x=0.01)
lower.legend(frameon=False, fontsize=9)
figure.savefig(options.out)
print(f"wrote {options.out}")
