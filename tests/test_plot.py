"""Pictures show the right numbers: they are read back from the axes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gru
from gru import History, plot

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RUN = History("accuracy", [0.9, 0.5, 0.2], [0.3, 0.6, 0.7], [0.8, 0.6, 0.7], [0.4, 0.5, 0.6])


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


# --- gates and gradients -------------------------------------------------------------------------


def images(figure: Any) -> dict[str, Any]:
    """The images of the panels, by the first letter that their title names."""
    return {
        ax.get_title(loc="left").split(":")[0].split(" after")[0].split()[-1]: ax
        for ax in figure.axes
        if ax.images and ax.get_title(loc="left")
    }


def sequence(steps: int = 12, channels: int = 2) -> Any:
    return np.random.default_rng(0).normal(size=(steps, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "letters"), [(gru.GRU, "rznh"), (gru.LSTM, "ifoghc"), (gru.RNN, "h")]
)
def test_gates_draws_the_trace(kind: Any, letters: str) -> None:
    layer, x = kind(2, 5, bidirectional=True, seed=0), sequence()
    figure = plot.gates(layer, x, cell="0.l0_reverse", units=[3, 1], names=["a", "b"])
    assert lines(figure.axes[0]) == {
        name: (list(range(1, 13)), x[:, i].tolist()) for i, name in enumerate(("a", "b"))
    }
    trace, panels = layer.trace(x[None]), images(figure)
    assert "".join(panels) == letters
    for letter, ax in panels.items():
        wanted = trace[letter][0, :, 1].T[[3, 1]]
        np.testing.assert_array_equal(ax.images[0].get_array(), wanted)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["3", "1"]
        assert ax.images[0].get_extent() == [0.5, 12.5, 1.5, -0.5]
    assert drawn(figure)


@pytest.mark.parametrize("update_gate", ["keep", "new"])
def test_the_longest_memory_is_on_top_whatever_z_means(update_gate: str) -> None:
    layer = gru.GRU(2, 3, update_gate=update_gate, seed=0)
    sign = 1 if update_gate == "keep" else -1
    layer.parameters["bias_ih_l0"][3:6] = np.array([0, 6, 3]) * sign
    figure = plot.gates(layer, sequence())
    ax = images(figure)["z"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["1", "2", "0"]
    meaning = {"keep": "keeps the old state", "new": "takes the new candidate"}[update_gate]
    assert ax.get_title(loc="left") == f"update gate z: near 1 {meaning}"
    top, _, bottom = ax.images[0].get_array().mean(axis=1)
    assert (top > bottom) == (update_gate == "keep")


def test_gates_have_room() -> None:
    """For each unit a line of its own, for each label its letters."""
    small = plot.gates(gru.GRU(2, 8, seed=0), sequence()).get_size_inches()
    wide = plot.gates(gru.GRU(2, 8, seed=0), sequence(90), labels=["ab"] * 90)
    assert drawn(wide)
    boxes = [tick.get_window_extent() for tick in wide.axes[-3].get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    high = plot.gates(gru.GRU(2, 96, seed=0), sequence())
    assert tuple(small) == (10.0, 7.6)
    assert drawn(high)
    assert min(ax.bbox.height for ax in high.axes if ax.images) > 2 * 96


def test_gates_of_a_model_of_symbols_and_of_many_channels() -> None:
    layers = [gru.Embedding(5, 4, seed=0), gru.GRU(4, 3, seed=0), gru.RNN(3, 6, 2, seed=0)]
    model = gru.Sequential([*layers, gru.Last()])
    symbols = np.array([4, 0, 1])
    figure = plot.gates(model, symbols, cell="2.l1", labels=["e", "a", "b"])
    assert figure.axes[0].lines[0].get_ydata().tolist() == [4, 0, 1]
    between = layers[1](layers[0](symbols[None]))[0]
    wanted = layers[2].trace(between)["h"][0, :, 1].T
    np.testing.assert_array_equal(images(figure)["h"].images[0].get_array(), wanted)
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["e", "a", "b"]
    many = sequence(channels=9)
    image = plot.gates(gru.GRU(9, 2, seed=0), many).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), many.T)


def flow_of(kind: Any, *rest: Any, **options: Any) -> Any:
    X, y = gru.datasets.adding(8, 60, seed=0)
    layer = kind(2, 6, *rest, seed=0, **options)
    model = gru.Sequential([layer, gru.Last(), gru.Linear(6, 1, seed=0)])
    return gru.diagnostics.gradient_flow(model, X, y, loss="mse")


def test_gradient_flow_side_by_side() -> None:
    flows = {kind.__name__: flow_of(kind) for kind in (gru.GRU, gru.LSTM, gru.RNN)}
    figure = plot.gradient_flow(flows, floor=1e-6)
    names = {
        "all of it": "total",
        "carried by the update or forget gate": "carried",
        "through candidate and gates": "through",
        "from the output at the step": "direct",
    }
    largest = max(flow.memory[0].norm().max() for flow in flows.values())
    for (name, flow), ax in zip(flows.items(), figure.axes, strict=True):
        state = flow.memory[0]
        shown = lines(ax)
        assert set(names) - set(shown) == ({list(names)[1]} if name == "RNN" else set())
        for label, (steps, values) in shown.items():
            norms = state.norm(names[label])
            assert steps == list(range(0, -60, -1))
            np.testing.assert_array_equal(values, np.where(norms > 0, norms, np.nan))
        assert ax.get_yscale() == "log"
        assert ax.get_ylim() == pytest.approx((1e-6 * largest, 3 * largest))
        assert ax.get_xlim() == figure.axes[0].get_xlim()
        far = np.flatnonzero(state.norm() >= 1e-6 * largest)[-1]
        assert far < 59
        assert ax.get_title().splitlines() == [
            f"{name}: dL/d{'c' if name == 'LSTM' else 'h'} (loss {flow.loss:.3g})",
            f"reaches back {far} of 59 steps",
        ]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(names)
    assert drawn(figure)


def test_the_axis_ends_where_nothing_is_left() -> None:
    """Above the floor: three decades at least, and a third of the least norm."""
    model = gru.GRU(2, 6, seed=0)
    X = gru.datasets.adding(8, 20, seed=0)[0]
    flow = gru.diagnostics.gradient_flow(model, X, np.ones((8, 20, 6)), loss="mse")
    norms = np.concatenate([flow.states[0].norm(part) for part in ("total", "carried", "through")])
    assert norms[norms > 0].min() > 3e-3 * norms.max()  # a loss at every step: nothing vanishes
    (ax,) = plot.gradient_flow({"GRU": flow}).axes
    assert ax.get_ylim() == pytest.approx((1e-3 * norms.max(), 3 * norms.max()))


def test_gradient_flow_says_when_it_reaches_the_first_step() -> None:
    flow = flow_of(gru.LSTM)
    (ax,) = plot.gradient_flow({"LSTM": flow}, floor=1e-300).axes
    norms = flow.memory[0].norm()
    reach = norms[-1] / norms[0]
    assert 0 < reach < 1
    assert (
        ax.get_title().splitlines()[1] == f"reaches the first step: {reach:.1g} of the last step's"
    )


@pytest.mark.parametrize(
    ("norms", "said"),
    [
        ([0.5, 0.1, 150.0], "reaches the first step: 300 of the last step's"),
        ([0.0, 0.0, 2.0], "reaches the first step, not the last"),  # as in a direction's own Last
        ([0.0, 0.0, 0.0], "no gradient to speak of"),
    ],
)
def test_gradient_flow_says_where_a_gradient_is(norms: list[float], said: str) -> None:
    values, zero = np.array(norms[::-1]).reshape(1, 3, 1), np.zeros((1, 3, 1))
    valid = np.ones((1, 3), bool)
    state = gru.diagnostics.StateFlow("0.l0", "rnn", "h", values, zero, zero, values, valid)
    unit = gru.diagnostics.units(gru.RNN(1, 1, seed=0), np.ones((1, 3, 1)))
    flow = gru.diagnostics.GradientFlow(1.0, (state,), tuple(unit))
    figure = plot.gradient_flow(flow)
    assert figure.axes[0].get_title().splitlines()[1] == said
    assert drawn(figure)


def test_gradient_flow_of_every_cell_and_into_a_part_of_a_figure() -> None:
    whole = Figure()
    top, bottom = whole.subfigures(2, 1)
    flow = flow_of(gru.GRU, 2)
    assert plot.gradient_flow(flow, figure=top) is top
    titles = [ax.get_title().splitlines()[0] for ax in top.axes]
    assert titles == ["0.l0 gru: dL/dh", "0.l1 gru: dL/dh"]
    plot.gradient_flow({"one": flow}, cell="0.l1", figure=bottom)
    (ax,) = bottom.axes
    np.testing.assert_array_equal(lines(ax)["all of it"][1], flow.memory[1].norm())


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
