"""Losses against their definitions, finite differences and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gru import losses

RNG = np.random.default_rng(5)
NAMES = ("mse", "mae", "huber", "cross_entropy", "binary_cross_entropy")


def target_for(name: str, prediction: np.ndarray) -> np.ndarray:
    if name == "cross_entropy":
        return RNG.integers(0, prediction.shape[-1], prediction.shape[:-1])
    if name == "binary_cross_entropy":
        return RNG.random(prediction.shape)
    return RNG.standard_normal(prediction.shape)


def options_for(kind: str) -> dict[str, Any]:
    mask = np.array([[True, False, True, True], [False] * 4, [True] * 4])
    return {
        "plain": {},
        "lengths": {"lengths": [4, 0, 2]},
        "mask": {"mask": mask},
        "weight": {"weight": [1.0, 0.5, 2.0]},
        "steps": {"weight": RNG.random((3, 4)), "lengths": [4, 1, 2]},
    }[kind]


@pytest.mark.parametrize("kind", ["plain", "lengths", "mask", "weight", "steps"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_slope(name: str, kind: str) -> None:
    loss: Callable[..., tuple[float, np.ndarray]] = getattr(losses, name)
    prediction = RNG.standard_normal((3, 4, 5))
    target, options = target_for(name, prediction), options_for(kind)
    _, gradient = loss(prediction, target, **options)
    step = 1e-6
    for at in np.ndindex(prediction.shape):
        moved = prediction.copy()
        moved[at] += step
        above = loss(moved, target, **options)[0]
        moved[at] -= 2 * step
        below = loss(moved, target, **options)[0]
        assert gradient[at] == pytest.approx((above - below) / (2 * step), abs=2e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (6, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_as_pytorch(name: str, shape: tuple[int, ...], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    prediction = (3 * RNG.standard_normal(shape)).astype(dtype)
    target = target_for(name, prediction)
    leaf = torch.tensor(prediction, requires_grad=True)
    theirs = {
        "mse": torch.nn.functional.mse_loss,
        "mae": torch.nn.functional.l1_loss,
        "huber": torch.nn.functional.huber_loss,
        "binary_cross_entropy": torch.nn.functional.binary_cross_entropy_with_logits,
        "cross_entropy": lambda p, t: torch.nn.functional.cross_entropy(
            p.reshape(-1, shape[-1]), t.reshape(-1)
        ),
    }[name](leaf, torch.tensor(target if target.dtype.kind == "i" else target.astype(dtype)))
    theirs.backward()
    value, gradient = getattr(losses, name)(prediction, target)
    assert isinstance(value, float)
    assert gradient.dtype == prediction.dtype
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    assert value == pytest.approx(theirs.item(), rel=tolerance)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_do_not_count_change_nothing(name: str) -> None:
    loss = getattr(losses, name)
    prediction = RNG.standard_normal((3, 4, 5))
    target = target_for(name, prediction)
    keep = np.arange(4) < np.array([4, 0, 2])[:, None]
    short = loss(prediction[keep], target[keep])
    spoilt = target.copy()
    spoilt[~keep] = -100 if spoilt.dtype.kind == "i" else np.nan
    value, gradient = loss(prediction, spoilt, lengths=[4, 0, 2])
    assert value == pytest.approx(short[0], rel=1e-14)
    np.testing.assert_allclose(gradient[keep], short[1], rtol=1e-14)
    assert not gradient[~keep].any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_counts(name: str) -> None:
    prediction = RNG.standard_normal((3, 4, 5))
    value, gradient = getattr(losses, name)(
        prediction, target_for(name, prediction), lengths=[0, 0, 0]
    )
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("name", NAMES)
def test_equal_weights_are_no_weights(name: str) -> None:
    prediction = RNG.standard_normal((3, 4, 5))
    target = target_for(name, prediction)
    plain = getattr(losses, name)(prediction, target)
    weighted = getattr(losses, name)(prediction, target, weight=[7.0, 7.0, 7.0])
    assert weighted[0] == pytest.approx(plain[0], rel=1e-14)
    np.testing.assert_allclose(weighted[1], plain[1], rtol=1e-13)


@pytest.mark.parametrize("kind", ["plain", "lengths", "weight"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_to_what_is_given(name: str, kind: str) -> None:
    """Arrays that are read-only give what writable ones give, twice, in an array of its own."""
    prediction = RNG.standard_normal((3, 4, 5))
    target, options = target_for(name, prediction), options_for(kind)
    first = getattr(losses, name)(prediction, target, **options)
    for array in (prediction, target):
        array.setflags(write=False)
    value, gradient = getattr(losses, name)(prediction, target, **options)
    assert value == first[0]
    np.testing.assert_array_equal(gradient, first[1])
    assert not np.shares_memory(gradient, prediction)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_stay_finite(dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0.0]], dtype)
    for name, target in (("cross_entropy", [1]), ("binary_cross_entropy", [[0.0, 1.0, 1.0]])):
        value, gradient = getattr(losses, name)(logits, target)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    assert losses.cross_entropy(logits, [1])[0] == pytest.approx(2e4)


def test_a_last_axis_of_one_may_be_missing() -> None:
    prediction = np.array([[1.0], [2.0]])
    assert losses.mse(prediction, [0.0, 0.0])[0] == losses.mse(prediction, [[0.0], [0.0]])[0] == 2.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: losses.mse(p, np.zeros((4, 3))), ValueError, r"target must have shape \(4, 2\)"),
        (lambda p: losses.cross_entropy(p, np.zeros(4)), TypeError, "integer classes, got float64"),
        (lambda p: losses.cross_entropy(p, [0, 1]), ValueError, r"target must have shape \(4,\)"),
        (lambda p: losses.cross_entropy(p, [0, 1, 2, 0]), ValueError, "in 0 .. 1 .* got 2"),
        (lambda p: losses.cross_entropy(p, [0, -1, 1, 0]), ValueError, "got -1"),
        (lambda p: losses.binary_cross_entropy(p, p * 0 + 2), ValueError, r"in \[0, 1\]"),
        (lambda p: losses.mse(p, p, lengths=[1] * 4), ValueError, r"prediction \(B, T, K\)"),
        (lambda p: losses.mse(p, p, weight=[1.0]), ValueError, "weight must have shape"),
        (lambda p: losses.huber(p, p, delta=0.0), ValueError, "delta must be above 0"),
        (lambda p: losses.mse(p[0], p[0]), ValueError, "prediction must have shape"),
    ],
)
def test_errors_name_the_argument(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.ones((4, 2)))


@pytest.mark.parametrize("bad", [{"lengths": [1]}, {"mask": np.ones((2, 2), bool)}])
def test_lengths_and_mask_must_fit(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must have shape"):
        losses.mse(np.ones((2, 3, 1)), np.ones((2, 3, 1)), **bad)
