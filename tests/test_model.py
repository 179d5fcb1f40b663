"""Sequential: wiring, names, prediction, saving; the numbers of layers are tested elsewhere."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru

RNG = np.random.default_rng(3)


def classifier(dtype: str = "float32", seed: int = 0) -> gru.Sequential:
    return gru.Sequential(
        [
            gru.GRU(3, 8, seed=seed, dtype=dtype),
            gru.Dropout(0.5),
            gru.Last(),
            gru.Linear(8, 4, seed=seed, dtype=dtype),
        ],
        seed=seed,
    )


def tagger(dtype: str = "float32") -> gru.Sequential:
    return gru.Sequential(
        [gru.LSTM(3, 8, seed=0, dtype=dtype), gru.Linear(8, 4, seed=0, dtype=dtype)]
    )


def ragged(lengths: tuple[int, ...] = (5, 1, 9, 5, 0, 7, 2)) -> list[np.ndarray]:
    return [RNG.standard_normal((steps, 3)) for steps in lengths]


def test_a_model_is_its_layers() -> None:
    model, x = classifier(), RNG.standard_normal((2, 6, 3)).astype(np.float32)
    cell, _, last, linear = model.layers
    lengths = [6, 2]
    y, _ = cell(x, lengths=lengths)
    assert np.array_equal(model(x, lengths=lengths), linear(last(y, lengths=lengths)))


def test_names_and_sizes() -> None:
    model = classifier()
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert list(model.parameters) == [f"0.{name}" for name in names] + ["3.weight", "3.bias"]
    assert model.num_parameters == sum(value.size for value in model.parameters.values()) == 348
    assert list(model.blocks()) == ["0", "3"]
    assert model.dtype == "float32"
    assert repr(gru.Sequential([gru.GRU(3, 8), gru.Last()])) == "Sequential([GRU(3, 8), Last()])"


def test_parameters_are_shared_and_live() -> None:
    model, x = classifier(), np.ones((1, 4, 3), np.float32)
    before = model(x)
    model.parameters["3.bias"] += 1.0
    np.testing.assert_allclose(model(x), before + 1.0, rtol=1e-6)
    assert (model.layers[3].parameters["bias"] == model.parameters["3.bias"]).all()
    model.blocks()["3"][...] = 0.0
    assert not model(x).any()


@pytest.mark.parametrize("make", [classifier, tagger])
def test_gradients_are_slopes(make: Any) -> None:
    model = make("float64")
    x, lengths = RNG.standard_normal((2, 5, 3)), [5, 3]
    y, tape = model.forward(x, lengths=lengths, seed=7)
    dy = RNG.standard_normal(y.shape)
    gradients = model.backward(tape, dy)
    assert list(gradients) == list(model.parameters)
    for name, value in model.parameters.items():
        at = tuple(RNG.integers(0, size) for size in value.shape)
        kept, step, sums = value[at], 1e-6, []
        for side in (1, -1):
            value[at] = kept + side * step
            sums.append((model.forward(x, lengths=lengths, seed=7)[0] * dy).sum())
        value[at] = kept
        slope = (sums[0] - sums[1]) / (2 * step)
        assert gradients[name][at] == pytest.approx(slope, rel=1e-6, abs=1e-8), name


def test_dropout_follows_from_the_seed() -> None:
    x = np.ones((1, 4, 3), np.float32)
    a, b = classifier(), classifier()
    first, second = a.forward(x)[0], a.forward(x)[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(first, b.forward(x)[0])
    assert np.array_equal(a.forward(x, seed=5)[0], b.forward(x, seed=5)[0])
    assert np.array_equal(a(x), b(x))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 256])
def test_predict_keeps_order_and_bits(batch_size: int) -> None:
    items = ragged()
    model = classifier()
    together = model.predict(items, batch_size=batch_size)
    alone = [model(item[None].astype(np.float32), lengths=[len(item)])[0] for item in items]
    assert together.dtype == np.float32
    assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_predict_each_step(batch_size: int) -> None:
    items = ragged()
    result = tagger().predict(items, batch_size=batch_size)
    assert [len(part) for part in result] == [len(item) for item in items]
    for part, item in zip(result, items, strict=True):
        assert np.array_equal(part, tagger()(item[None].astype(np.float32))[0])


def test_predict_an_array() -> None:
    X = RNG.standard_normal((7, 5, 3))
    lengths = np.array([5, 0, 3, 1, 5, 2, 4])
    mask = np.arange(5) < lengths[:, None]
    for model in (classifier(), tagger()):
        whole = model(X.astype(np.float32))
        assert np.array_equal(model.predict(X, batch_size=3), whole)
        some = model(X.astype(np.float32), lengths=lengths)
        assert np.array_equal(model.predict(X, 3, lengths=lengths), some)
        assert np.array_equal(model.predict(X, 3, mask=mask), some)


def test_predict_takes_other_numbers() -> None:
    model = classifier()
    X = RNG.integers(-3, 3, (2, 4, 3))
    expected = model(X.astype(np.float32))
    kinds = (X, X.astype(np.float16), np.asfortranarray(X), X.astype(">f8"), list(X), X.tolist())
    for given in kinds:
        assert np.array_equal(model.predict(given), expected)
    objects = np.empty(2, object)
    objects[:] = list(X)
    assert np.array_equal(model.predict(objects), expected)


def test_predict_nothing() -> None:
    assert classifier().predict([]).shape == (0, 4)
    assert classifier().predict(np.zeros((0, 5, 3))).shape == (0, 4)
    assert tagger().predict([]) == []


def words() -> gru.Sequential:
    return gru.Sequential(
        [gru.Embedding(9, 5, seed=0), gru.GRU(5, 6, seed=0), gru.Last(), gru.Linear(6, 2, seed=0)]
    )


def test_an_embedding_takes_integers() -> None:
    model = words()
    items = [np.array([1, 2, 8]), np.array([4])]
    expected = model(np.array([[1, 2, 8], [4, 0, 0]]), lengths=[3, 1])
    assert np.array_equal(model.predict(items), expected)
    assert np.array_equal(model.predict([[1, 2, 8], [4]]), expected)
    with pytest.raises(TypeError, match=r"X\[0\] must hold integers for an embedding, got float64"):
        model.predict([[1.0, 2.0]])
    assert model.predict([]).shape == (0, 2)


def test_freezing_a_model() -> None:
    model, x = classifier(), np.ones((1, 4, 3), np.float32)
    before = model(x)
    model.freeze()
    assert model.frozen
    assert all(layer.frozen for layer in model.layers if layer.dtype)
    assert np.array_equal(model(x), before)
    model.unfreeze()
    assert not model.frozen


def test_streaming_is_the_last_answer_so_far() -> None:
    model, x = classifier(), RNG.standard_normal((2, 6, 3)).astype(np.float32)
    stream = model.stream(batch=2)
    out = np.empty((2, 4), np.float32)
    for t in range(6):
        y = stream.step(np.ascontiguousarray(x[:, t]))
        assert np.array_equal(y, model(x[:, : t + 1]))
    kept = stream.state
    stream.reset()
    assert not np.array_equal(stream.state[0], kept[0])
    stream.state = kept
    assert np.array_equal(stream.state[0], kept[0])
    assert stream.step(x[:, 0].copy(), out) is out
    assert stream.batch == 2


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = gru.Sequential(
        [
            gru.Embedding(9, 5, seed=0),
            gru.GRU(5, 6, 2, bidirectional=True, reset_after=False, update_gate="new", seed=1),
            gru.Dropout(0.25),
            gru.LSTM(12, 4, bias=False, seed=2),
            gru.RNN(4, 4, nonlinearity="relu", seed=3),
            gru.Activation("tanh"),
            gru.Mean(),
            gru.Linear(4, 3, seed=4),
        ]
    )
    model.metadata["classes"] = "a b c"
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = gru.load(str(path))
    x = RNG.integers(0, 9, (3, 7))
    assert repr(loaded) == repr(model)
    assert loaded.frozen
    assert loaded.metadata == {"classes": "a b c"}
    assert np.array_equal(loaded(x, lengths=[7, 3, 1]), model(x, lengths=[7, 3, 1]))
    for name, value in model.parameters.items():
        assert np.array_equal(loaded.parameters[name], value)
    loaded.unfreeze()
    loaded.parameters["7.bias"] += 1.0
    assert not np.array_equal(loaded(x), model(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saving_keeps_the_dtype(tmp_path: Path, dtype: str) -> None:
    model = classifier(dtype)
    model.save(tmp_path / "m")
    loaded = gru.load(tmp_path / "m")
    assert loaded.dtype == dtype
    assert [layer.dtype for layer in loaded.layers] == [dtype, None, None, dtype]
    x = RNG.standard_normal((2, 4, 3)).astype(dtype)
    assert np.array_equal(loaded(x), model(x))


def test_duplicates() -> None:
    model, x = classifier(), np.ones((1, 4, 3), np.float32)
    model.metadata["note"] = "x"
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(twin(x), model(x))
        assert twin.metadata == model.metadata
        assert np.array_equal(twin.forward(x)[0], copy.deepcopy(model).forward(x)[0])
        twin.parameters["3.bias"] += 1.0
        assert not np.array_equal(twin(x), model(x))


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([gru.GRU(3, 4), "linear"], TypeError, r"layers\[1\] must be a gru layer, got 'linear'"),
        (
            [gru.GRU(3, 4), gru.Last(), gru.Linear(4, 2, dtype="float64")],
            ValueError,
            "layer 0 is float32 and layer 2 is float64",
        ),
    ],
)
def test_bad_lists(layers: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gru.Sequential(layers)


def test_widths_must_fit() -> None:
    with pytest.raises(ValueError, match="expects 5 features, but 4 come out"):
        gru.Sequential([gru.GRU(3, 4), gru.Linear(5, 2)])


def test_a_layer_may_not_occur_twice() -> None:
    layer, relu = gru.Linear(4, 4), gru.Activation("relu")
    with pytest.raises(ValueError, match=r"layers\[2\] occurs twice"):
        gru.Sequential([layer, relu, layer])
    gru.Sequential([layer, relu, gru.Linear(4, 4), relu])
