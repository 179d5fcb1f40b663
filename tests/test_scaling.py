"""The scaler: NumPy's mean and deviation of what counts, undone to the bit, bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru.scaling
from gru.scaling import Scaler

RNG = np.random.default_rng(0)


def ragged(dtype: str = "float64") -> list[np.ndarray]:
    return [(RNG.standard_normal((n, 3)) * [1, 5, 0.01] + 7).astype(dtype) for n in (4, 1, 9)]


def test_it_measures_what_numpy_does() -> None:
    X = ragged()
    rows = np.concatenate(X)
    dense = np.stack([rows[:7], rows[7:]])
    for scaler in (Scaler.of(X), Scaler.of(dense), Scaler.of(rows)):
        np.testing.assert_allclose(scaler.mean, rows.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(scaler.std, rows.std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("by", ["lengths", "mask"])
def test_only_the_steps_that_count_are_measured(by: str) -> None:
    X = ragged()
    lengths = np.array([len(item) for item in X])
    dense = np.full((3, 9, 3), 1e9)
    for row, item in zip(dense, X, strict=True):
        row[: len(item)] = item
    which = {"lengths": lengths} if by == "lengths" else {"mask": np.arange(9) < lengths[:, None]}
    padded, plain = Scaler.of(dense, **which), Scaler.of(X)
    np.testing.assert_allclose(padded.mean, plain.mean, rtol=1e-14)
    np.testing.assert_allclose(padded.std, plain.std, rtol=1e-13)


def test_a_weight_of_2_is_the_sequence_twice() -> None:
    X = ragged()
    weighted, repeated = Scaler.of(X, weight=[2, 0, 1]), Scaler.of([X[0], X[0], X[2]])
    dense = np.stack([item[[0, -1, 0]] for item in X])
    lengths = np.array([3, 1, 2])
    twice = Scaler.of(dense[[0, 0, 2]], lengths=lengths[[0, 0, 2]])
    for one, other in (
        (weighted, repeated),
        (Scaler.of(dense, lengths=lengths, weight=[2, 0, 1]), twice),
        (Scaler.of(dense[:, 0], weight=[2, 0, 1]), Scaler.of(dense[[0, 0, 2], 0])),
    ):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-14)
        np.testing.assert_allclose(one.std, other.std, rtol=1e-12)


def test_scaled_channels_have_mean_0_and_deviation_1() -> None:
    X = ragged()
    rows = np.concatenate(Scaler.of(X).scale(X))
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unscale_undoes_scale_in_the_same_container(dtype: str) -> None:
    X = ragged(dtype)
    scaler = Scaler.of(X)
    back = scaler.unscale(scaler.scale(X))
    assert isinstance(back, list)
    for item, given in zip(back, X, strict=True):
        assert item.dtype == given.dtype
        np.testing.assert_allclose(item, given, rtol=1e-6 if dtype == "float32" else 1e-14)
    dense = np.stack([np.concatenate(X)] * 2)
    assert scaler.scale(dense).shape == dense.shape
    assert scaler.scale(dense).dtype == dense.dtype
    assert scaler.scale(np.ones((2, 4, 3), int)).dtype == np.float64


def test_float32_is_worked_out_in_float64() -> None:
    X = (np.arange(8) / 8 + 1e6).astype(np.float32).reshape(1, 8, 1)  # float32 holds these exactly
    wanted = (X.astype(float) - X.astype(float).mean()) / X.astype(float).std()
    np.testing.assert_allclose(Scaler.of(X).scale(X), wanted, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e200, -1e-300, 12345678.9])
def test_a_constant_channel_is_divided_by_1(value: float) -> None:
    X = np.full((5, 7, 1), value)
    scaler = Scaler.of(X)
    assert scaler.std.tolist() == [1.0]
    assert scaler.mean.tolist() == [value]
    assert not scaler.scale(X).any()


def test_rounding_of_a_constant_is_not_blown_up() -> None:
    X = np.array([[[0.3], [0.1 + 0.2], [0.3]]])
    assert X.std() > 0
    assert Scaler.of(X).std.tolist() == [1.0]


def test_it_travels_through_json_to_the_bit() -> None:
    scaler = Scaler.of(ragged())
    again = Scaler.from_dict(json.loads(json.dumps(scaler.as_dict())))
    assert np.array_equal(again.mean, scaler.mean)
    assert np.array_equal(again.std, scaler.std)
    assert again.mean.dtype == again.std.dtype == np.float64


def test_a_memmap_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gru.scaling, "BLOCK", 2**12)
    X = RNG.standard_normal((2000, 50, 4)).astype(np.float32)
    X.tofile(tmp_path / "X")
    stored = np.memmap(tmp_path / "X", np.float32, "r", shape=X.shape)
    tracemalloc.start()
    scaler = Scaler.of(stored)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes / 4
    np.testing.assert_allclose(scaler.std, X.std(axis=(0, 1), dtype=float), rtol=1e-12)


@pytest.mark.parametrize(
    ("X", "which", "message"),
    [
        (np.zeros(3), {}, r"X must have shape \(B, T, I\) or \(B, I\), got \(3,\)"),
        (np.zeros((0, 3, 1)), {}, "X must hold at least one step that counts, got none"),
        (np.zeros((2, 3, 1)), {"lengths": [0, 0]}, "at least one step that counts, got none"),
        ([], {}, "X must hold at least one step that counts, got none"),
        ([np.zeros(3)], {}, r"X\[0\] must have shape \(T, I\), got \(3,\)"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], {}, r"X\[1\] must have shape \(T, 2\), got \(3, 1"),
        ([np.zeros((3, 2))], {"lengths": [1]}, "lengths and mask go with an array X of shape"),
        (np.zeros((2, 1)), {"weight": [1]}, r"weight must have shape \(B,\) = \(2,\), got \(1,\)"),
        (np.zeros((2, 1)), {"weight": [1, -1]}, "weight must be at least 0, got -1"),
        (np.zeros((2, 1)), {"weight": [0, 0]}, "at least one step that counts, got none"),
        (np.zeros((3, 2)), {"mask": [True]}, "lengths and mask go with an array X of shape"),
        (np.array([[[np.nan]]]), {}, r"X must be finite, got nan at X\[0, 0, 0\]"),
        ([np.array([[1.0], [np.inf]])], {}, r"X must be finite, got inf at X\[0\]\[1, 0\]"),
        (np.array([[[1e300], [-1e300]]]), {}, "X must hold numbers whose squares are finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(X: Any, which: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaler.of(X, **which)
    with pytest.raises(TypeError, match="X must hold numbers, got <U1"):
        Scaler.of(np.array([["a"]]))


def test_other_channels_are_refused() -> None:
    scaler = Scaler.of(ragged())
    with pytest.raises(ValueError, match=r"X must have 3 channels in its last axis, got shape \(2"):
        scaler.scale(np.zeros((2, 5, 2)))
    with pytest.raises(ValueError, match=r"X\[0\] must have 3 channels"):
        scaler.unscale([np.zeros((5, 2))])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [0.0]}, r"scaler must have the keys 'mean' and 'std', got \['mean'\]"),
        ({"mean": [0.0], "std": [1.0, 1.0]}, r"one mean and std a channel, got shapes \(1,\), \(2"),
        ({"mean": [0.0], "std": [0.0]}, r"scaler\['std'\] must be above 0, got 0.0"),
        ({"mean": [float("nan")], "std": [1.0]}, r"scaler\['mean'\] must be finite"),
    ],
)
def test_what_is_no_scaler_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaler.from_dict(values)
    with pytest.raises(TypeError, match="scaler must be a dict with 'mean' and 'std', got None"):
        Scaler.from_dict(None)  # type: ignore[arg-type]


def test_errors_call_the_data_what_the_caller_does() -> None:
    with pytest.raises(ValueError, match="y must hold numbers whose squares are finite"):
        Scaler.of(np.array([[1e200], [0.0]]), name="y")
    with pytest.raises(ValueError, match=r"exog\[1\] must have shape \(T, 1\), got \(2, 2\)"):
        Scaler.of([np.zeros((3, 1)), np.zeros((2, 2))], name="exog")
