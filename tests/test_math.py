"""sigmoid and tanh of the kernels: at most 2 ulp off, for every float and many doubles.

A strided sample of all floats runs by default; GRU_EXHAUSTIVE=1 tries each of the 2^32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import gru
from gru import _core
from reference import Array

INFINITY = 0x7F800000  # the bits of +inf: larger ones are NaN
SIGN = np.uint32(0x80000000)
CHUNK = 1 << 18


def exact_sigmoid(x: Array) -> Array:
    """In x's own precision, without overflow and without cancellation."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


# Where a float's answer is known without computing: tanh x is x (to half an ulp) below 2^-13 and
# +-1 above 9.02; sigmoid x is 1/2 (to an ulp) below 2^-26, 1 above 17.4 and 0 below -104.
def wanted_tanh(x: Array) -> Array:
    size = np.abs(x)
    if size.max() < 2**-13:
        return x
    if size.min() > 9.02:
        return np.copysign(np.float32(1), x)
    return np.tanh(x.astype(np.float64))


def wanted_sigmoid(x: Array) -> Array:
    if np.abs(x).max() < 2**-26:
        return np.full_like(x, 0.5)
    if x.min() > 17.4:
        return np.ones_like(x)
    if x.max() < -104:
        return np.zeros_like(x)
    return exact_sigmoid(x.astype(np.float64))


WANTED: dict[str, Callable[[Array], Array]] = {"tanh": wanted_tanh, "sigmoid": wanted_sigmoid}


def chunks(first: int, last: int, stride: int) -> Iterator[Array]:
    """Every stride-th float with bits from first up to last, in chunks that fit in cache."""
    for start in range(first, last, CHUNK * stride):
        stop = min(start + CHUNK * stride, last)
        yield np.arange(start, stop, stride, dtype=np.uint32)


def assert_within_two_ulp(x: Array, y: Array, wanted: Array) -> None:
    """``wanted`` is exact, or rounded to y's type; subnormal answers may be flushed to zero."""
    rounded = wanted.astype(y.dtype)
    near = np.abs(ordered(y) - ordered(rounded)) <= 1  # then at most one and a half ulp off
    if near.all():
        return
    x, y, wanted, rounded = (a[~near] for a in (x, y, wanted, rounded))
    tiny = np.finfo(y.dtype).tiny
    error = np.abs(y.astype(wanted.dtype) - wanted) / np.spacing(np.maximum(np.abs(rounded), tiny))
    error[(np.abs(rounded) <= tiny) & (y == 0)] = 0
    worst = int(error.argmax())
    assert error[worst] <= 2, f"f({x[worst]!r}) = {y[worst]!r} is {error[worst]} ulp off"


def ordered(y: Array) -> Array:
    """Integers in the order of the floats, one apart for neighbours; -0 and 0 are the same."""
    bits = y.view(f"i{y.itemsize}").astype(np.int64)
    return np.where(bits < 0, np.int64(-(2 ** (8 * y.itemsize - 1))) - bits, bits)


def check_chunk(name: str, x: Array, wanted: Array, rounded: Array) -> Array:
    """One chunk of floats; most are settled by comparing bits with the rounded answer."""
    y: Array = getattr(_core, name)(x)
    assert y.max() <= 1
    assert y.min() >= (-1 if name == "tanh" else 0)
    apart = y.view(np.int32) - rounded.view(np.int32)
    if apart.min() < -1 or apart.max() > 1:
        assert_within_two_ulp(x, y, wanted)
    return y


def check_all_floats(name: str, stride: int, levels: list[str]) -> None:
    """The answers wanted are computed once for all levels."""
    for bits in chunks(0, INFINITY + 1, stride):
        for x in (bits.view(np.float32), (bits | SIGN).view(np.float32)):
            if name == "tanh" and x[-1] < 0:
                continue  # oddness, below, settles these
            wanted = WANTED[name](x)
            rounded = wanted.astype(np.float32)
            for level in levels:
                gru.set_isa(level)
                y = check_chunk(name, x, wanted, rounded)
                if name == "tanh":
                    mirrored = _core.tanh(-x).view(np.uint32)
                    assert np.array_equal(mirrored, y.view(np.uint32) | SIGN)
    for bits in chunks(INFINITY + 1, 0x80000000, stride):
        for level in levels:
            gru.set_isa(level)
            for nan in (bits.view(np.float32), (bits | SIGN).view(np.float32)):
                assert np.isnan(getattr(_core, name)(nan)).all()


@pytest.mark.parametrize("name", WANTED)
def test_a_sample_of_all_floats(name: str, isa: str) -> None:
    check_all_floats(name, 509, [isa])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", WANTED)
def test_every_float(name: str, restore_isa: None) -> None:
    check_all_floats(name, 1, gru.isa_levels())


JOINTS = (2**-26, 2**-13, 2**-12, 0.25, 0.5, 0.55, 0.625, 1, 2, 4, 8, 9.01)
JOINTS += (15.94, 16.6, 17.3, 33.3, 87.3, 88.7)


@pytest.mark.parametrize("name", WANTED)
def test_every_float_near_the_joints(name: str, isa: str) -> None:
    """2^17 floats on either side of each place where an implementation may change its mind."""
    for joint in JOINTS:
        middle = int(np.float32(joint).view(np.uint32))
        bits = np.arange(middle - (1 << 17), middle + (1 << 17), dtype=np.uint32)
        for x in (bits.view(np.float32), (bits | SIGN).view(np.float32)):
            y = getattr(_core, name)(x)
            exact = np.tanh if name == "tanh" else exact_sigmoid
            assert_within_two_ulp(x, y, exact(x.astype(np.float64)))
            assert np.abs(y).max() <= 1


@pytest.mark.parametrize("name", WANTED)
def test_a_sample_of_doubles(name: str, isa: str) -> None:
    """Against long double: uniform over the bits, over the interesting range, near the joints."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 0x7FF0000000000000, 200_000).view(np.float64)
    near = np.concatenate([j * (1 + rng.normal(0, 1e-9, 500)) for j in (0.25, 0.5, 1, 19.06, 36.7)])
    spread = rng.uniform(0, 45, 200_000)
    x = np.concatenate([bits, spread, 2 ** rng.uniform(-60, 10, 200_000), near])
    x = np.concatenate([x, -x])
    y = getattr(_core, name)(x)
    wide = x.astype(np.longdouble)
    wanted = np.tanh(wide) if name == "tanh" else exact_sigmoid(wide)
    assert_within_two_ulp(x, y, wanted)
    assert np.abs(y).max() <= 1
    if name == "tanh":
        np.testing.assert_array_equal(getattr(_core, name)(-x).view(np.int64), (-y).view(np.int64))
    else:
        assert y.min() >= 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype: type, isa: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e30, -1e30], dtype)
    t, s = _core.tanh(x), _core.sigmoid(x)
    np.testing.assert_array_equal(t, np.array([0, 0, 1, -1, np.nan, np.nan, 1, -1], dtype))
    assert np.signbit(t[1]) and not np.signbit(t[0])  # noqa: PT018
    np.testing.assert_array_equal(s, np.array([0.5, 0.5, 1, 0, np.nan, np.nan, 1, 0], dtype))
    assert not np.signbit(s[3])
    assert t.dtype == s.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WANTED)
def test_place_in_the_array_does_not_show(name: str, dtype: type, isa: str) -> None:
    """One value gives the same bits in any lane and in any tail."""
    x = np.random.default_rng(0).normal(size=67).astype(dtype)
    whole = getattr(_core, name)(x)
    for count in range(68):
        np.testing.assert_array_equal(getattr(_core, name)(x[:count]), whole[:count])
        np.testing.assert_array_equal(getattr(_core, name)(x[count:].copy()), whole[count:])
