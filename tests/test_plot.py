"""Pictures show the right numbers: they are read back from the axes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gru import History, plot

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RUN = History("accuracy", [0.9, 0.5, 0.4], [0.3, 0.6, 0.7], [0.8, 0.6, 0.7], [0.4, 0.5, 0.6])


def lines(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    """What each named line shows: x and y."""
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def drawn(figure: Any) -> bytes:
    """The pixels, which every picture must come to without a warning."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return bytes(canvas.buffer_rgba())


# --- training ----------------------------------------------------------------------------------


def test_history_draws_loss_and_metric() -> None:
    figure = plot.history(RUN)
    loss, metric = figure.axes
    epochs = [1, 2, 3]
    assert lines(loss) == {
        "training": (epochs, RUN.loss),
        "validation": (epochs, RUN.val_loss),
    }
    assert lines(metric) == {
        "training": (epochs, RUN.metric),
        "validation": (epochs, RUN.val_metric),
    }
    assert (loss.get_xlabel(), loss.get_ylabel(), loss.get_yscale()) == ("epoch", "loss", "log")
    assert (metric.get_ylabel(), metric.get_yscale()) == ("accuracy", "linear")
    (best,) = [line for line in loss.lines if line.get_marker() == "o"]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 0.6)
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


def test_one_epoch_is_seen() -> None:
    (ax,) = plot.history(History(None, [0.5])).axes
    assert ax.lines[0].get_marker() == "."


# --- answers -----------------------------------------------------------------------------------


def test_forecast() -> None:
    figure = plot.forecast(
        [4.0, 5.0, 6.0],
        [4.5, 9.0, np.nan],
        interval=([3, 4, 5], [5, 6, 7]),
        level=0.8,
        past=[1.0, 2.0],
        label="load (MW)",
    )
    (ax,) = figure.axes
    shown = lines(ax)
    assert shown["past"] == ([-1, 0], [1.0, 2.0])
    assert shown["forecast"] == ([1, 2, 3], [4.0, 5.0, 6.0])
    steps, truth = shown["truth"]
    assert steps == [0, 1, 2, 3]
    np.testing.assert_array_equal(truth, [2.0, 4.5, 9.0, np.nan])
    (band,) = ax.collections
    assert band.get_label() == "80 % interval (holds 50 % of the truth)"
    corners = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert {(1, 3), (2, 4), (3, 5), (1, 5), (2, 6), (3, 7)} <= corners
    assert ax.get_ylabel() == "load (MW)"
    assert drawn(figure)


def test_forecast_alone() -> None:
    (ax,) = plot.forecast(np.array([[1.0], [2.0]])).axes
    assert lines(ax) == {"forecast": ([1, 2], [1.0, 2.0])}


def test_predictions() -> None:
    figure = plot.predictions([1.0, 3.0], [1.0, 2.0], interval=([0, 2.5], [2, 4]), label="age (a)")
    (ax,) = figure.axes
    points = next(line for line in ax.lines if line.get_marker() == ".")
    assert points.get_xydata().tolist() == [[1, 1], [2, 3]]
    (bars,) = ax.collections
    assert [s.tolist() for s in bars.get_segments()] == [[[1, 0], [1, 2]], [[2, 2.5], [2, 4]]]
    assert bars.get_label() == "interval (holds 50 % of the truth)"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true age (a)", "predicted age (a)")
    assert ax.get_title() == "mean absolute error 0.5"
    assert drawn(figure)


def test_confusion_has_rows_of_truth() -> None:
    truth, prediction = ["b", "a", "b", "b"], ["b", "b", "a", "b"]
    figure = plot.confusion(prediction, truth, classes=["b", "a", "c"])
    ax = figure.axes[0]
    counts = [[2, 1, 0], [1, 0, 0], [0, 0, 0]]
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(c, r): str(n) for r, row in enumerate(counts) for c, n in enumerate(row)}
    share = ax.images[0].get_array()
    np.testing.assert_allclose(share, [[2 / 3, 1 / 3, 0], [1, 0, 0], [0, 0, 0]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["b", "a", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title() == "2 of 4 right (50.0 %)"
    assert drawn(figure)


def test_many_classes_are_not_written() -> None:
    labels = np.arange(30)
    ax = plot.confusion(labels, labels).axes[0]
    assert not ax.texts
    assert np.array_equal(ax.images[0].get_array(), np.eye(30))


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
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program, "/dev/null"], check=True)


CALLS: dict[str, Callable[..., Any]] = {
    "history": lambda: plot.history(RUN),
    "forecast": lambda: plot.forecast([1.0]),
    "predictions": lambda: plot.predictions([1.0], [1.0]),
    "confusion": lambda: plot.confusion([1], [1]),
}


def test_every_picture_is_named_and_coloured_for_all() -> None:
    assert set(CALLS) | {"MissingError"} == set(plot.__all__)
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
        (lambda: plot.predictions([1.0], [1.0, 2.0]), ValueError, r"truth must have shape \(1,\)"),
        (lambda: plot.confusion([1], [1, 2]), ValueError, r"one shape \(n,\).* got \(1,\) and \(2"),
        (lambda: plot.confusion([], []), ValueError, "n at least 1"),
        (
            lambda: plot.confusion([1], [2], classes=[2]),
            ValueError,
            "prediction must hold only the",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()
