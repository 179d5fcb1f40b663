"""The Python handles of layers: parameters, freezing, seeds, pickling; no cell math."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gru
from gru.layer import Layer

MAKERS: dict[str, Callable[..., Any]] = {
    "gru": lambda **k: gru.GRU(3, 4, 2, bidirectional=True, **k),
    "article": lambda **k: gru.GRU(3, 4, reset_after=False, update_gate="new", **k),
    "lstm": lambda **k: gru.LSTM(3, 4, **k),
    "rnn": lambda **k: gru.RNN(3, 4, nonlinearity="relu", bias=False, **k),
    "linear": lambda **k: gru.Linear(3, 4, **k),
}


def inputs(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 5, 3)).astype(dtype)


def output(layer: Any, x: np.ndarray) -> np.ndarray:
    y = layer(x)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", MAKERS)
def test_one_seed_one_start(name: str) -> None:
    a, b, c = (MAKERS[name](seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a.parameters[key], b.parameters[key]) for key in a.parameters)
    assert not any(np.array_equal(a.parameters[key], c.parameters[key]) for key in a.parameters)


@pytest.mark.parametrize("name", MAKERS)
def test_both_dtypes_start_alike(name: str) -> None:
    a, b = MAKERS[name](seed=3), MAKERS[name](seed=3, dtype="float64")
    for key, value in b.parameters.items():
        assert value.dtype == np.float64
        assert np.array_equal(a.parameters[key], value.astype(np.float32))


@pytest.mark.parametrize("init", ["uniform", "glorot", "orthogonal"])
@pytest.mark.parametrize("name", MAKERS)
def test_first_values(name: str, init: str) -> None:
    layer = MAKERS[name](seed=0, init=init, dtype=np.float64)
    for key, value in layer.parameters.items():
        if init == "uniform":
            bound = 3**-0.5 if name == "linear" else 0.5
            assert 0.3 * bound < np.abs(value).max() <= bound
        elif value.ndim == 1:
            assert not value.any()
        elif init == "orthogonal" and "hh" in key:
            for gate in value.reshape(-1, 4, 4):
                np.testing.assert_allclose(gate @ gate.T, np.eye(4), atol=1e-14)
        else:
            assert np.abs(value).max() <= np.sqrt(6 / (4 + value.shape[1]))


def test_embedding_starts_normal() -> None:
    table = gru.Embedding(200, 50, seed=0).parameters["weight"]
    assert abs(table.mean()) < 0.05
    assert table.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", MAKERS)
def test_edits_are_seen(name: str) -> None:
    layer, x = MAKERS[name](seed=0), inputs()
    before = output(layer, x)
    view = layer.parameters[next(iter(layer.parameters))]
    view *= 1.5
    assert not np.array_equal(output(layer, x), before)
    view /= 1.5
    np.testing.assert_allclose(output(layer, x), before, rtol=1e-5, atol=1e-6)


def test_assignment_copies() -> None:
    layer = gru.GRU(3, 4)
    values = np.ones((12, 3), np.float32)
    layer.parameters["weight_ih_l0"] = values
    values[:] = 2.0
    assert (layer.parameters["weight_ih_l0"] == 1.0).all()
    layer.parameters["weight_ih_l0"] += 1.0
    assert (layer.parameters["weight_ih_l0"] == 2.0).all()
    layer.parameters.update(bias_ih_l0=np.zeros(12, np.float32))
    assert not layer.parameters["bias_ih_l0"].any()


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "weight_hh_l0",
            np.zeros((4, 12), np.float32),
            ValueError,
            r"weight_hh_l0 must have shape \(12, 4\), got \(4, 12\)",
        ),
        ("weight_hh_l0", np.zeros((12, 4)), TypeError, r"must be float32, got float64; .*astype"),
        ("bias_hh_l0", 0.0, ValueError, r"bias_hh_l0 must have shape \(12,\), got \(\)"),
        ("weights", np.zeros(3), KeyError, "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0"),
    ],
)
def test_bad_assignments(name: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gru.GRU(3, 4).parameters[name] = value


def test_parameters_cannot_be_deleted() -> None:
    with pytest.raises(TypeError, match="cannot be deleted"):
        del gru.GRU(3, 4).parameters["bias_hh_l0"]


@pytest.mark.parametrize("name", MAKERS)
def test_freezing(name: str) -> None:
    layer, x = MAKERS[name](seed=0), inputs()
    before = output(layer, x)
    old = layer.parameters[next(iter(layer.parameters))]
    assert not layer.frozen
    layer.freeze()
    assert layer.frozen
    old[...] = 0.0  # left behind: must not be seen
    assert np.array_equal(output(layer, x), before)
    key = next(iter(layer.parameters))
    with pytest.raises(ValueError, match="frozen layer; call unfreeze"):
        layer.parameters[key] = layer.parameters[key].copy()
    with pytest.raises(ValueError, match="read-only"):
        layer.parameters[key][...] = 0.0
    layer.unfreeze()
    assert np.array_equal(output(layer, x), before)
    layer.parameters[key][...] = 0.0
    assert not np.array_equal(output(layer, x), before)


def duplicates() -> dict[str, Callable[[Any], Any]]:
    return {
        "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
    }


@pytest.mark.parametrize("way", duplicates())
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_duplicates_are_equal_and_apart(name: str, frozen: bool, way: str) -> None:
    layer, x = MAKERS[name](seed=0, dtype="float64"), inputs("float64")
    if frozen:
        layer.freeze()
    twin = duplicates()[way](layer)
    assert repr(twin) == repr(layer)
    assert twin.frozen == frozen
    assert np.array_equal(output(twin, x), output(layer, x))
    twin.unfreeze()
    twin.parameters[next(iter(twin.parameters))][...] = 0.0
    assert not np.array_equal(output(twin, x), output(layer, x))


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (gru.GRU(3, 4), "GRU(3, 4)"),
        (
            gru.GRU(3, 4, 2, dropout=0.5, dtype=np.float64),
            "GRU(3, 4, num_layers=2, dropout=0.5, dtype='float64')",
        ),
        (
            gru.GRU(3, 4, reset_after=False, update_gate="new"),
            "GRU(3, 4, reset_after=False, update_gate='new')",
        ),
        (
            gru.LSTM(3, 4, bias=False, bidirectional=True),
            "LSTM(3, 4, bidirectional=True, bias=False)",
        ),
        (gru.RNN(3, 4, nonlinearity="relu"), "RNN(3, 4, nonlinearity='relu')"),
        (gru.Embedding(9, 4), "Embedding(9, 4)"),
        (gru.Linear(9, 4, bias=False), "Linear(9, 4, bias=False)"),
        (gru.Activation("relu"), "Activation('relu')"),
        (gru.Dropout(0.25), "Dropout(rate=0.25)"),
        (gru.Last(bidirectional=True), "Last(bidirectional=True)"),
        (gru.Mean(), "Mean()"),
    ],
)
def test_repr_is_the_call(layer: Layer, shown: str) -> None:
    assert repr(layer) == shown


def test_attributes() -> None:
    layer = gru.GRU(3, 4, 2, bidirectional=True, bias=False, dropout=0.5, update_gate="new")
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 4, 2)
    assert (layer.bidirectional, layer.bias, layer.dropout) == (True, False, 0.5)
    assert (layer.reset_after, layer.update_gate, layer.dtype) == (True, "new", "float32")
    with pytest.raises(AttributeError, match="hidden_size is fixed"):
        layer.hidden_size = 5


@pytest.mark.parametrize("dtype", ["float16", np.int32, None, ">f4", "no such"])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        gru.GRU(3, 4, dtype=dtype)


def test_unknown_init() -> None:
    with pytest.raises(ValueError, match="init must be one of 'uniform', 'glorot', 'orthogonal'"):
        gru.GRU(3, 4, init="he")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_without_parameters_take_both_dtypes(dtype: str) -> None:
    x = inputs(dtype)
    for layer in (gru.Activation("tanh"), gru.Dropout(0.5), gru.Last(), gru.Mean(), gru.Max()):
        y, tape = layer.forward(x)
        dx, gradients = layer.backward(tape, np.ones_like(y))
        assert layer(x).dtype == y.dtype == dx.dtype == dtype
        assert gradients == {}
        assert layer.dtype is None
        assert not layer.frozen


def test_dropout_masks_differ_and_follow_from_the_seed() -> None:
    x = np.ones((1, 4, 100), np.float32)
    a, b = gru.Dropout(0.5, seed=1), gru.Dropout(0.5, seed=1)
    first, second = a.forward(x)[0], a.forward(x)[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(first, b.forward(x)[0])
    assert np.array_equal(second, b.forward(x)[0])
    twin = pickle.loads(pickle.dumps(a))
    assert np.array_equal(a.forward(x)[0], twin.forward(x)[0])
    assert np.array_equal(a(x), x)


def test_dropout_between_layers_differs_call_by_call() -> None:
    layer, x = gru.GRU(3, 16, 2, dropout=0.5, seed=1), inputs()
    assert not np.array_equal(layer.forward(x)[0], layer.forward(x)[0])
    assert np.array_equal(layer(x)[0], layer(x)[0])


def test_embedding_has_no_input_gradient() -> None:
    layer = gru.Embedding(5, 2, seed=0)
    y, tape = layer.forward(np.array([[1, 1, 4]]))
    dx, gradients = layer.backward(tape, np.ones_like(y))
    assert dx is None
    assert gradients["weight"].tolist() == [[0, 0], [2, 2], [0, 0], [0, 0], [1, 1]]


CELLS = {"gru": 3, "lstm": 4, "rnn": 1}
LAYERS = {"gru": gru.GRU, "lstm": gru.LSTM, "rnn": gru.RNN}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_functions_agree_with_layers(cell: str, bias: bool) -> None:
    layer, x = LAYERS[cell](3, 4, bias=bias, seed=0, dtype="float64"), inputs("float64")
    arrays = list(layer.parameters.values())
    y, state, tape = layer.forward(x, lengths=[5, 3])
    ones = np.ones_like(y)
    dx, dstate, gradients = layer.backward(tape, ones)
    y2, state2 = getattr(gru, f"{cell}_forward")(x, *arrays, lengths=[5, 3])
    y3, state3, tape3 = getattr(gru, f"{cell}_forward_train")(x, *arrays, lengths=[5, 3])
    result = getattr(gru, f"{cell}_backward")(tape3, ones)
    assert np.array_equal(y, y2)
    assert np.array_equal(y, y3)
    assert np.array_equal(np.stack(state), np.stack(state2))
    assert np.array_equal(np.stack(state), np.stack(state3))
    assert np.array_equal(dx, result["x"])
    assert np.array_equal(np.stack(dstate), np.stack(result["state"]))
    for name, gradient in gradients.items():
        assert np.array_equal(gradient, result[name.removesuffix("_l0")])
    assert len(result) == 2 + len(gradients)


def test_reverse_is_reading_from_the_end() -> None:
    layer, x = gru.GRU(3, 4, seed=0, dtype="float64"), inputs("float64")
    arrays = list(layer.parameters.values())
    y, _ = gru.gru_forward(x, *arrays, reverse=True)
    assert np.array_equal(y, layer(np.ascontiguousarray(x[:, ::-1]))[0][:, ::-1])
    _, _, tape = gru.gru_forward_train(x, *arrays, reverse=True)
    assert set(gru.gru_backward(tape, y)) == {
        "x",
        "state",
        "weight_ih",
        "weight_hh",
        "bias_ih",
        "bias_hh",
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((2, 5, 3), int)}, TypeError, "x must be a float32 or float64 array"),
        ({"x": [[1.0]]}, TypeError, "x must be a float32 or float64 array, got list"),
        ({"weight_ih": np.zeros((3, 3))}, ValueError, r"weight_ih must have shape \(12, 3\)"),
        ({"weight_hh": np.zeros(12)}, ValueError, "weight_hh must have two axes"),
        ({"weight_hh": np.zeros((12, 4), np.float32)}, TypeError, "weight_hh must be float64"),
        ({"bias_ih": None}, ValueError, "must be given together"),
        ({"bias_hh": np.zeros(4)}, ValueError, r"bias_hh must have shape \(12,\), got \(4,\)"),
    ],
)
def test_functions_name_bad_arguments(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = {
        "x": np.zeros((2, 5, 3)),
        "weight_ih": np.zeros((12, 3)),
        "weight_hh": np.zeros((12, 4)),
        "bias_ih": np.zeros(12),
        "bias_hh": np.zeros(12),
    }
    with pytest.raises(error, match=message):
        gru.gru_forward(**{**good, **change})


def test_tapes_of_another_cell_are_refused() -> None:
    *_, tape = gru.rnn_forward_train(np.zeros((1, 2, 3)), np.zeros((4, 3)), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="tape must come from gru_forward_train, got one of rnn"):
        gru.gru_backward(tape, np.zeros((1, 2, 4)))
