"""Layers that choose, turn round or scale steps: Masking, Reverse, Affine and ``reverse=``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru

DTYPES = ["float32", "float64"]
LENGTHS = np.array([6, 0, 1, 4])


def inputs(dtype: str) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, 6, 3)).astype(dtype)


def filled(layer: Any, seed: int = 0) -> Any:
    """The layer with random parameters, biases too."""
    rng = np.random.default_rng(seed)
    for value in layer.parameters.values():
        value[...] = rng.uniform(-1, 1, value.shape)
    return layer


def flipped(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    for b, n in enumerate(lengths):
        y[b, :n] = x[b, :n][::-1]
    return y


CELLS = {
    "gru": lambda **k: gru.GRU(3, 5, **k),
    "article": lambda **k: gru.GRU(3, 5, reset_after=False, update_gate="new", **k),
    "lstm": lambda **k: gru.LSTM(3, 5, **k),
    "rnn": lambda **k: gru.RNN(3, 5, **k),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_reverse_layer_is_forward_over_flipped_steps(cell: str, dtype: str) -> None:
    """The same bits, gradients included."""
    x, dy = inputs(dtype), np.random.default_rng(1).standard_normal((4, 6, 5)).astype(dtype)
    back = filled(CELLS[cell](reverse=True, dtype=dtype))
    forward = filled(CELLS[cell](dtype=dtype))
    y, state, tape = back.forward(x, lengths=LENGTHS)
    wanted, last, other = forward.forward(flipped(x, LENGTHS), lengths=LENGTHS)
    assert np.array_equal(y, flipped(wanted, LENGTHS))
    for a, b in zip(np.atleast_1d(state), np.atleast_1d(last), strict=True):
        assert np.array_equal(a, b)
    dx, _, gradients = back.backward(tape, dy)
    wanted_dx, _, wanted_gradients = forward.backward(other, flipped(dy, LENGTHS))
    assert np.array_equal(dx, flipped(wanted_dx, LENGTHS))
    for name, value in wanted_gradients.items():
        assert np.array_equal(gradients[name], value), name


def test_reverse_and_bidirectional_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="reverse must be False for a bidirectional layer"):
        gru.GRU(3, 5, bidirectional=True, reverse=True)
    assert repr(gru.GRU(3, 5, reverse=True)) == "GRU(3, 5, reverse=True)"
    assert gru.GRU(3, 5, reverse=True).reverse
    assert not gru.GRU(3, 5, bidirectional=True).reverse


@pytest.mark.parametrize("dtype", DTYPES)
def test_reverse_flips_values_and_gradients(dtype: str) -> None:
    x, layer = inputs(dtype), gru.Reverse()
    y, tape = layer.forward(x, lengths=LENGTHS)
    assert np.array_equal(y, flipped(x, LENGTHS))
    assert np.array_equal(layer(x), x[:, ::-1])
    dx, gradients = layer.backward(tape, x)
    assert dx is not None
    assert np.array_equal(dx, flipped(x, LENGTHS))
    assert gradients == {}


def test_reverse_within_a_mask() -> None:
    x = np.arange(1.0, 6.0).reshape(1, 5, 1)
    mask = np.array([[True, False, True, True, False]])
    assert gru.Reverse()(x, mask=mask).ravel().tolist() == [4, 0, 3, 1, 0]


@pytest.mark.parametrize("shape", [(4, 6, 3), (4, 3)])
def test_affine(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    layer = filled(gru.Affine(3, dtype="float64"))
    weight, bias = layer.parameters["weight"].copy(), layer.parameters["bias"]
    lengths = LENGTHS if len(shape) == 3 else None
    valid = np.ones(shape[:-1]) if lengths is None else np.arange(6) < lengths[:, None]
    y, tape = layer.forward(x, lengths=lengths)
    np.testing.assert_allclose(y, (x * weight + bias) * valid[..., None], rtol=1e-15)
    layer.parameters["weight"][...] = 9  # the tape has the weights of its own call
    dx, gradients = layer.backward(tape, dy)
    dy = dy * valid[..., None]
    np.testing.assert_allclose(dx, dy * weight, rtol=1e-15)
    steps = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(gradients["weight"], (dy * x).sum(steps), rtol=1e-13)
    np.testing.assert_allclose(gradients["bias"], dy.sum(steps), rtol=1e-13)


def masked(dtype: str, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Sequences with marked steps anywhere, and which steps count."""
    x, rng = inputs(dtype), np.random.default_rng(3)
    mask = rng.random((4, 6)) < 0.6
    mask[1] = False
    x[~mask] = value
    x[0, 0, 1] = value  # one feature alone marks nothing
    return x, mask


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, -1.5])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_masking_is_a_mask(value: float, dtype: str, lengths: Any) -> None:
    """A model that begins with Masking gives the bits of one that is told the mask."""
    x, mask = masked(dtype, value)
    layers = [filled(gru.GRU(3, 5, 2, bidirectional=True, dtype=dtype)), gru.Mean()]
    layers.append(filled(gru.Linear(10, 2, dtype=dtype)))
    told, model = gru.Sequential(layers), gru.Sequential([gru.Masking(value), *layers])
    if lengths is not None:
        mask &= np.arange(6) < lengths[:, None]
    assert np.array_equal(model(x, lengths=lengths), told(x, mask=mask))
    y, tape = model.forward(x, lengths=lengths, seed=1)
    wanted, other = told.forward(x, mask=mask, seed=1)
    assert np.array_equal(y, wanted)
    dy = np.ones_like(y)
    expected = told.backward(other, dy)
    for name, value_ in model.backward(tape, dy).items():
        layer, rest = name.split(".", 1)
        assert np.array_equal(value_, expected[f"{int(layer) - 1}.{rest}"]), name


def test_masking_of_tokens() -> None:
    tokens = np.array([[0, 3, 0, 2], [1, 0, 0, 0]])
    table, layer = gru.Embedding(4, 3, seed=0), gru.GRU(3, 5, seed=1)
    told = gru.Sequential([table, layer, gru.Last()])
    model = gru.Sequential([gru.Masking(), table, layer, gru.Last()])
    assert model.input_dtype == np.int64
    assert np.array_equal(model(tokens), told(tokens, mask=tokens != 0))


def test_masking_alone_zeroes_what_does_not_count() -> None:
    x, mask = masked("float64", -1.5)
    layer = gru.Masking(-1.5)
    y, tape = layer.forward(x)
    assert np.array_equal(y, np.where(mask[..., None], x, 0))
    dx, _ = layer.backward(tape, np.ones_like(x))
    assert dx is not None
    assert np.array_equal(dx, np.where(mask[..., None], np.ones_like(x), 0))


def test_masking_is_first_or_nowhere() -> None:
    with pytest.raises(ValueError, match=r"layers\[1\] \(masking\) must be the first layer"):
        gru.Sequential([gru.GRU(3, 5), gru.Masking()])
    with pytest.raises(TypeError, match="value must be a number"):
        gru.Masking("0")  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", [gru.Reverse(), gru.Masking()])
def test_streams_refuse(layer: Any) -> None:
    model = gru.Sequential([layer, gru.GRU(3, 5)])
    with pytest.raises(ValueError, match=f"a stream cannot run {type(layer).__name__}"):
        model.stream()


def test_affine_streams() -> None:
    model = gru.Sequential([filled(gru.Affine(3)), filled(gru.GRU(3, 5)), filled(gru.Affine(5))])
    x, stream = inputs("float32"), model.stream(4)
    steps = [stream.step(np.ascontiguousarray(x[:, t])) for t in range(6)]
    assert np.array_equal(np.stack(steps, axis=1), model(x))


def test_they_travel_in_a_file(tmp_path: Path) -> None:
    model = gru.Sequential(
        [gru.Masking(-1.5), filled(gru.Affine(3)), filled(gru.LSTM(3, 5, reverse=True))]
    )
    model = gru.Sequential([*model.layers, gru.Reverse(), gru.Last()])
    model.save(tmp_path / "m.safetensors")
    loaded = gru.load(tmp_path / "m.safetensors")
    assert repr(loaded) == repr(model)
    x, _ = masked("float32", -1.5)
    assert np.array_equal(loaded(x), model(x))


def test_least_memory_is_what_a_call_takes() -> None:
    model = gru.Sequential([gru.GRU(3, 16, 2), gru.Last(), gru.Linear(16, 1)])
    lengths = np.array([400, 17])
    least = model.least_memory(2, 400, lengths=lengths)
    x = np.zeros((2, 400, 3), np.float32)
    model.forward(x, lengths=lengths, memory_limit=least)
    with pytest.raises(ValueError, match=f"at least {least}"):
        model.forward(x, lengths=lengths, memory_limit=least - 1)


def test_a_memory_limit_counts_the_steps_that_masking_leaves() -> None:
    """What is enough for a model that is told the mask is enough for one that finds it."""
    layers = [filled(gru.GRU(3, 16)), gru.Last()]
    told, model = gru.Sequential(layers), gru.Sequential([gru.Masking(), *layers])
    x = np.zeros((2, 3000, 3), np.float32)
    x[:, :40] = 1
    y, _ = told.forward(x, lengths=[40, 40])
    limit = told.least_memory(2, 3000, lengths=[40, 40])
    assert model.least_memory(2, 3000, lengths=[40, 40]) == limit < model.least_memory(2, 3000)
    assert np.array_equal(model.forward(x, memory_limit=limit)[0], y)
