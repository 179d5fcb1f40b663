"""Single ONNX nodes read as layers: against onnxruntime and onnx.reference, and what is refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
import reference
from cases import as_state, as_tuple
from foreign import from_onnx, spec_of
from gru.convert.onnx_nodes import load_onnx_node
from reference import Array

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

from onnx_models import STATES, info, model, node, numbers, run, run_slowly, saved  # noqa: E402

DATA = Path(__file__).parent / "data" / "onnx_rnn_node_tests.npz"
FORMS: list[dict[str, Any]] = [
    {"kind": "gru", "linear_before_reset": 0},
    {"kind": "gru", "linear_before_reset": 1},
    {"kind": "lstm"},
    {"kind": "rnn"},
    {"kind": "rnn", "activations": ["Relu"]},
]
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
MATRIX = list(
    itertools.product(FORMS, DIRECTIONS, (False, True), (0, 1), (False, True), (False, True))
)
BATCH, STEPS, WIDTH = 3, 5, 4


def attributes(form: dict[str, Any], direction: str, layout: int) -> dict[str, Any]:
    found = {k: v for k, v in form.items() if k != "kind"} | {"hidden_size": WIDTH}
    if "activations" in found:
        found["activations"] = found["activations"] * DIRECTIONS[direction]
    return found | {"direction": direction, "layout": layout}


def whole_output(y: Array, layout: int) -> Array:
    """Y as (B, T, D*H)."""
    y = y if layout else y.transpose(2, 0, 1, 3)
    return y.reshape(*y.shape[:2], -1)


def answer(
    form: dict[str, Any], direction: str, constants: dict[str, Array], given: dict[str, Array]
) -> tuple[Array, tuple[Array, ...]]:
    """The equations in float64, for a node with layout=1: y (B, T, D*H) and the final states."""
    params = from_onnx(form["kind"], constants["W"], constants["R"], constants.get("B"))
    spec = replace(
        spec_of(form["kind"], params, reset_after=bool(form.get("linear_before_reset"))),
        direction={"bidirectional": "both"}.get(direction, direction),
        nonlinearity="relu" if "activations" in form else "tanh",
    )
    x = given["X"]
    zeros = np.zeros((BATCH, DIRECTIONS[direction], WIDTH))
    states = tuple(given.get(f"initial_{name}", zeros) for name in STATES[form["kind"]])
    valid = reference.valid_steps(*x.shape[:2], given.get("sequence_lens"), None)
    return reference.run(spec, params, x, states, valid)


@pytest.mark.parametrize(
    ("form", "direction", "bias", "layout", "ragged", "state"),
    MATRIX,
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_matrix(
    form: dict[str, Any],
    direction: str,
    bias: bool,
    layout: int,
    ragged: bool,
    state: bool,
    tmp_path: Path,
) -> None:
    """Against onnxruntime in float32, and where it cannot (layout=1) the equations in float64."""
    rng = np.random.default_rng(MATRIX.index((form, direction, bias, layout, ragged, state)))
    kind, directions = form["kind"], DIRECTIONS[direction]
    dtype = np.float64 if layout else np.float32
    constants = {k: v.astype(dtype) for k, v in numbers(kind, rng, directions=directions).items()}
    if not bias:
        del constants["B"]
    shapes = {"X": (BATCH, STEPS, 3)}
    if state:
        shapes |= {f"initial_{name}": (BATCH, directions, WIDTH) for name in STATES[kind]}
    given = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    if ragged:
        given["sequence_lens"] = np.array([STEPS, 1, 3], np.int32)
    fed = (
        given if layout else {k: v.T if v.ndim == 1 else v.swapaxes(0, 1) for k, v in given.items()}
    )
    made = model(
        [node(kind, [*given, *constants], **attributes(form, direction, layout))],
        constants,
        [info(name, value.dtype, value.shape) for name, value in fed.items()],
        [info(name, dtype) for name in ("Y", *(f"Y_{s}" for s in STATES[kind]))],
    )
    layer = load_onnx_node(saved(made, tmp_path))
    states = tuple(value for name, value in given.items() if name.startswith("initial"))
    y, final = layer(given["X"], as_state(states or None), lengths=given.get("sequence_lens"))
    if layout:
        wanted, finals = answer(form, direction, constants, given)
    else:
        found = run(made, {k: np.ascontiguousarray(v) for k, v in fed.items()})
        wanted = whole_output(found["Y"], layout)
        finals = tuple(found[f"Y_{s}"].swapaxes(0, 1) for s in STATES[kind])
    bound = 1e-12 if layout else 1e-6
    np.testing.assert_allclose(y, wanted, rtol=bound, atol=bound)
    for value, one in zip(as_tuple(final), finals, strict=True):
        np.testing.assert_allclose(value, one, rtol=bound, atol=bound)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS[:3], ids=str)
def test_the_onnx_packages_own_reference(
    form: dict[str, Any], direction: str, layout: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    constants = numbers(form["kind"], rng, directions=DIRECTIONS[direction])
    names = ("Y", *(f"Y_{s}" for s in STATES[form["kind"]]))
    made = model(
        [node(form["kind"], ["X", *constants], **attributes(form, direction, layout))],
        constants,
        [info("X", "float64", ["a", "b", 3])],
        [info(name, "float64") for name in names],
    )
    x = rng.normal(size=(BATCH, STEPS, 3))
    found = run_slowly(made, {"X": x if layout else x.swapaxes(0, 1)})
    y, final = load_onnx_node(saved(made, tmp_path))(x)
    np.testing.assert_allclose(y, whole_output(found["Y"], layout), rtol=0, atol=1e-12)
    for value, name in zip(as_tuple(final), names[1:], strict=True):
        wanted = found[name] if layout else found[name].swapaxes(0, 1)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


def test_the_matrix_is_whole() -> None:
    assert len(MATRIX) == 5 * 3 * 2 * 2 * 2 * 2


# --- the standard's own cases ---------------------------------------------------------------------

with np.load(DATA) as file:
    CASES: dict[str, Any] = json.loads(str(file["meta_json"]))
    ARRAYS = {name: file[name] for name in file.files if name != "meta_json"}


def conformance(name: str) -> tuple[Any, dict[str, Array]]:
    about = CASES[name]
    values = {k.removeprefix(name + "/"): v for k, v in ARRAYS.items() if k.startswith(name)}
    constants = {k: values[k] for k in about["inputs"] if k != "X" and k in values}
    one = node(about["op"].lower(), ["X", *constants], **about["attrs"])
    return model([one], constants, [info("X", "float32", values["X"].shape)]), values


@pytest.mark.parametrize("name", [name for name in CASES if "P" not in CASES[name]["inputs"]])
def test_conformance(name: str, tmp_path: Path) -> None:
    made, values = conformance(name)
    layout = CASES[name]["attrs"].get("layout", 0)
    x = values["X"] if layout else np.ascontiguousarray(values["X"].swapaxes(0, 1))
    y, state = load_onnx_node(saved(made, tmp_path))(x)
    wanted = values["Y_h"] if layout else values["Y_h"].swapaxes(0, 1)
    np.testing.assert_allclose(as_tuple(state)[0], wanted, rtol=0, atol=1e-6)
    if "Y" in values:
        np.testing.assert_allclose(y, whole_output(values["Y"], layout), rtol=0, atol=1e-6)


def test_conformance_with_peepholes_is_refused(tmp_path: Path) -> None:
    [name] = [name for name in CASES if "P" in CASES[name]["inputs"]]
    with pytest.raises(ValueError, match=r"model.onnx: LSTM node 'cell' has peepholes \(input P\)"):
        load_onnx_node(saved(conformance(name)[0], tmp_path))


# --- where weights come from ----------------------------------------------------------------------


def tensor(array: Array, name: str, how: str) -> Any:
    """A tensor in one of the ways in which the standard lets a file hold its numbers."""
    kinds = {"float16": 10, "bfloat16": 16, "float32": 1, "float64": 11}
    dtype, where = how.split("-")
    if where == "raw":
        if dtype != "bfloat16":
            return numpy_helper.from_array(array.astype(dtype), name)
        bits = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return helper.make_tensor(name, 16, array.shape, bits.tobytes(), raw=True)
    made = onnx.TensorProto(name=name, dims=array.shape, data_type=kinds[dtype])
    flat = array.reshape(-1)
    if dtype == "float32":
        made.float_data.extend(flat)
    elif dtype == "float64":
        made.double_data.extend(flat)
    else:
        wide = flat.astype(np.float16).view(np.uint16)
        if dtype == "bfloat16":
            wide = (flat.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        made.int32_data.extend(wide.tolist())
    return made


HOWS = [f"{d}-{w}" for d in ("float16", "bfloat16", "float32", "float64") for w in ("raw", "typed")]


@pytest.mark.parametrize("how", HOWS)
def test_dtypes(how: str, tmp_path: Path) -> None:
    constants = numbers("gru", np.random.default_rng(3))
    made = model(
        [node("gru", ["X", *constants])], {n: tensor(a, n, how) for n, a in constants.items()}
    )
    layer = load_onnx_node(saved(made, tmp_path))
    dtype = how.split("-")[0]
    assert layer.dtype == ("float64" if dtype == "float64" else "float32")
    wanted = constants["W"][0, WIDTH : 2 * WIDTH]  # r
    if dtype == "bfloat16":
        wanted = (wanted.astype(np.float32).view(np.uint32) >> 16 << 16).view(np.float32)
    wanted = wanted if dtype == "bfloat16" else wanted.astype(dtype)
    assert np.array_equal(layer.parameters["weight_ih_l0"][:WIDTH], wanted)


def op(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], **attributes)


def test_weights_through_operators(tmp_path: Path) -> None:
    """W, R and B as exporters make them: rows cut out and joined, axes added, types changed."""
    c = {k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(4)).items()}
    z, r, n = np.split(c["W"][0], 3)
    constants = {
        "rzn": np.concatenate([r, z, n]).astype(np.float64),
        "R_T": np.ascontiguousarray(c["R"][0].T),
        "B_ih": c["B"][0, :12],
        "B_hh": c["B"][0, 12:],
        "0": np.array([0]),
        "4": np.array([4]),
        "8": np.array([8]),
        "12": np.array([12]),
        "shape": np.array([1, -1]),
        "batch": np.array(1),
    }
    nodes = [
        op("Slice", ["rzn", "0", "4", "0"], "r"),
        op("Slice", ["rzn", "4", "8", "0"], "z"),
        op("Slice", ["rzn", "8", "12", "0"], "n"),
        op("Concat", ["z", "r", "n"], "zrn", axis=0),
        op("Cast", ["zrn"], "narrow", to=1),
        op("Unsqueeze", ["narrow", "0"], "W"),
        op("Transpose", ["R_T"], "turned", perm=[1, 0]),
        op("Identity", ["turned"], "same"),
        op("Unsqueeze", ["same", "0"], "R"),
        op("Constant", [], "zero", value=numpy_helper.from_array(np.zeros(24, np.float32))),
        op("Concat", ["B_ih", "B_hh"], "flat", axis=0),
        op("Reshape", ["flat", "shape"], "wide"),
        op("Squeeze", ["wide", "0"], "narrow_b"),
        op("Unsqueeze", ["narrow_b", "0"], "B"),
        node("gru", ["X", "W", "R", "B"], hidden_size=4),
    ]
    layer = load_onnx_node(saved(model(nodes, constants), tmp_path))
    wanted = load_onnx_node(saved(model([node("gru", ["X", *c])], c), tmp_path, "plain.onnx"))
    for name, value in wanted.parameters.items():
        assert layer.parameters[name].tobytes() == value.tobytes(), name


def test_inside_an_if_with_weights_outside(tmp_path: Path) -> None:
    c = {k: v.astype(np.float32) for k, v in numbers("lstm", np.random.default_rng(5)).items()}
    branches = {}
    for name in ("then_branch", "else_branch"):
        inner = helper.make_node(
            "LSTM", ["X", "W", "R", "B"], [f"Y_{name}"], name=f"{name}/cell", hidden_size=4
        )
        branches[name] = helper.make_graph([inner], name, [], [info(f"Y_{name}")])
    made = model([op("If", ["which"], "Y", **branches)], c, ["X", info("which", bool, [])])
    path = saved(made, tmp_path)
    with pytest.raises(
        ValueError, match=r"which of its 2 recurrent nodes is meant: 'else_branch/c"
    ):
        load_onnx_node(path)
    x = np.random.default_rng(6).normal(size=(5, 2, 3)).astype(np.float32)
    y, _ = load_onnx_node(path, "else_branch/cell")(np.ascontiguousarray(x.swapaxes(0, 1)))
    found = run(made, {"X": x, "which": np.array(False)})["Y"]
    np.testing.assert_allclose(y, whole_output(found, 0), rtol=0, atol=1e-6)


def test_names(tmp_path: Path) -> None:
    """A node without a name goes by its first output; two of one name do too."""
    c = {k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(5)).items()}
    nodes = [
        helper.make_node("GRU", ["X", "W", "R"], [f"y{i}"], name="same" * (i > 0)) for i in range(3)
    ]
    path = saved(model(nodes, c, outputs=["y0"]), tmp_path)
    assert load_onnx_node(path, "y0").hidden_size == load_onnx_node(path, "y2").hidden_size == 4
    with pytest.raises(ValueError, match=r"2 nodes are called 'same'; .* as 'y1', 'y2'"):
        load_onnx_node(path, "same")
    with pytest.raises(ValueError, match=r"no recurrent node is called 'gru'; it has 'y0' \(GRU\)"):
        load_onnx_node(path, "gru")


def test_external_data_in_the_folder(tmp_path: Path) -> None:
    """The file itself is small then, and its arrays take many times its size."""
    rng = np.random.default_rng(7)
    c = {k: v.astype(np.float32) for k, v in numbers("gru", rng, inputs=400, hidden=200).items()}
    made = model([node("gru", ["X", *c])], c)
    wanted = load_onnx_node(saved(made, tmp_path))
    onnx.save(
        made,
        tmp_path / "apart.onnx",
        save_as_external_data=True,
        location="data.bin",
        size_threshold=0,
    )
    found = load_onnx_node(tmp_path / "apart.onnx")
    for name, value in wanted.parameters.items():
        assert np.array_equal(found.parameters[name], value)


# --- initial states -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_constant_initial_state(kind: str, layout: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    c = {k: v.astype(np.float32) for k, v in numbers(kind, rng, directions=2).items()}
    shape = (1, 2, WIDTH) if layout else (2, 1, WIDTH)
    c["initial_h"] = rng.normal(size=shape).astype(np.float32)
    one = node(kind, ["X", *c], direction="bidirectional", layout=layout)
    path = saved(model([one], c), tmp_path)
    with pytest.raises(ValueError, match=r"starts from a constant state .*with_state=True"):
        load_onnx_node(path)
    layer, state = load_onnx_node(path, with_state=True)
    h, *cell = as_tuple(state)
    assert np.array_equal(h, c["initial_h"] if layout else c["initial_h"].swapaxes(0, 1))
    assert len(cell) == (kind == "lstm")
    assert not any(value.any() for value in cell)
    x = rng.normal(size=(1, STEPS, 3)).astype(np.float32)
    y, _ = layer(x, state)
    turned = {"X": np.ascontiguousarray(x.swapaxes(0, 1))}
    one = node(kind, ["X", *c], direction="bidirectional", hidden_size=WIDTH)
    c["initial_h"] = np.ascontiguousarray(h.swapaxes(0, 1))
    wanted = whole_output(run(model([one], c), turned)["Y"], 0)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_state_of_the_batchs_size(value: float, tmp_path: Path) -> None:
    """As exporters write zeros: the shape is taken from the input."""
    c = {k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(9)).items()}
    filled = numpy_helper.from_array(np.array([value], np.float32))
    nodes = [
        op("Shape", ["X"], "sizes"),
        op("Slice", ["sizes", "1", "2"], "b"),
        op("Concat", ["1", "b", "4"], "shape", axis=0),
        op("ConstantOfShape", ["shape"], "initial_h", value=filled),
        node("gru", ["X", *c, "initial_h"]),
    ]
    more = {"1": np.array([1]), "2": np.array([2]), "4": np.array([4])}
    path = saved(model(nodes, c | more), tmp_path)
    layer, state = load_onnx_node(path, with_state=True)
    assert isinstance(layer, gru.GRU)
    if value:
        assert np.array_equal(state, np.full((1, 1, 4), value, np.float32))
    else:
        assert state is None
        load_onnx_node(path)


# --- what is refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "clip": ("gru", {"clip": 3.0}, "GRU node 'cell' has clip=3, which the engine lacks"),
    "input_forget": ("lstm", {"input_forget": 1}, "has input_forget=1"),
    "functions": (
        "gru",
        {"activations": ["HardSigmoid", "Tanh"]},
        r"activations must be \['Sigmoid', 'Tanh'\], got \['HardSigmoid', 'Tanh'\]",
    ),
    "too few functions": ("lstm", {"activations": ["Sigmoid"]}, "activations must be"),
    "mixed functions": (
        "rnn",
        {"activations": ["Tanh", "Relu"], "direction": "bidirectional"},
        r"must be \['Tanh', 'Tanh'\] or \['Relu', 'Relu'\]",
    ),
    "direction": ("gru", {"direction": "both"}, "direction must be of forward, reverse"),
    "layout": ("gru", {"layout": 2}, "layout must be 0 or 1, got 2"),
    "linear_before_reset": ("gru", {"linear_before_reset": 7}, "must be 0 or 1, got 7"),
    "a float": ("gru", {"linear_before_reset": 1.0}, "linear_before_reset must be of type int"),
    "of another cell": ("rnn", {"linear_before_reset": 1}, "'linear_before_reset', which is not"),
    "unknown": ("gru", {"output_sequence": 1}, "has the attribute 'output_sequence'"),
    "hidden_size": (
        "gru",
        {"hidden_size": 5},
        r"R must have shape \(1, any, 5\), got \(1, 12, 4\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    kind, given, message = REFUSED[name]
    directions = DIRECTIONS.get(given.get("direction", ""), 1)
    c = {
        k: v.astype(np.float32)
        for k, v in numbers(kind, np.random.default_rng(1), directions=directions).items()
    }
    path = saved(model([node(kind, ["X", *c], **given)], c), tmp_path)
    with pytest.raises(ValueError, match=f"model.onnx: .*{message}"):
        load_onnx_node(path)


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    (
        "gru",
        {"activations": ["sigmoid", "TANH"], "activation_alpha": [0.5], "direction": "FORWARD"},
    ),
    ("lstm", {"activations": ["Sigmoid", "Tanh", "Tanh"], "input_forget": 0}),
    ("rnn", {"activations": ["relu"], "activation_beta": [1.0]}),
]


@pytest.mark.parametrize(("kind", "given"), ALLOWED)
def test_allowed(kind: str, given: dict[str, Any], tmp_path: Path) -> None:
    """Functions without regard to case, and numbers that none of them takes."""
    c = {k: v.astype(np.float32) for k, v in numbers(kind, np.random.default_rng(1)).items()}
    layer = load_onnx_node(saved(model([node(kind, ["X", *c], **given)], c), tmp_path))
    assert layer.spec["kind"] == kind
    assert layer.spec.get("nonlinearity") == ("relu" if kind == "rnn" else None)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "R of no three axes": ({"R": np.zeros((12, 4), np.float32)}, "R must have shape"),
    "W of four gates": (
        {"W": np.zeros((1, 16, 3), np.float32)},
        r"W must have shape \(1, 12, any\)",
    ),
    "B of one bias": ({"B": np.zeros((1, 12), np.float32)}, r"B must have shape \(1, 24\)"),
    "two directions": ({"R": np.zeros((2, 12, 4), np.float32)}, "R must have shape"),
    "integers": ({"W": np.zeros((1, 12, 3), np.int64)}, "W must hold floating-point numbers"),
    "mixed": ({"B": np.zeros((1, 24), np.float64)}, "must have one dtype, got float32, float64"),
    "no W": ({"W": None}, r"W 'W' must be a constant of the file, but is given nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_add_up(name: str, tmp_path: Path) -> None:
    c = {k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(1)).items()}
    changed, message = WRONG[name]
    one = node("gru", ["X", *c])
    made = model([one], {k: v for k, v in (c | changed).items() if v is not None})
    with pytest.raises(ValueError, match=f"model.onnx: GRU node 'cell'.*{message}"):
        load_onnx_node(saved(made, tmp_path))


def test_a_weight_that_is_computed_later(tmp_path: Path) -> None:
    c = {k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(1)).items()}
    w = c.pop("W")
    nodes = [op("Relu", ["W_"], "W"), node("gru", ["X", "W", *c])]
    with pytest.raises(ValueError, match=r"W 'W' must be a constant .* comes from Relu node 'W'"):
        load_onnx_node(saved(model(nodes, c | {"W_": w}), tmp_path))


def test_constant_lengths_are_refused(tmp_path: Path) -> None:
    """A layer takes lengths with each call: those of the file would be dropped without a word."""
    constants = {
        k: v.astype(np.float32) for k, v in numbers("gru", np.random.default_rng(0)).items()
    }
    constants["sequence_lens"] = np.array([7, 5, 3], np.int32)
    made = model([node("gru", ["X", *constants], hidden_size=4)], constants)
    with pytest.raises(ValueError, match=r"GRU node 'cell': has constant sequence_lens"):
        load_onnx_node(saved(made, tmp_path))
