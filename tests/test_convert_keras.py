"""Models that Keras saved give in gru what Keras computes: every cell, direction and option."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gru
from keras_models import L, filled, keras, run, sequential
from reference import Array

# Keras hands PyTorch's tensors to NumPy in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "gru-after": ("GRU", {"reset_after": True}),
    "gru-before": ("GRU", {"reset_after": False}),
    "lstm": ("LSTM", {}),
    "rnn-tanh": ("SimpleRNN", {}),
    "rnn-relu": ("SimpleRNN", {"activation": "relu"}),
}


class Case(NamedTuple):
    """One recurrent layer in a model."""

    cell: str
    direction: str
    bias: bool
    sequences: bool
    masked: str

    def __str__(self) -> str:
        shown = "bias" if self.bias else "plain", "all" if self.sequences else "last"
        return "-".join([self.cell, self.direction, *shown, self.masked])


CASES = [
    case
    for case in map(
        Case._make,
        product(
            CELLS,
            ("forward", "backwards", "both"),
            (True, False),
            (True, False),
            ("whole", "masking", "mask_zero"),
        ),
    )
    if not (case.direction == "backwards" and case.sequences and case.masked != "whole")
]

WHOLE = [case for case in CASES if case.masked == "whole"]


def recurrent(case: Case, units: int = 4, name: str | None = None) -> Any:
    kind, options = CELLS[case.cell]
    both = case.direction == "both"
    layer = getattr(L, kind)(
        units,
        use_bias=case.bias,
        return_sequences=case.sequences,
        go_backwards=case.direction == "backwards",
        **options,
        name=None if both else name,
    )
    return L.Bidirectional(layer, name=name) if both else layer


def inputs(case: Case, dtype: str) -> tuple[Array, Array]:
    """x, or tokens, and which steps count: with holes, and never none."""
    rng = np.random.default_rng(5)
    counts = rng.random((6, 9)) < (0.6 if case.masked != "whole" else 2)
    counts[:, 4] = True
    if case.masked == "mask_zero":
        return np.where(counts, rng.integers(1, 8, counts.shape), 0), counts
    x = np.where(counts[..., None], rng.normal(size=(6, 9, 3)), -2.0)
    return x.astype(dtype), counts


def model_of(case: Case) -> Any:
    first = {
        "whole": [],
        "masking": [L.Masking(-2.0)],
        "mask_zero": [L.Embedding(8, 3, mask_zero=True)],
    }[case.masked]
    after = [L.TimeDistributed(L.Dense(3, activation="tanh"))] if case.sequences else []
    layers = [*first, recurrent(case), *after, L.Dense(2)]
    return sequential(layers, None if case.masked == "mask_zero" else 3)


def set_precision(name: str) -> None:
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)


@pytest.fixture
def floats(request: pytest.FixtureRequest) -> Any:
    set_precision(request.param)
    yield request.param
    set_precision("float32")


def agree(model: Any, path: Path, x: Array, counts: Array | None = None) -> Any:
    """Save, open, and compare at the steps that count."""
    model.save(path)
    loaded, wanted = gru.load_keras(path), run(model, x)
    found = loaded(x)
    if counts is not None and found.ndim == 3:
        found, wanted = found[counts], wanted[counts]
    assert found.dtype == wanted.dtype == loaded.dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE[loaded.dtype])
    return loaded


def test_every_form_is_here() -> None:
    assert len(CASES) == 5 * 3 * 2 * 2 * 3 - 5 * 2 * 2


@pytest.mark.parametrize("floats", TOLERANCE, indirect=True)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_keras_agrees(case: Case, floats: str, tmp_path: Path) -> None:
    x, counts = inputs(case, floats)
    agree(model_of(case), tmp_path / "model.keras", x, counts)


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_keras_agrees_with_its_old_format(case: Case, tmp_path: Path) -> None:
    x, counts = inputs(case, "float32")
    agree(model_of(case), tmp_path / "model.h5", x, counts)


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_a_layer_alone_is_the_model(case: Case, tmp_path: Path) -> None:
    """``load_keras_layers`` gives all outputs; Keras turns those of go_backwards round."""
    layer = recurrent(case, name="mine")
    model = sequential([layer])
    x, _ = inputs(case._replace(masked="whole"), "float32")
    wanted = run(model, x)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        found = gru.load_keras_layers(tmp_path / name)
        assert list(found) == ["mine"]
        assert found["mine"].reverse == (case.direction == "backwards")
        y, _ = found["mine"](x)
        if found["mine"].reverse:
            y = y[:, ::-1]
        if not case.sequences:
            half = y.shape[2] // 2 if case.direction == "both" else y.shape[2]
            y = np.concatenate([y[:, -1, :half], y[:, 0, half:]], axis=1)
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_weights_alone(case: Case, tmp_path: Path) -> None:
    """Without a configuration, the same numbers: what shapes do not tell is given."""
    model = sequential([recurrent(case, name="mine")])
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    options = {}
    if case.cell.startswith("gru") and not case.bias:
        options["reset_after"] = case.cell == "gru-after"
    if case.cell.startswith("rnn"):
        options["nonlinearity"] = case.cell.removeprefix("rnn-")
    (wanted,) = gru.load_keras_layers(tmp_path / "m.keras").values()
    ((name, found),) = gru.load_keras_layers(
        tmp_path / "m.weights.h5", standard=True, **options
    ).items()
    assert name == "mine"
    assert {**found.spec, "direction": ""} == {**wanted.spec, "direction": ""}
    for key, value in wanted.parameters.items():
        np.testing.assert_array_equal(found.parameters[key], value)


# --- chains ---------------------------------------------------------------------------------------

CHAINS: dict[str, tuple[list[Any], str]] = {
    "stack": (
        [
            L.GRU(4, return_sequences=True),
            L.BatchNormalization(),
            L.Dropout(0.4),
            L.Bidirectional(L.LSTM(3, return_sequences=True)),
            L.SpatialDropout1D(0.3),
            L.SimpleRNN(5),
            L.BatchNormalization(axis=1, epsilon=0.01),
            L.Dense(3, use_bias=False, activation="relu"),
            L.Dense(2, activation="softmax"),
        ],
        "GRU Affine Dropout LSTM RNN Last Affine Linear Activation Linear Activation",
    ),
    "average": (
        [L.GRU(4, return_sequences=True), L.GlobalAveragePooling1D(), L.Dense(2, "sigmoid")],
        "GRU Mean Linear Activation",
    ),
    "maximum": (
        [L.GaussianNoise(0.1), L.LSTM(4, return_sequences=True), L.GlobalMaxPooling1D()],
        "LSTM Max",
    ),
    "normalised": (
        [
            L.BatchNormalization(scale=False),
            L.GRU(4, return_sequences=True),
            L.BatchNormalization(center=False, axis=2),
            L.Activation("tanh"),
            L.ReLU(),
            L.Softmax(),
        ],
        "Affine GRU Affine Activation Activation Activation",
    ),
    "nested": (
        [
            keras.Sequential([L.GRU(4, return_sequences=True), L.Dense(3)], name="inside"),
            L.GRU(2, unroll=False, implementation=1, stateful=False),
        ],
        "GRU Linear GRU Last",
    ),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", CHAINS)
def test_chain(name: str, suffix: str, tmp_path: Path) -> None:
    layers, kinds = CHAINS[name]
    model = sequential([layer.__class__.from_config(layer.get_config()) for layer in layers])
    x = np.random.default_rng(1).normal(size=(4, 7, 3)).astype(np.float32)
    loaded = agree(model, tmp_path / f"m{suffix}", x)
    found = [type(layer).__name__ for layer in loaded.layers]
    assert found == kinds.split()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("masked", ["whole", "masking", "mask_zero"])
def test_functional_chain(masked: str, suffix: str, tmp_path: Path) -> None:
    case = Case("gru-after", "both", True, True, masked)
    x, counts = inputs(case, "float32")
    first = keras.Input((None,) if masked == "mask_zero" else (None, 3))
    y = {"whole": lambda x: x, "masking": L.Masking(-2.0)}.get(
        masked, L.Embedding(8, 3, mask_zero=True)
    )(first)
    y = L.Bidirectional(L.GRU(4, return_sequences=True))(y)
    y = L.Dense(3)(L.Dropout(0.1)(L.BatchNormalization()(y)))
    model = filled(keras.Model(first, L.LSTM(2)(y)))
    agree(model, tmp_path / f"m{suffix}", x, counts)


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_the_mean_leaves_out_what_a_mask_does(direction: str, tmp_path: Path) -> None:
    case = Case("gru-after", direction, True, True, "masking")
    x, _ = inputs(case, "float32")
    layers = [L.Masking(-2.0), L.Dense(3), recurrent(case), L.BatchNormalization(), L.Dense(2)]
    agree(sequential([*layers, L.GlobalAveragePooling1D()]), tmp_path / "m.keras", x)


def test_the_source_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    model = sequential([L.GRU(4, name="mine"), L.Dense(2, name="head")])
    loaded = agree(model, path, np.ones((1, 2, 3), np.float32))
    source = json.loads(loaded.metadata["source"])
    assert source["format"] == "keras"
    assert source["file"] == "m.keras"
    assert source["found"] == [
        "layer 'mine' (GRU): GRU(3, 4), Last()",
        "layer 'head' (Dense): Linear(4, 2)",
    ]


def test_rates_of_dropout_are_kept(tmp_path: Path) -> None:
    model = sequential([L.GRU(4, dropout=0.25, recurrent_dropout=0.5), L.Dropout(0.125)])
    model.save(tmp_path / "m.keras")
    layer, _, dropout = gru.load_keras(tmp_path / "m.keras").layers
    assert isinstance(layer, gru.GRU)
    assert isinstance(dropout, gru.Dropout)
    assert (layer.input_dropout, layer.recurrent_dropout, dropout.rate) == (0.25, 0.5, 0.125)


def test_mixed_precision_keeps_its_weights(tmp_path: Path) -> None:
    layer = L.GRU(4, name="mine", dtype="mixed_bfloat16")
    model = sequential([layer])
    model.save(tmp_path / "m.keras")
    found = gru.load_keras_layers(tmp_path / "m.keras")["mine"]
    wanted = keras.ops.convert_to_numpy(layer.weights[1]).T
    z, r, n = np.split(wanted, 3)
    np.testing.assert_array_equal(found.parameters["weight_hh_l0"], np.concatenate([r, z, n]))


def test_directions_of_other_sizes_are_refused(tmp_path: Path) -> None:
    backward = L.GRU(5, return_sequences=True, go_backwards=True)
    both = L.Bidirectional(L.GRU(4, return_sequences=True), backward_layer=backward)
    keras.Sequential([L.Input((6, 3)), both]).save(tmp_path / "m.keras")
    with pytest.raises(gru.UnsupportedError, match="directions must have the same number of units"):
        gru.load(tmp_path / "m.keras")


def test_layers_of_any_model(tmp_path: Path) -> None:
    """A model that is no chain, with layers gru lacks, one inside another, two of one name."""
    x = keras.Input((12, 3))
    inside = keras.Sequential([L.Input((12, 4)), L.GRU(4, return_sequences=True, name="same")])
    y = L.Conv1D(4, 3, padding="causal")(x)
    one = L.Bidirectional(L.LSTM(5, name="forth"), name="both")(y)
    two = L.GRU(2, name="same", go_backwards=True, reset_after=False)(inside(y))
    model = filled(keras.Model(x, L.Concatenate()([one, two])))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 12, 3)), np.ones((2, 12)), verbose=0)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        found = gru.load_keras_layers(tmp_path / name)
        assert set(found) == {"both", f"{inside.name}/same", "same"}
        assert found["same"].reverse
        assert isinstance(found["both"], gru.LSTM)
        middle = keras.Model(x, y)
        data = np.random.default_rng(3).normal(size=(2, 12, 3)).astype(np.float32)
        between = run(middle, data)
        y_both, _ = found["both"](between)
        last = np.concatenate([y_both[:, -1, :5], y_both[:, 0, 5:]], axis=1)
        between, _ = found[f"{inside.name}/same"](between)
        _, state = found["same"](between)
        wanted = run(model, data)
        np.testing.assert_allclose(last, wanted[:, :10], rtol=0, atol=1e-6)
        np.testing.assert_allclose(state[:, 0], wanted[:, 10:], rtol=0, atol=1e-6)
