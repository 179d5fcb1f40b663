"""Flax's cells from their parameters, against Flax itself, linen and nnx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gru

jax = pytest.importorskip("jax", reason="pip install flax jax")
linen = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")

I, H, STEPS = 3, 4, 6  # noqa: E741 as in the equations
CELLS = ("GRUCell", "LSTMCell", "OptimizedLSTMCell", "SimpleCell")
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
X = np.random.default_rng(0).normal(size=(2, STEPS, I)).astype(np.float32)


@pytest.fixture(autouse=True)
def uncompiled() -> Iterator[None]:
    """XLA would take seconds to compile each of these small nets."""
    with jax.disable_jit():
        yield


def randomised(tree: Any) -> Any:
    """Biases too, which Flax starts at zero."""
    rng = np.random.default_rng(1)
    return jax.tree_util.tree_map(
        lambda a: jax.numpy.asarray(0.5 * rng.normal(size=a.shape), a.dtype), tree
    )


def told(cell: str) -> dict[str, str]:
    return {"nonlinearity": "tanh"} if cell == "SimpleCell" else {}


@EVERY_CELL
@pytest.mark.parametrize("both", [False, True])
def test_linen(cell: str, both: bool) -> None:
    net = linen.RNN(getattr(linen, cell)(H))
    if both:
        net = linen.Bidirectional(net, linen.RNN(getattr(linen, cell)(H)))
    params = randomised(net.init(jax.random.PRNGKey(0), X))
    layer = gru.from_flax(params, **told(cell))
    assert layer.bidirectional is both
    np.testing.assert_allclose(layer(X)[0], net.apply(params, X), rtol=0, atol=1e-6)


@EVERY_CELL
def test_linen_from_a_state(cell: str) -> None:
    net = getattr(linen, cell)(H)
    rng = np.random.default_rng(2)
    h, c = rng.normal(size=(2, 2, H)).astype(np.float32)
    lstm = "LSTM" in cell
    carry = (c, h) if lstm else h  # Flax has c first
    params = randomised(net.init(jax.random.PRNGKey(0), carry, X[:, 0]))
    _, wanted = net.apply(params, carry, X[:, 0])
    layer = gru.from_flax(params["params"], **told(cell))
    y, _ = layer(X[:, :1], (h[:, None], c[:, None]) if lstm else h[:, None])
    np.testing.assert_allclose(y[:, 0], wanted, rtol=0, atol=1e-6)


@EVERY_CELL
@pytest.mark.parametrize("both", [False, True])
def test_nnx(cell: str, both: bool) -> None:
    rngs = nnx.Rngs(0)
    net = nnx.RNN(getattr(nnx, cell)(I, H, rngs=rngs), rngs=rngs)
    if both:
        other = nnx.RNN(getattr(nnx, cell)(I, H, rngs=rngs), rngs=rngs)
        net = nnx.Bidirectional(net, other, rngs=rngs)
    nnx.update(net, randomised(nnx.state(net, nnx.Param)))
    wanted = net(X)
    for params in (nnx.state(net), nnx.to_pure_dict(nnx.state(net, nnx.Param))):
        layer = gru.from_flax(params, **told(cell))
        np.testing.assert_allclose(layer(X)[0], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_reverse_is_stated(keep: bool) -> None:
    net = linen.RNN(linen.GRUCell(H), reverse=True, keep_order=keep)
    params = randomised(net.init(jax.random.PRNGKey(0), X))
    y, _ = gru.from_flax(params, reverse=True)(X)
    wanted = net.apply(params, X)
    np.testing.assert_allclose(y if keep else y[:, ::-1], wanted, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="reverse must be False: params are those of a Bidir"):
        gru.from_flax({"forward_rnn": params, "backward_rnn": params}, reverse=True)


def test_a_live_module_is_no_mapping() -> None:
    with pytest.raises(TypeError, match=r"give nnx\.state\(grucell, nnx\.Param\)"):
        gru.from_flax(nnx.GRUCell(I, H, rngs=nnx.Rngs(0)))


def test_bfloat16_and_float64() -> None:
    carry = np.zeros((2, H), np.float32)
    params = randomised(linen.GRUCell(H).init(jax.random.PRNGKey(0), carry, X[:, 0]))
    params = jax.tree_util.tree_map(lambda a: a.astype(jax.numpy.bfloat16), params)
    layer = gru.from_flax(params)
    assert layer.dtype == "float32"
    kernel = np.asarray(params["params"]["hz"]["kernel"].astype(np.float32))
    np.testing.assert_array_equal(layer.parameters["weight_hh_l0"][H : 2 * H], kernel.T)
    wide = jax.tree_util.tree_map(lambda a: np.asarray(a, np.float64), params)
    assert gru.from_flax(wide).dtype == "float64"


class Net(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.RNN(linen.GRUCell(H, name="encoder"))(x)
        x = linen.RNN(linen.LSTMCell(H))(x)
        return linen.Dense(2)(x)


def test_a_model_lists_its_cells() -> None:
    params = Net().init(jax.random.PRNGKey(0), X)
    with pytest.raises(ValueError, match=r"params\['encoder'\]: GRU") as caught:
        gru.from_flax(params)
    assert "LSTM" in str(caught.value)
    assert repr(gru.from_flax(params["params"]["encoder"])) == "GRU(3, 4)"


def test_what_is_refused() -> None:
    cell = linen.MGUCell(H)
    carry = np.zeros((2, H), np.float32)
    params = cell.init(jax.random.PRNGKey(0), carry, X[:, 0])
    with pytest.raises(ValueError, match="MGUCell, which gru lacks"):
        gru.from_flax(params)
    params = linen.SimpleCell(H).init(jax.random.PRNGKey(0), carry, X[:, 0])
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh', Flax's default"):
        gru.from_flax(params)
    params = linen.GRUCell(H).init(jax.random.PRNGKey(0), carry, X[:, 0])
    with pytest.raises(ValueError, match="nonlinearity is for a SimpleCell"):
        gru.from_flax(params, nonlinearity="tanh")
    good = dict(params["params"])
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "a gate is missing": ({k: v for k, v in good.items() if k != "hz"}, "got 'hn', 'hr'"),
        "another key": (good | {"scale": good["hz"]}, "got 'hn'"),
        "no kernel": (good | {"hz": {}}, "'hz' must hold a kernel"),
        "more than a Dense": (good | {"hz": good["hz"] | {"lora": 1}}, "'hz' must hold a kernel"),
        "a vector": (good | {"hz": {"kernel": np.ones(3)}}, "kernel of 'hz' must be a matrix"),
        "other shape": (
            good | {"hz": {"kernel": np.ones((3, 3), np.float32)}},
            "must have one shape",
        ),
        "other bias": (
            good | {"hn": good["hn"] | {"bias": np.ones(9, np.float32)}},
            "biases of all gates",
        ),
        "nothing": ({}, "got nothing"),
    }
    for tree, message in bad.values():
        with pytest.raises(ValueError, match=message):
            gru.from_flax(tree)
    with pytest.raises(TypeError, match="kernel of 'hz' must hold float16"):
        gru.from_flax(good | {"hz": {"kernel": np.ones((4, 4), int)}})
    for nothing in (3, {"params": 3}):
        with pytest.raises(TypeError, match="params must"):
            gru.from_flax(nothing)  # type: ignore[arg-type]
