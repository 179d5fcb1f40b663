"""Optimisers and clipping against PyTorch and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gru
from gru.optim import Optimizer

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_pytorch(name: str, options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    p = {"a": rng.standard_normal((7, 5)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    leaves = [torch.tensor(value.copy(), requires_grad=True) for value in p.values()]
    theirs = getattr(torch.optim, name)(leaves, **options)
    ours = getattr(gru, name)(**options)
    for _ in range(10):
        g = {key: rng.standard_normal(value.shape).astype(dtype) for key, value in p.items()}
        for leaf, value in zip(leaves, g.values(), strict=True):
            leaf.grad = torch.tensor(value)
        theirs.step()
        ours.step(p, g)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for leaf, value in zip(leaves, p.values(), strict=True):
        np.testing.assert_allclose(value, leaf.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_defaults_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, name)([torch.zeros(1)]).defaults
    ours = vars(getattr(gru, name)())
    for key in ("lr", "momentum", "nesterov", "weight_decay", "betas", "eps", "alpha"):
        if key in ours:
            assert ours[key] == theirs[key], key


def test_parameters_without_a_gradient_stay() -> None:
    p = {"a": np.ones(2), "b": np.ones(2)}
    gru.SGD(0.5).step(p, {"a": np.ones(2)})
    assert p["a"].tolist() == [0.5, 0.5]
    assert p["b"].tolist() == [1.0, 1.0]


def test_gradients_are_only_read() -> None:
    g = {"a": np.ones(3)}
    for optimizer in (gru.SGD(momentum=0.9, weight_decay=0.1), gru.Adam(weight_decay=0.1)):
        optimizer.step({"a": np.ones(3)}, g)
    assert g["a"].tolist() == [1.0] * 3


def test_layer_parameters_are_updated_in_place() -> None:
    layer = gru.GRU(2, 3, seed=0)
    x = np.ones((1, 4, 2), np.float32)
    y, _, tape = layer.forward(x)
    gradients = layer.backward(tape, np.ones_like(y))[2]
    before = layer.parameters["weight_hh_l0"].copy()
    gru.SGD(0.1).step(layer.parameters, gradients)
    np.testing.assert_allclose(
        layer.parameters["weight_hh_l0"], before - 0.1 * gradients["weight_hh_l0"], rtol=1e-6
    )
    assert layer(x)[0].sum() < y.sum()


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_as_pytorch(max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    g = {"a": rng.standard_normal((4, 3)), "b": rng.standard_normal(5)}
    leaves = [
        torch.zeros(value.shape, dtype=torch.float64, requires_grad=True) for value in g.values()
    ]
    for leaf, value in zip(leaves, g.values(), strict=True):
        leaf.grad = torch.tensor(value.copy())
    norm = gru.clip_grad_norm(g, max_norm)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(leaves, max_norm).item(), rel=1e-14)
    for leaf, value in zip(leaves, g.values(), strict=True):
        np.testing.assert_allclose(value, leaf.grad.numpy(), rtol=1e-14)


def test_a_norm_that_is_not_finite_scales_nothing() -> None:
    g = {"a": np.array([np.inf, 1.0])}
    assert gru.clip_grad_norm(g, 1.0) == np.inf
    assert g["a"].tolist() == [np.inf, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gru.SGD(-1.0), "lr must be at least 0, got -1.0"),
        (lambda: gru.SGD(0.1, momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: gru.SGD(0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: gru.Adam(betas=(0.9, 1.0)), r"beta2 must be in \[0, 1\)"),
        (lambda: gru.Adam(eps=-1e-8), "eps must be at least 0"),
        (lambda: gru.AdamW(weight_decay=float("nan")), "weight_decay must be at least 0, got nan"),
        (lambda: gru.clip_grad_norm({}, 0.0), "max_norm must be above 0"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_frozen_and_strided_parameters_are_refused() -> None:
    layer = gru.Linear(2, 2)
    layer.freeze()
    with pytest.raises(ValueError, match="writeable"):
        gru.SGD(0.1).step(layer.parameters, {"weight": np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="a must be contiguous"):
        gru.SGD(0.1).step({"a": np.ones((4, 4))[:, ::2]}, {"a": np.ones((4, 2))})


def test_repr_shows_the_settings() -> None:
    optimizer: Optimizer = gru.SGD(0.1, momentum=0.9)
    assert repr(optimizer) == "SGD(lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False)"
