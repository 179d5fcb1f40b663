"""Models written as ONNX: the checker takes them, onnxruntime gives the same, weights keep bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from cases import as_tuple
from gru.convert.onnx_graph import load_onnx
from gru.convert.onnx_nodes import load_onnx_node
from gru.convert.onnx_write import to_onnx
from gru.layer import Layer
from reference import Array

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import numpy_helper  # noqa: E402

from onnx_models import info, model, node, numbers, run, run_slowly, saved  # noqa: E402

CELLS: dict[str, Callable[..., Any]] = {
    "gru-after": lambda **k: gru.GRU(5, 4, **k),
    "gru-before": lambda **k: gru.GRU(5, 4, reset_after=False, **k),
    "gru-after-new": lambda **k: gru.GRU(5, 4, update_gate="new", **k),
    "gru-before-new": lambda **k: gru.GRU(5, 4, reset_after=False, update_gate="new", **k),
    "lstm": lambda **k: gru.LSTM(5, 4, **k),
    "rnn-tanh": lambda **k: gru.RNN(5, 4, **k),
    "rnn-relu": lambda **k: gru.RNN(5, 4, nonlinearity="relu", **k),
}
DIRECTIONS: dict[str, dict[str, bool]] = {
    "forward": {},
    "reverse": {"reverse": True},
    "both": {"bidirectional": True},
}
# What may follow a recurrent layer of w features.
TAILS: dict[str, Callable[[int], list[Layer]]] = {
    "nothing": lambda w: [],
    "last": lambda w: [gru.Last()],
    "last of both": lambda w: [gru.Last(bidirectional=True)],
    "linear": lambda w: [gru.Linear(w, 3), gru.Activation("tanh")],
    "last of linear": lambda w: [gru.Linear(w, 6), gru.Last(bidirectional=True)],
    "softmax, last": lambda w: [gru.Linear(w, 3), gru.Activation("softmax"), gru.Last()],
    "mean": lambda w: [gru.Mean(), gru.Linear(w, 3)],
    "mean of linear": lambda w: [gru.Linear(w, 3), gru.Mean()],
    "max": lambda w: [gru.Activation("sigmoid"), gru.Max()],
    "dropout": lambda w: [gru.Dropout(0.5), gru.Linear(w, 3, bias=False), gru.Activation("relu")],
    "affine": lambda w: [gru.Affine(w), gru.Linear(w, 3), gru.Affine(3)],
    "reverse": lambda w: [gru.Reverse(), gru.GRU(w, 3), gru.Last()],
    "reverse of affine": lambda w: [gru.Affine(w), gru.Reverse(), gru.Linear(w, 2)],
    "another": lambda w: [gru.Linear(w, 3), gru.LSTM(3, 2, bidirectional=True)],
}
OPSETS = (14, 17, 18, 21, 24)
BATCH, STEPS = 3, 6
LENGTHS = np.array([STEPS, 1, 4])


def drawn(layers: list[Layer], rng: np.random.Generator) -> gru.Sequential:
    """A model whose numbers, biases too, are random."""
    made = gru.Sequential(layers)
    for value in made.parameters.values():
        value[...] = 0.5 * rng.normal(size=value.shape)
    return made


# Every cell with every tail; directions, layers, biases and opsets in turn.
MATRIX = [
    (cell, tail, list(DIRECTIONS)[i % 3], 1 + i % 2, i % 5 != 4, OPSETS[i % len(OPSETS)])
    for i, (cell, tail) in enumerate(itertools.product(CELLS, TAILS))
]


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize(("cell", "tail", "direction", "layers", "bias", "opset"), MATRIX)
def test_onnxruntime_agrees(
    cell: str, tail: str, direction: str, layers: int, bias: bool, opset: int, ragged: bool
) -> None:
    rng = np.random.default_rng(len(cell + tail) + layers)
    first = CELLS[cell](num_layers=layers, bias=bias, **DIRECTIONS[direction])
    made = drawn([first, *TAILS[tail](8 if direction == "both" else 4)], rng)
    content = to_onnx(made, opset=opset, lengths=ragged)
    onnx.checker.check_model(content, full_check=True)
    x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    found = run(content, {"x": x, **({"lengths": LENGTHS.astype(np.int32)} if ragged else {})})
    wanted = made(x, lengths=LENGTHS if ragged else None)
    assert list(found) == ["y"]
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_states_go_in_and_out(cell: str, direction: str) -> None:
    rng = np.random.default_rng(len(cell + direction))
    layer = CELLS[cell](num_layers=2, **DIRECTIONS[direction])
    made = drawn([layer], rng)
    rows = 4 if direction == "both" else 2
    parts = "hc" if cell == "lstm" else "h"
    states = [rng.normal(size=(BATCH, rows, 4)).astype(np.float32) for _ in parts]
    x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    content = to_onnx(made, states=True, lengths=True)
    onnx.checker.check_model(content, full_check=True)
    fed = {f"initial_{part}_0": state for part, state in zip(parts, states, strict=True)}
    found = run(content, {"x": x, "lengths": LENGTHS.astype(np.int32), **fed})
    y, final = layer(x, tuple(states) if len(states) == 2 else states[0], lengths=LENGTHS)
    assert list(found) == ["y", *(f"final_{part}_0" for part in parts)]
    for value, wanted in zip(found.values(), (y, *as_tuple(final)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6)


def test_states_are_those_of_carry() -> None:
    rng = np.random.default_rng(5)
    made = drawn([gru.GRU(5, 4, 2), gru.Linear(4, 3), gru.LSTM(3, 2), gru.Last()], rng)
    x = rng.normal(size=(2, BATCH, STEPS, 5)).astype(np.float32)
    content = to_onnx(made, states=True)
    _, state = made.carry(x[0])
    wanted, after = made.carry(x[1], state)
    h, (h2, c2) = state
    found = run(content, {"x": x[1], "initial_h_0": h, "initial_h_2": h2, "initial_c_2": c2})
    names = ["y", "final_h_0", "final_h_2", "final_c_2"]
    assert list(found) == names
    for name, value in zip(names, (wanted, after[0], *after[1]), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "rnn-relu"])
def test_float64(cell: str) -> None:
    """Only the onnx package's reference runs it; it has no relu in an RNN."""
    rng = np.random.default_rng(6)
    layers = [CELLS[cell](num_layers=2, bidirectional=True, dtype="float64")]
    made = drawn([*layers, gru.Linear(8, 3, dtype="float64")], rng)
    x = rng.normal(size=(BATCH, STEPS, 5))
    content = to_onnx(made)
    np.testing.assert_allclose(run_slowly(content, {"x": x})["y"], made(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "lengths"])
def test_an_embedding(ragged: bool) -> None:
    """Beyond a sequence's end any integer may stand."""
    rng = np.random.default_rng(7)
    made = drawn([gru.Embedding(9, 3), gru.GRU(3, 4), gru.Linear(4, 2)], rng)
    x = rng.integers(0, 9, size=(BATCH, STEPS))
    given: dict[str, Array] = {"x": x}
    if ragged:
        x[np.arange(STEPS) >= LENGTHS[:, None]] = 1000
        given["lengths"] = LENGTHS.astype(np.int32)
    content = to_onnx(made, lengths=ragged)
    onnx.checker.check_model(content, full_check=True)
    wanted = made(x, lengths=LENGTHS if ragged else None)
    np.testing.assert_allclose(run(content, given)["y"], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [gru.Last(), gru.Mean(), gru.Max(), gru.Activation("relu")])
def test_without_parameters(layer: Layer) -> None:
    x = np.random.default_rng(8).normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    made = gru.Sequential([layer])
    content = to_onnx(made, lengths=True)
    onnx.checker.check_model(content, full_check=True)
    found = run(content, {"x": x, "lengths": LENGTHS.astype(np.int32)})["y"]
    np.testing.assert_allclose(found, made(x, lengths=LENGTHS), rtol=0, atol=1e-6)


def test_nan_beyond_the_end_does_not_show() -> None:
    rng = np.random.default_rng(9)
    made = drawn([gru.Linear(5, 4), gru.GRU(4, 4), gru.Linear(4, 2), gru.Mean()], rng)
    x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    x[np.arange(STEPS) >= LENGTHS[:, None]] = np.nan
    found = run(to_onnx(made, lengths=True), {"x": x, "lengths": LENGTHS.astype(np.int32)})["y"]
    np.testing.assert_allclose(found, made(x, lengths=LENGTHS), rtol=0, atol=1e-6)


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cell", ["gru-after", "gru-before", "lstm", "rnn-tanh", "rnn-relu"])
def test_gru_to_onnx_to_gru(cell: str, bias: bool, direction: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    first = CELLS[cell](bias=bias, **DIRECTIONS[direction])
    w = 8 if direction == "both" else 4
    made = drawn([first, gru.Linear(w, 3, bias=bias), gru.Activation("sigmoid")], rng)
    found = load_onnx(saved(to_onnx(made), tmp_path))
    assert repr(found) == repr(made)
    for name, value in made.parameters.items():
        assert found.parameters[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
def test_onnx_to_gru_to_onnx(kind: str, direction: str, dtype: str, tmp_path: Path) -> None:
    directions = 1 + (direction == "bidirectional")
    c = numbers(kind, np.random.default_rng(11), directions=directions)
    c = {name: value.astype(dtype) for name, value in c.items()}
    path = saved(model([node(kind, ["X", *c], direction=direction)], c), tmp_path)
    written = onnx.load_from_string(to_onnx(gru.Sequential([load_onnx_node(path)])))
    found = {t.name.split(".")[-1]: numpy_helper.to_array(t) for t in written.graph.initializer}
    for name, value in c.items():
        assert found[name].dtype == value.dtype
        assert found[name].tobytes() == value.tobytes(), name


def test_affine_and_reverse_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    layers = [gru.Affine(5), gru.Reverse(), gru.LSTM(5, 4), gru.Affine(4), gru.Last()]
    made = drawn(layers, rng)
    found = load_onnx(saved(to_onnx(made), tmp_path))
    assert repr(found) == repr(made)
    for name, value in made.parameters.items():
        assert found.parameters[name].tobytes() == value.tobytes(), name


MASKED: dict[str, Callable[[], list[Layer]]] = {
    "steps": lambda: [gru.GRU(5, 4), gru.Linear(4, 2)],
    "between": lambda: [gru.Linear(5, 3), gru.GRU(3, 4), gru.Linear(4, 2), gru.LSTM(2, 3)],
    "tokens": lambda: [gru.Embedding(5, 3), gru.GRU(3, 4)],
    "tokens to steps": lambda: [gru.Embedding(5, 3), gru.GRU(3, 4), gru.Linear(4, 2)],
    "no recurrent layer": lambda: [gru.Embedding(5, 3), gru.Linear(3, 2)],
}


@pytest.mark.parametrize("name", MASKED)
def test_masks_by_lengths_come_back(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    made = drawn(MASKED[name](), rng)
    content = to_onnx(made, lengths=True)
    found = load_onnx(saved(content, tmp_path))
    assert repr(found) == repr(made)
    assert "input 'lengths' is lengths" in found.metadata["source"]
    x = rng.integers(0, 5, size=(BATCH, STEPS))
    if "tokens" not in name and name != "no recurrent layer":
        x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    wanted = run(content, {"x": x, "lengths": LENGTHS.astype(np.int32)})["y"]
    np.testing.assert_allclose(found(x, lengths=LENGTHS), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n1", "n0", "Range node '.*': must count all steps from 0"),
        ("i1", "i0", "Less node '.*': must read lengths of shape"),
        ("n0", "n1", "Range node '.*': must count all steps from 0"),
        ("f0.0", "1.bias", "Where node '.*': must put 0 where no step counts"),
    ],
)
def test_other_masks_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    made = onnx.load_from_string(
        to_onnx(gru.Sequential([gru.GRU(5, 4), gru.Linear(4, 1, seed=0)]), lengths=True)
    )
    kinds = {"Range", "Where"} | ({"Unsqueeze"} if old == "i1" else set())
    made.graph.initializer.append(numpy_helper.from_array(np.array([0]), "i0"))
    for one in made.graph.node:
        if one.op_type in kinds:
            inputs = [new if name == old else name for name in one.input]
            one.ClearField("input")
            one.input.extend(inputs)
        elif one.op_type == "Add":
            one.input[1] = "ones"
    made.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "ones"))
    for tensor in made.graph.initializer:
        if tensor.name == "1.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "1.bias"))
    with pytest.raises(ValueError, match=message):
        load_onnx(saved(made, tmp_path))


POOLED: dict[str, Callable[[], list[Layer]]] = {
    "mean": lambda: [gru.GRU(5, 4), gru.Mean()],
    "mean of both": lambda: [gru.LSTM(5, 4, bidirectional=True), gru.Linear(8, 3), gru.Mean()],
    "mean without a bias": lambda: [gru.RNN(5, 4), gru.Linear(4, 3, bias=False), gru.Mean()],
    "max": lambda: [gru.GRU(5, 4, reverse=True), gru.Max(), gru.Linear(4, 2)],
    "max of softmax": lambda: [gru.GRU(5, 4), gru.Activation("softmax"), gru.Max()],
    "last": lambda: [gru.GRU(5, 4), gru.Linear(4, 3), gru.Last()],
    "last of both": lambda: [gru.GRU(5, 4, bidirectional=True), gru.Last(), gru.Linear(8, 2)],
    "last of reverse": lambda: [gru.LSTM(5, 4, reverse=True), gru.Last()],
    "reversed": lambda: [gru.Reverse(), gru.GRU(5, 4), gru.Reverse(), gru.Mean()],
    "dropout": lambda: [
        gru.GRU(5, 4, bidirectional=True),
        gru.Dropout(0.5),
        gru.Last(bidirectional=True),
    ],
}


@pytest.mark.parametrize("opset", [14, 18])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("name", POOLED)
def test_what_pools_by_lengths_comes_back(
    name: str, states: bool, opset: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(14)
    made = drawn(POOLED[name](), rng)
    path = saved(to_onnx(made, lengths=True, states=states, opset=opset), tmp_path)
    found = load_onnx(path, zero_states=True)
    kept = [layer for layer in made.layers if not isinstance(layer, gru.Dropout)]
    assert list(map(repr, found.layers)) == list(map(repr, kept))
    for name_, value in made.parameters.items():
        assert found.parameters[name_].tobytes() == value.tobytes(), name_
    x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    np.testing.assert_array_equal(found(x, lengths=LENGTHS), made(x, lengths=LENGTHS))


# A model, what is changed in its graph, and what is then wrong with it.
UNEVEN: dict[str, tuple[list[Layer], dict[str, Any], str]] = {
    "a maximum with 0": (
        [gru.GRU(5, 4), gru.Max()],
        {"f-inf": np.float32(0)},
        "output 'y' takes the max of all steps, those beyond",
    ),
    "a mask of another number": (
        [gru.GRU(5, 4), gru.Max()],
        {"f-inf": np.float32(-1)},
        "Where node '.*': must put 0 where no step counts, or -inf for a maximum, got -1",
    ),
    "a sum of what is not masked": (
        [gru.GRU(5, 4), gru.Linear(4, 3), gru.Mean()],
        {"f0.0": np.float32(-np.inf)},
        "ReduceSum node '.*': adds up steps that are not all set to 0",
    ),
    "a mean of batches": (
        [gru.GRU(5, 4), gru.Mean()],
        {"ReduceSum": 0},
        "runs along another axis",
    ),
    "the last step but one": (
        [gru.GRU(5, 4), gru.Linear(4, 3), gru.Last()],
        {"Sub": 2},
        "Sub node '.*': must take 1 off lengths",
    ),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_what_padding_would_change_is_refused(name: str, tmp_path: Path) -> None:
    layers, changes, message = UNEVEN[name]
    made = onnx.load_from_string(to_onnx(gru.Sequential(layers), lengths=True))
    for tensor in made.graph.initializer:
        if tensor.name in changes:
            tensor.CopyFrom(numpy_helper.from_array(np.array(changes[tensor.name]), tensor.name))
    for one in made.graph.node:
        if one.op_type in changes:
            number = np.array(changes[one.op_type], np.int64)
            number = number if one.op_type == "Sub" else number.reshape(1)
            made.graph.initializer.append(numpy_helper.from_array(number, "changed"))
            one.input[1] = "changed"
    with pytest.raises(ValueError, match=message):
        load_onnx(saved(made, tmp_path))


@pytest.mark.parametrize(
    ("op", "name", "value", "message"),
    [
        ("GatherND", "batch_dims", 0, "must have batch_dims=1"),
        ("ReverseSequence", "time_axis", 0, "must reverse along the time"),
    ],
)
def test_other_uses_of_lengths_are_refused(
    op: str, name: str, value: int, message: str, tmp_path: Path
) -> None:
    layers = [gru.Reverse(), gru.GRU(5, 4), gru.Linear(4, 3), gru.Last()]
    made = onnx.load_from_string(to_onnx(gru.Sequential(layers), lengths=True))
    for one in made.graph.node:
        for attribute in one.attribute:
            if (one.op_type, attribute.name) == (op, name):
                attribute.i = value
    with pytest.raises(ValueError, match=message):
        load_onnx(saved(made, tmp_path))


def test_lengths_less_one_are_no_lengths(tmp_path: Path) -> None:
    made = onnx.load_from_string(
        to_onnx(gru.Sequential([gru.GRU(5, 4), gru.Linear(4, 3), gru.Last()]), lengths=True)
    )
    nodes = list(made.graph.node)
    moved = [one for one in nodes if one.op_type in ("Cast", "Sub")]
    [less] = [one.output[0] for one in moved if one.op_type == "Sub"]
    for one in nodes:
        if one.op_type == "GRU":
            one.input[4] = less
    made.graph.ClearField("node")
    made.graph.node.extend([*moved, *(one for one in nodes if one not in moved)])
    with pytest.raises(ValueError, match=r"GRU node '.*': must read lengths that are an input"):
        load_onnx(saved(made, tmp_path))


def test_steps_that_are_reversed_before_lengths_count(tmp_path: Path) -> None:
    """The graph reverses all steps, Reverse those that count."""
    made = onnx.load_from_string(
        to_onnx(gru.Sequential([gru.Reverse(), gru.GRU(5, 4)])),
    )
    made.graph.input.append(info("lengths", "int32", ["batch"]))
    cell = next(one for one in made.graph.node if one.op_type == "GRU")
    cell.input.append("lengths")
    with pytest.raises(ValueError, match="all steps are reversed before it"):
        load_onnx(saved(made, tmp_path))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_one_unit_comes_back(layers: int, last: bool, tmp_path: Path) -> None:
    """An axis of one unit in each direction changes no product of sizes."""
    rng = np.random.default_rng(12)
    tail = [gru.Last(bidirectional=True)] if last else []
    made = drawn([gru.GRU(4, 1, layers, bidirectional=True), *tail], rng)
    path = saved(to_onnx(made), tmp_path)
    x = rng.normal(size=(BATCH, STEPS, 4)).astype(np.float32)
    np.testing.assert_array_equal(load_onnx(path)(x), made(x))


def test_stacked_layers_come_back_one_by_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    made = drawn([gru.GRU(5, 4, 2, bidirectional=True), gru.Last(bidirectional=True)], rng)
    found = load_onnx(saved(to_onnx(made), tmp_path))
    assert repr(found) == (
        "Sequential([GRU(5, 4, bidirectional=True), GRU(8, 4, bidirectional=True), "
        "Last(bidirectional=True)])"
    )
    x = rng.normal(size=(BATCH, STEPS, 5)).astype(np.float32)
    assert np.array_equal(found(x), made(x))


# --- what is refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "layer_norm": (
        lambda: gru.Sequential([gru.Linear(3, 3), gru.GRU(3, 4, layer_norm=True)]),
        {},
        ValueError,
        r"layers\[1\] has layer_norm=True",
    ),
    "zoneout": (
        lambda: gru.Sequential([gru.LSTM(3, 4, zoneout=0.1)]),
        {},
        ValueError,
        r"layers\[0\] has zoneout=0.1",
    ),
    "masking": (
        lambda: gru.Sequential([gru.Masking(), gru.GRU(3, 4)]),
        {},
        ValueError,
        r"layers\[0\] is Masking\(\), which ONNX's operators cannot say",
    ),
    "halves of what": (
        lambda: gru.Sequential([gru.Last(bidirectional=True)]),
        {},
        ValueError,
        r"layers\[0\] halves features",
    ),
    "opset": (lambda: gru.Sequential([gru.GRU(3, 4)]), {"opset": 13}, ValueError, "from 14 to 24"),
    "a layer": (lambda: gru.GRU(3, 4), {}, TypeError, "model must be a Sequential, got GRU"),
    "lengths": (
        lambda: gru.Sequential([gru.GRU(3, 4)]),
        {"lengths": [1]},
        TypeError,
        "lengths must be True or False",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, options, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        to_onnx(make(), **options)
