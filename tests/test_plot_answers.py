"""Pictures of answers show the right numbers: they are read back from the axes."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gru import plot
from pictures import drawn, lines

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402


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
    assert shown["forecast (mean absolute error 2.25)"] == ([1, 2, 3], [4.0, 5.0, 6.0])
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
    assert ax.get_xlabel() == "steps after the last known one"


DATES = {
    "text": ["2001-10", "2001-11", "2001-12", "2002-01"],
    "months": np.arange("2001-10", "2002-02", dtype="datetime64[M]"),
    "dates": [date(2001, 10, 1), date(2001, 11, 1), date(2001, 12, 1), date(2002, 1, 1)],
    "datetimes": [datetime(2001, 9, 1) + timedelta(days=30 * k) for k in (1, 2, 3, 4)],
}


@pytest.mark.parametrize("time", DATES.values(), ids=list(DATES))
def test_forecast_over_dates(time: Any) -> None:
    figure = plot.forecast([3.0, 4.0], [3.5, 4.5], past=[1.0, 2.0], time=time)
    (ax,) = figure.axes
    shown = {line.get_label(): line.get_xdata() for line in ax.lines}
    known = np.array(time, dtype="datetime64[us]")
    np.testing.assert_array_equal(shown["past"], known[:2])
    np.testing.assert_array_equal(shown["truth"], known[1:])
    np.testing.assert_array_equal(shown["forecast (mean absolute error 0.5)"], known[2:])
    (now,) = (line for line in ax.lines if line.get_linestyle() == ":")
    assert known[1] < now.get_xdata()[0] < known[2]
    assert drawn(figure)
    assert ax.get_xlabel() == ""
    assert {"Oct", "Nov", "Dec", "2002"} & {tick.get_text() for tick in ax.get_xticklabels()}


def test_forecast_over_numbers_beside_others_and_with_several_intervals() -> None:
    others = {"naive": [2.0, 2.0], "drift": [3.5, 5.0]}
    ends = {0.5: ([2.5, 3.5], [3.5, 4.5]), 0.9: ([2, 3], [4, 6])}
    figure = plot.forecast(
        [3.0, 4.0], [3.5, 5.0], past=[1.0], time=[0.25, 0.5, 1], others=others, interval=ends
    )
    (ax,) = figure.axes
    shown = lines(ax)
    assert shown["past"] == ([0.25], [1.0])
    assert shown["naive (mean absolute error 2.25)"] == ([0.5, 1.0], [2.0, 2.0])
    assert shown["drift (mean absolute error 0)"] == ([0.5, 1.0], [3.5, 5.0])
    assert len({to_hex(line.get_color()) for line in ax.lines}) == 5
    assert [band.get_label() for band in ax.collections] == [  # the widest is drawn first
        "90 % interval (holds 100 % of the truth)",
        "50 % interval (holds 50 % of the truth)",
    ]
    assert ax.get_xlabel() == "time"
    assert drawn(figure)


def test_a_forecast_of_one_step_is_seen() -> None:
    figure = plot.forecast([2.0], interval=([1.0], [3.0]), past=[1.0, 2.0])
    (ax,) = figure.axes
    assert {line.get_label(): line.get_marker() for line in ax.lines[::2]} == {
        "past": "",
        "forecast": ".",
    }
    (bar,) = ax.collections
    assert [part.tolist() for part in bar.get_segments()] == [[[1, 1], [1, 3]]]
    assert drawn(figure)


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
    truth, prediction = ["b", "a", "b", "b", "b"], ["b", "b", "a", "b", "a"]
    figure = plot.confusion(prediction, truth, classes=["b", "a", "c"])
    ax = figure.axes[0]
    counts = [[2, 2, 0], [1, 0, 0], [0, 0, 0]]  # not symmetric
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(c, r): str(n) for r, row in enumerate(counts) for c, n in enumerate(row)}
    share = ax.images[0].get_array()
    np.testing.assert_allclose(share, [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["b", "a", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title() == "2 of 5 right (40.0 %)"
    assert drawn(figure)


def test_many_classes_are_not_written() -> None:
    labels = np.arange(30)
    ax = plot.confusion(labels, labels).axes[0]
    assert not ax.texts
    assert np.array_equal(ax.images[0].get_array(), np.eye(30))
    assert len(ax.get_xticks()) == 30


def test_names_of_very_many_classes_leave_each_other_room() -> None:
    names = np.array([f"class {i:03}" for i in range(120)])
    figure = plot.confusion(names, names)
    assert drawn(figure)
    ax = figure.axes[0]
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert 30 < len(boxes) < 120
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
