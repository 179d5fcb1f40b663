"""Pictures of gates and gradients show the right numbers: they are read back from the axes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gru
from gru import plot
from pictures import drawn, flow_of, lines, sequence

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.figure import Figure  # noqa: E402


def images(figure: Any) -> dict[str, Any]:
    """The images of the panels, by the first letter that their title names."""
    return {
        ax.get_title(loc="left").split(":")[0].split(" after")[0].split()[-1]: ax
        for ax in figure.axes
        if ax.images and ax.get_title(loc="left")
    }


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
