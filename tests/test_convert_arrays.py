"""Layers from the matrices of an equation, against the equation itself in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gru
from cases import assert_same_bits
from reference import Array

I, H, STEPS = 3, 4, 6  # noqa: E741 as in the equations
GATES = {"gru": "rzn", "lstm": "ifgo", "rnn": "n"}
FORMS = list(itertools.product((True, False), ("keep", "new"), (0, 1, 2)))


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def drawn(cell: str, biases: int, inputs: int = I) -> dict[str, dict[str, Array]]:
    """W, U, b and c of each gate; b and c are zero where an equation has none."""
    rng = np.random.default_rng(biases)
    return {
        role: {gate: (i < biases + 2) * rng.normal(size=shape) for gate in GATES[cell]}
        for i, (role, shape) in enumerate(
            {"W": (H, inputs), "U": (H, H), "b": (H,), "c": (H,)}.items()
        )
    }


def named(arrays: dict[str, dict[str, Array]], biases: int) -> dict[str, Array]:
    """As keyword arguments, without the biases that an equation lacks."""
    roles = ("W", "U", "b", "c")[: 2 + biases]
    return {f"{role}_{gate}": a for role in roles for gate, a in arrays[role].items()}


def stacked(arrays: dict[str, dict[str, Array]], order: str, biases: int) -> dict[str, Array]:
    roles = ("W", "U", "b", "c")[: 2 + biases]
    return {role: np.concatenate([arrays[role][gate] for gate in order]) for role in roles}


def gru_equations(
    a: dict[str, dict[str, Array]], x: Array, h: Array, *, after: bool, update: str
) -> list[Array]:
    """Cho et al. 2014, equations 5 to 8, and Chung et al. 2014, 4 to 7, and their relatives."""
    states = []
    W, U, b, c = (a[role] for role in "WUbc")
    for step in x:
        r, z = (sigmoid(W[g] @ step + b[g] + U[g] @ h + c[g]) for g in "rz")
        inner = r * (U["n"] @ h + c["n"]) if after else U["n"] @ (r * h) + c["n"]
        n = np.tanh(W["n"] @ step + b["n"] + inner)
        h = (1 - z) * n + z * h if update == "keep" else (1 - z) * h + z * n
        states.append(h)
    return states


@pytest.mark.parametrize(("after", "update", "biases"), FORMS)
def test_gru(after: bool, update: str, biases: int) -> None:
    arrays = drawn("gru", biases)
    rng = np.random.default_rng(9)
    x, h = rng.normal(size=(STEPS, I)), rng.normal(size=H)
    wanted = gru_equations(arrays, x, h, after=after, update=update)
    form: dict[str, Any] = {"reset_after": after, "update_gate": update}
    given = [
        named(arrays, biases),
        {k.replace("_n", "_h"): v for k, v in named(arrays, biases).items()},
        {k: v.T for k, v in named(arrays, biases).items()},
        {k: v[:, None] if v.ndim == 1 else v for k, v in named(arrays, biases).items()},
        {k: v.tolist() for k, v in named(arrays, biases).items()},
        *(
            {"order": words} | stacked(arrays, order, biases)
            for order, words in {
                "zrn": "z r h",
                "rzn": "rzn",
                "nrz": "new, reset, update",
            }.items()
        ),
        {"order": "zrh"} | {k: v.T for k, v in stacked(arrays, "zrn", biases).items()},
    ]
    for kwargs in given:
        layer = gru.from_arrays(**kwargs, **form)
        y, _ = layer(x[None], h[None, None])
        np.testing.assert_allclose(y[0], wanted, rtol=0, atol=1e-12)
        assert (layer.reset_after, layer.update_gate) == (after, update)
        assert layer.bias == (biases > 0)


def test_cho_2014_and_chung_2014_are_one_function_with_z_turned() -> None:
    """1 - sigmoid(a) is sigmoid(-a)."""
    arrays = named(drawn("gru", 1), 1)
    cho = gru.from_arrays(**arrays, reset_after=False, update_gate="keep")
    turned = {k: -v if k.endswith("_z") else v for k, v in arrays.items()}
    chung = gru.from_arrays(**turned, reset_after=False, update_gate="new")
    x = np.random.default_rng(0).normal(size=(2, STEPS, I))
    np.testing.assert_allclose(cho(x)[0], chung(x)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("biases", [0, 1, 2])
def test_lstm(biases: int) -> None:
    a = drawn("lstm", biases)
    rng = np.random.default_rng(8)
    x, h, c = rng.normal(size=(STEPS, I)), rng.normal(size=H), rng.normal(size=H)
    y = []
    start = (h[None, None], c[None, None])
    for step in x:
        i, f, g, o = (a["W"][k] @ step + a["b"][k] + a["U"][k] @ h + a["c"][k] for k in "ifgo")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        y.append(h)
    given: list[dict[str, Any]] = [
        named(a, biases),
        {k.replace("_g", "_c"): v for k, v in named(a, biases).items()},
        {"order": "input output forget cell"} | stacked(a, "iofg", biases),
        {"order": "ifco"} | {k: v.T for k, v in stacked(a, "ifgo", biases).items()},
    ]
    for kwargs in given:
        layer = gru.from_arrays(**kwargs)
        np.testing.assert_allclose(layer(x[None], start)[0][0], y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_rnn(function: str) -> None:
    a = drawn("rnn", 2)
    rng = np.random.default_rng(8)
    x, h = rng.normal(size=(STEPS, I)), rng.normal(size=H)
    start = h[None, None]
    y = []
    for step in x:
        h = a["W"]["n"] @ step + a["b"]["n"] + a["U"]["n"] @ h + a["c"]["n"]
        h = np.tanh(h) if function == "tanh" else np.maximum(h, 0)
        y.append(h)
    layer = gru.from_arrays(**stacked(a, "n", 2), nonlinearity=function)
    np.testing.assert_allclose(layer(x[None], start)[0][0], y, rtol=0, atol=1e-12)


def test_square_matrices_must_say_which_way() -> None:
    arrays = drawn("gru", 1, inputs=H)
    form: dict[str, Any] = {"reset_after": True, "update_gate": "keep"}
    given = named(arrays, 1)
    with pytest.raises(ValueError, match="transposed must be given"):
        gru.from_arrays(**given, **form)
    plain = gru.from_arrays(**given, **form, transposed=False)
    turned = gru.from_arrays(**{k: v.T for k, v in given.items()}, **form, transposed=True)
    for name, value in plain.parameters.items():
        assert_same_bits(turned.parameters[name], value, name)
    # Stacked ones tell by themselves.
    layer = gru.from_arrays(**stacked(arrays, "rzn", 1), order="rzn", **form)
    assert_same_bits(layer.parameters["weight_ih_l0"], plain.parameters["weight_ih_l0"])


def test_options_of_the_layer() -> None:
    a, form = drawn("gru", 2), {"reset_after": True, "update_gate": "keep"}
    only_n = named(a, 1) | {"c_n": a["c"]["n"]}
    layer = gru.from_arrays(**only_n, **form, reverse=True, dtype="float32")
    assert (layer.reverse, layer.dtype) == (True, "float32")
    wanted = np.concatenate([np.zeros(2 * H), a["c"]["n"]]).astype(np.float32)
    assert_same_bits(layer.parameters["bias_hh_l0"], wanted)
    half = {k: v.astype(np.float16) for k, v in only_n.items()}
    assert gru.from_arrays(**half, **form).dtype == "float32"


W, U, B = np.ones((H, I)), np.ones((H, H)), np.ones(H)
WHOLE = {f"{role}_{g}": a for role, a in (("W", W), ("U", U)) for g in "rzn"}
FORM: dict[str, Any] = {"reset_after": True, "update_gate": "keep"}
BAD: list[tuple[dict[str, Any], type, str]] = [
    ({}, ValueError, "W must be given"),
    (WHOLE, ValueError, "reset_after must be given: True if"),
    (WHOLE | {"reset_after": True}, ValueError, "update_gate must be given: 'keep' if"),
    (WHOLE | {"reset_after": 1, "update_gate": "keep"}, TypeError, "reset_after must be True"),
    (WHOLE | {"reset_after": True, "update_gate": "old"}, ValueError, "update_gate must be"),
    (WHOLE | FORM | {"nonlinearity": "tanh"}, ValueError, "nonlinearity is no choice of this cell"),
    (WHOLE | FORM | {"W_q": W}, ValueError, "names must be .*; got W_q"),
    (WHOLE | FORM | {"W_h": W}, ValueError, "W_n and W_h are two names of one array"),
    (WHOLE | FORM | {"b_r": B}, ValueError, "b_z, b_n must be given too"),
    (WHOLE | FORM | {f"c_{g}": B for g in "rzn"}, ValueError, "c is the second bias"),
    (WHOLE | FORM | {f"b_{g}": W for g in "rzn"}, ValueError, "b_r must be a vector"),
    (WHOLE | FORM | {f"b_{g}": np.ones(5) for g in "rzn"}, ValueError, "bias_ih_l0 must have"),
    ({k: v for k, v in WHOLE.items() if k != "U_z"} | FORM, ValueError, "U_z must be given too"),
    (WHOLE | FORM | {"W_z": W.T}, ValueError, r"got W_r \(4, 3\), W_z \(3, 4\)"),
    (WHOLE | FORM | {"U_z": np.ones((5, 5))}, ValueError, r"U_z \(5, 5\)"),
    (WHOLE | FORM | {"transposed": True}, ValueError, "transposed=True does not fit"),
    (WHOLE | FORM | {"W_z": W > 0}, TypeError, "W_z must hold float16"),
    (WHOLE | FORM | {"W_z": W.astype(np.float32)}, ValueError, "one dtype"),
    (WHOLE | FORM | {"W_z": [[1.0], [2.0, 3.0]]}, ValueError, "W_z must be an array"),
    (WHOLE | FORM | {"W_z": "abc"}, TypeError, "W_z must hold"),
    (WHOLE | FORM | {"dtype": "int8"}, ValueError, "dtype must be float32 or float64"),
    ({"W": W, "U": U}, ValueError, "nonlinearity must be given"),
    ({"W": np.ones((12, 3)), "U": np.ones((12, 4))}, ValueError, "stacked gates need order"),
    ({"W": np.ones((12, 3)), "order": "rzn"} | FORM, ValueError, "U must be given"),
    ({"W": W, "U": U, "order": "r z"}, ValueError, "order must name each gate once"),
    ({"W": W, "U": U, "order": "r z r n"}, ValueError, "order must name each gate once"),
    ({"W": W, "U": U, "order": "reset forget"}, ValueError, "order must name each gate once"),
    ({"W": W, "U": U, "order": "rzn"} | FORM, ValueError, r"W must have shape \(3\*H, I\)"),
    (WHOLE | FORM | {"order": "rzn"}, ValueError, "with order, the arrays are W, U, b and c"),
    ({"W": W, "U": U, "order": 3}, TypeError, "order must be a string"),
]  # fmt: skip


@pytest.mark.parametrize(("kwargs", "kind", "message"), BAD)
def test_what_is_refused(kwargs: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        gru.from_arrays(**kwargs)
