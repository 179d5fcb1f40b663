"""Choosing an instruction-set level: by name, by environment, in the middle of things."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import gru
from cases import Case, as_state, as_tuple, assert_same_bits, cases, data, make_layer
from conftest import LEVELS
from reference import Array

CASES = [case for case in cases(60, seed=6, large=0.4) if case.spec.direction != "reverse"]


def results(case: Case, dtype: str, *, freeze: bool = False) -> list[Array]:
    d = data(case, dtype)
    layer = make_layer(case.spec, d.params)
    if freeze:
        layer.freeze()
    y, state, tape = layer.forward(d.x, as_state(d.state), **d.where)
    dx, dstate, grads = layer.backward(tape, d.dy, as_state(d.dstate))
    return [y, *as_tuple(state), dx, *as_tuple(dstate), *grads.values()]


def has(*levels: str) -> None:
    missing = [level for level in levels if level not in gru.isa_levels()]
    if missing:
        pytest.skip(f"this CPU or build has no {', '.join(missing)}")


def test_levels() -> None:
    levels = gru.isa_levels()
    assert levels[0] == "baseline"
    assert levels == [level for level in LEVELS if level in levels]
    assert gru.active_isa() in levels
    if "GRU_FORCE_ISA" not in os.environ:
        assert gru.active_isa() == levels[-1]


@pytest.mark.parametrize("name", ["", "v5", "avx2", "V3", "baseline "])
def test_an_unknown_level_is_refused_with_the_list(name: str) -> None:
    before = gru.active_isa()
    with pytest.raises(ValueError, match=f"{', '.join(gru.isa_levels())}.*got '{name}'"):
        gru.set_isa(name)
    assert gru.active_isa() == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_v3_and_v4_give_the_same_bits(case: Case, dtype: str, restore_isa: None) -> None:
    has("v3", "v4")
    gru.set_isa("v3")
    wanted = results(case, dtype)
    gru.set_isa("v4")
    for i, (a, w) in enumerate(zip(results(case, dtype), wanted, strict=True)):
        assert_same_bits(a, w, f"result {i}")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_levels_agree(case: Case, dtype: str, tolerance: float, restore_isa: None) -> None:
    gru.set_isa("baseline")
    wanted = results(case, dtype)
    gru.set_isa(gru.isa_levels()[-1])
    for a, w in zip(results(case, dtype), wanted, strict=True):
        scale = max(1.0, float(np.abs(w).max(initial=0)))
        np.testing.assert_allclose(a, w, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("freeze", [False, True])
def test_the_level_may_change_at_any_time(freeze: bool, restore_isa: None) -> None:
    """Frozen layers, tapes and streams made at one level go on working at another."""
    case = CASES[1]
    d = data(case, "float32")
    layer = make_layer(case.spec, d.params)
    levels = gru.isa_levels()
    for made in levels:
        for used in levels:
            gru.set_isa(used)
            if freeze:
                layer.unfreeze()
                layer.freeze()
            wanted = layer(d.x, as_state(d.state), **d.where)[0]
            gru.set_isa(made)
            layer(d.x, as_state(d.state), **d.where)
            _, _, tape = layer.forward(d.x, as_state(d.state), **d.where)
            dx = layer.backward(tape, d.dy)[0]
            gru.set_isa(used)
            assert_same_bits(layer(d.x, as_state(d.state), **d.where)[0], wanted)
            np.testing.assert_allclose(layer.backward(tape, d.dy)[0], dx, rtol=0, atol=1e-5)


def test_a_stream_outlives_a_change_of_level(restore_isa: None) -> None:
    layer = gru.GRU(5, 21, num_layers=2, seed=0)
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    y, _ = layer(x)
    stream = layer.stream(2)
    for t in range(6):
        gru.set_isa(gru.isa_levels()[t % len(gru.isa_levels())])
        np.testing.assert_allclose(stream.step(x[:, t]), y[:, t], rtol=0, atol=1e-6)


def imported_with(level: str) -> subprocess.CompletedProcess[str]:
    program = "import gru; print(gru.active_isa(), gru.build_info()['isa_active'])"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "GRU_FORCE_ISA": level},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_forces_a_level(level: str) -> None:
    has(level)
    done = imported_with(level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [level, level]


@pytest.mark.parametrize("level", ["v9", "sse"])
def test_the_environment_forcing_an_unknown_level_fails_at_import(level: str) -> None:
    done = imported_with(level)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(("ImportError", "RuntimeError", "ValueError")), done.stderr
    assert "GRU_FORCE_ISA" in last
    assert f"'{level}'" in last
    assert "baseline" in last
