"""Pictures of trainings show the right numbers; the manners of all pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

import gru
from gru import History, plot
from pictures import RUN, drawn, flow_of, lines, sequence

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

# --- training ----------------------------------------------------------------------------------


def test_history_draws_loss_and_metric() -> None:
    figure = plot.history(RUN)
    loss, metric = figure.axes
    epochs = [1, 2, 3]
    assert lines(loss) == {
        "training": (epochs, RUN.loss),
        "validation": (epochs, RUN.val_loss),
        "best epoch, 2": ([2], [0.6]),
    }
    assert loss.get_xlim() == (0.5, 3.5)  # there is no epoch 0
    assert lines(metric) == {
        "training": (epochs, RUN.metric),
        "validation": (epochs, RUN.val_metric),
    }
    assert (loss.get_xlabel(), loss.get_ylabel(), loss.get_yscale()) == ("epoch", "loss", "log")
    assert (metric.get_ylabel(), metric.get_yscale()) == ("accuracy", "linear")
    assert drawn(figure)


def test_history_of_several_runs_without_validation() -> None:
    runs = {name: History(None, [3.0, k]) for k, name in enumerate(("GRU", "RNN"))}
    figure = plot.history(runs, label="squared error")
    (ax,) = figure.axes
    assert lines(ax) == {"GRU": ([1, 2], [3.0, 0.0]), "RNN": ([1, 2], [3.0, 1.0])}
    assert (ax.get_ylabel(), ax.get_yscale()) == ("squared error", "linear")  # 0 has no logarithm
    assert ax.lines[0].get_color() != ax.lines[1].get_color()
    assert drawn(figure)


def test_history_into_axes_that_are_there() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot.history(RUN, ax=left) is figure
    assert plot.history(RUN, metric=True, ax=right) is figure
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "accuracy")


def test_history_of_several_metrics() -> None:
    run = History("accuracy", [0.9], [0.3], metrics={"auc": [0.7]}, val_metrics={"auc": [0.6]})
    loss, *others = plot.history({"a": run, "b": History("mae", [0.8], [0.1])}).axes
    assert list(lines(loss)) == ["a", "b"]
    assert {ax.get_ylabel(): lines(ax) for ax in others} == {
        "accuracy": {"a": ([1], [0.3])},
        "auc": {"a, training": ([1], [0.7]), "a, validation": ([1], [0.6])},
        "mae": {"b": ([1], [0.1])},
    }
    (ax,) = plot.history(run, metric="auc").axes
    assert lines(ax) == {"training": ([1], [0.7]), "validation": ([1], [0.6])}
    (ax,) = plot.history(run, metric=True).axes
    assert ax.get_ylabel() == "accuracy"


@pytest.mark.parametrize(
    ("loss", "scale"),
    [([3.0, 1.0], "log"), ([2.9, 1.0], "linear"), ([9.0, 0.0], "linear"), ([-9.0, -1], "linear")],
)
def test_a_loss_is_logarithmic_where_that_shows_more(loss: list[float], scale: str) -> None:
    assert plot.history(History(None, loss)).axes[0].get_yscale() == scale


def test_a_loss_that_is_not_finite_does_not_stop_the_picture() -> None:
    nan = float("nan")
    figure = plot.history(History(None, [4.0, nan, 1.0], [], [nan, 2.0, nan]))
    (best,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert best.get_xdata()[0] == 2
    assert figure.axes[0].get_yscale() == "log"
    assert drawn(figure)
    assert drawn(plot.history(History(None, [nan], [], [nan])))


def test_one_epoch_is_seen() -> None:
    (ax,) = plot.history(History(None, [0.5])).axes
    assert ax.lines[0].get_marker() == "."


# --- manners -------------------------------------------------------------------------------------


def test_nothing_global_is_touched() -> None:
    """A fresh process: pyplot is never imported, the settings stay as they were."""
    program = """
import sys, gru
from gru import plot
assert not [name for name in sys.modules if name.startswith("matplotlib")]
import matplotlib
def settings():  # asking for the backend would import pyplot
    return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
before = settings()
plot.history(gru.History(None, [1.0])).savefig(sys.argv[1])
plot.gates(gru.GRU(1, 2, seed=0), [[1.0], [2.0]])
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program, "/dev/null"], check=True)


CALLS: dict[str, Callable[..., Any]] = {
    "history": lambda: plot.history(RUN),
    "forecast": lambda: plot.forecast([1.0]),
    "predictions": lambda: plot.predictions([1.0], [1.0]),
    "confusion": lambda: plot.confusion([1], [1]),
    "gates": lambda: plot.gates(gru.GRU(2, 3, seed=0), sequence()),
    "gradient_flow": lambda: plot.gradient_flow(flow_of(gru.RNN)),
}


def test_every_picture_is_named_and_coloured_for_all() -> None:
    assert {*CALLS, "MissingError", "figure"} == set(plot.__all__)
    for make in CALLS.values():
        for ax in make().axes:
            if ax.lines or ax.images:
                assert {to_hex(line.get_color()) for line in ax.lines} <= {
                    colour.lower() for colour in (*plot.canvas.COLOURS, plot.canvas.GRAY)
                }


@pytest.mark.parametrize("name", CALLS)
def test_no_matplotlib_is_one_clear_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r'^pictures need matplotlib; pip install "gru-engine\[plot\]" brings it$'
    with pytest.raises(plot.MissingError, match=message):
        CALLS[name]()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: plot.history([0.5]), TypeError, "history must be a gru.History, or a mapping"),
        (lambda: plot.history({"a": 1}), TypeError, r"history\['a'\] must be a gru.History, got 1"),
        (lambda: plot.history(History()), ValueError, "at least one epoch, got none"),
        (lambda: plot.history({}), ValueError, "at least one epoch, got none"),
        (
            lambda: plot.history(History(None, [1.0]), metric=True),
            ValueError,
            "history must hold a metric to draw",
        ),
        (
            lambda: plot.history(RUN, metric="auc"),
            ValueError,
            "metric must be one of 'accuracy', got 'auc'",
        ),
        (lambda: plot.history(RUN, metric=3), TypeError, "metric must be a string, got 3"),
        (lambda: plot.history(RUN, ax=3), TypeError, "ax must be a matplotlib Axes, got 3"),
        (lambda: plot.forecast("up"), TypeError, "prediction must hold numbers, got <U2"),
        (lambda: plot.forecast([[1, 2]]), ValueError, r"prediction must have shape \(n,\), got"),
        (lambda: plot.forecast([1, 2], [1]), ValueError, r"truth must have shape \(2,\), got"),
        (lambda: plot.forecast([1], interval=3), TypeError, r"interval must be a pair \(low, high"),
        (lambda: plot.forecast([1], interval=([2], [1])), ValueError, "a low above its high"),
        (
            lambda: plot.forecast([1], interval=([0], [1]), level=80),
            ValueError,
            "level must be between 0 and 1, got 80",
        ),
        (
            lambda: plot.forecast([1], interval={50: ([0], [1])}),
            ValueError,
            "a key of interval must be between 0 and 1, got 50",
        ),
        (
            lambda: plot.forecast([1], interval={0.5: ([0, 1], [1, 2])}),
            ValueError,
            r"interval\[0.5\]\[0\] must have shape \(1,\), got \(2,\)",
        ),
        (
            lambda: plot.forecast([1], interval={0.5: ([0], [1])}, level=0.5),
            ValueError,
            "level must be None where interval is a mapping, got 0.5",
        ),
        (
            lambda: plot.forecast([1, 2], past=[0], time=[1, 2]),
            ValueError,
            r"time must have shape \(3,\): past and prediction, got \(2,\)",
        ),
        (lambda: plot.forecast([1, 2], time=[2, 1]), ValueError, "time must ascend"),
        (lambda: plot.forecast([1, 2], time=[0, np.nan]), ValueError, "time must ascend"),
        (lambda: plot.forecast([1], time=["soon"]), ValueError, "2001-12-31.*got 'soon'"),
        (lambda: plot.forecast([1], time=[None]), TypeError, "entry of time must be a date, got N"),
        (lambda: plot.forecast([1], time=["NaT"]), ValueError, "without a time zone, got NaT"),
        (
            lambda: plot.forecast([1], time=[datetime(2001, 1, 1, tzinfo=timezone.utc)]),
            ValueError,
            "time must hold numbers, or dates without a time zone, got 2001-01-01 00:00:00",
        ),
        (
            lambda: plot.forecast([1], others=[[1]]),
            TypeError,
            "others must be a mapping of names to forecasts, got list",
        ),
        (
            lambda: plot.forecast([1], others={"naive": [1, 2]}),
            ValueError,
            r"others\['naive'\] must have shape \(1,\), got \(2,\)",
        ),
        (lambda: plot.predictions([1.0], [1.0, 2.0]), ValueError, r"truth must have shape \(1,\)"),
        (lambda: plot.confusion([1], [1, 2]), ValueError, r"one shape \(n,\).* got \(1,\) and \(2"),
        (lambda: plot.confusion([], []), ValueError, "n at least 1"),
        (
            lambda: plot.confusion([1], [2], classes=[2]),
            ValueError,
            "prediction must hold only the",
        ),
        (lambda: plot.gates(gru.Last(), sequence()), ValueError, "must have a recurrent layer"),
        (lambda: plot.gates("GRU", sequence()), TypeError, "model must be a gru.Sequential or"),
        (
            lambda: plot.gates(gru.GRU(2, 3), np.zeros((2, 4, 2))),
            ValueError,
            r"x must be one sequence \(T, I\), T at least 1, got \(2, 4, 2\)",
        ),
        (
            lambda: plot.gates(gru.GRU(2, 3), sequence(), cell="1.l0"),
            ValueError,
            "cell must be one of '0.l0', got '1.l0'",
        ),
        (
            lambda: plot.gates(gru.GRU(2, 3), sequence(), units=[3]),
            ValueError,
            r"units\[0\] must be an integer from 0 to 2, got 3",
        ),
        (lambda: plot.gates(gru.GRU(2, 3), sequence(), units=[]), ValueError, "at least one unit"),
        (
            lambda: plot.gates(gru.GRU(2, 3), sequence(), names=["a"]),
            ValueError,
            "names must hold one text an input channel, 2, got 1",
        ),
        (
            lambda: plot.gates(gru.GRU(2, 3), sequence(), figure=1),
            TypeError,
            "figure must be a matplotlib Figure or SubFigure, got 1",
        ),
        (lambda: plot.gradient_flow(3), TypeError, "flows must be a GradientFlow, or a mapping"),
        (lambda: plot.gradient_flow({}), ValueError, "at least one GradientFlow, got none"),
        (lambda: plot.gradient_flow({"a": 1}), TypeError, r"flows\['a'\] must be a GradientFlow"),
        (
            lambda: plot.gradient_flow(flow_of(gru.RNN), floor=2),
            ValueError,
            "floor must be between 0 and 1, got 2",
        ),
        (
            lambda: plot.gradient_flow(flow_of(gru.RNN), cell="l0"),
            ValueError,
            "cell must be one of '0.l0', got 'l0'",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()
