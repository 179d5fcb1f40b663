"""Bad input: each call raises the right error, which says what was expected and what came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bad_calls
import gru

EITHER = (TypeError, ValueError)
SWAPPED = np.dtype(np.float32).newbyteorder()


def layer(kind: Any = gru.GRU, **options: Any) -> Any:
    """B 3, T 5, I 4, H 6 and 4 rows of state in everything below."""
    return kind(4, 6, num_layers=2, bidirectional=True, seed=0, **options)


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


X = zeros(3, 5, 4)
STATE = zeros(3, 4, 6)

# argument, its bad value, error, message
BAD_X: list[tuple[Any, Any, str]] = [
    (zeros(5, 4), ValueError, r"x must have a time axis.*\(B, T, .*got \(5, 4\)"),
    (zeros(1, 3, 5, 4), ValueError, r"x must have shape \(B, T, I\), got \(1, 3, 5, 4\)"),
    (zeros(), ValueError, r"x must have shape \(B, T, I\), got \(\)"),
    (zeros(3, 5, 9), ValueError, r"x must have shape \(B, T, 4\), got \(3, 5, 9\)"),
    (zeros(3, 5, 0), ValueError, r"x must have shape \(B, T, 4\), got \(3, 5, 0\)"),
    (
        zeros(3, 5, 4, dtype=np.float64),
        TypeError,
        r'x must have dtype float32, got float64; cast it with x\.astype\("float32"\)',
    ),
    (zeros(3, 5, 4, dtype=np.int64), TypeError, "x must have dtype float32, got int64"),
    (zeros(3, 5, 4, dtype=np.complex64), TypeError, "x must have dtype float32, got complex64"),
    (zeros(3, 5, 4, dtype=np.float16), TypeError, "x must have dtype float32, got float16"),
    (zeros(3, 5, 4, dtype=object), TypeError, "x must have dtype float32, got object"),
    (zeros(3, 5, 4, dtype=SWAPPED), TypeError, "x must have dtype float32, got [<>]f4; cast it"),
    (None, TypeError, "x must be .*got .*None"),
    ("abc", TypeError, "x must be .*got .*str"),
    (3, TypeError, "x must be .*got .*int"),
]
BAD_ARGUMENTS: list[tuple[str, Any, Any, str]] = [
    ("lengths", [1, 6, 2], ValueError, r"lengths.*\b5\b.*got 6"),
    ("lengths", [1, -1, 2], ValueError, r"lengths.*\b5\b.*got -1"),
    ("lengths", [1, 2**62, 2], ValueError, f"lengths.*got {2**62}"),
    ("lengths", np.array([1, 2**64 - 1, 2], np.uint64), EITHER, "lengths"),
    ("lengths", [1, 2**70, 2], EITHER, "lengths"),
    ("lengths", [1, np.nan, 2], TypeError, "lengths must hold integers, got dtype float64"),
    ("lengths", [1.0, 2.0, 2.0], TypeError, "lengths must hold integers, got dtype float64"),
    ("lengths", [True, True, False], TypeError, "lengths must hold integers, got dtype bool"),
    ("lengths", ["1", "2", "3"], TypeError, "lengths must hold integers, got dtype <U1"),
    ("lengths", [1, None, 2], TypeError, "lengths must hold integers, got dtype object"),
    ("lengths", [1, 2], ValueError, r"lengths must have shape \(B,\) = \(3,\), got \(2,\)"),
    ("lengths", [[1], [2], [3]], ValueError, r"lengths must .*= \(3,\), got \(3, 1\)"),
    ("lengths", 3, ValueError, r"lengths must have shape \(B,\) = \(3,\), got \(\)"),
    ("lengths", [[1, 2], [3]], EITHER, "lengths"),
    ("mask", np.ones((5, 3), bool), ValueError, r"mask must .*= \(3, 5\), got \(5, 3\)"),
    ("mask", np.ones(3, bool), ValueError, r"mask must .*= \(3, 5\), got \(3,\)"),
    ("mask", np.ones((3, 5)), TypeError, "mask must hold booleans.*got .*float64"),
    ("mask", np.ones((3, 5), np.int64), TypeError, "mask must hold booleans.*got .*int64"),
    ("mask", "abc", EITHER, "mask must"),
    ("state", zeros(3, 4, 7), ValueError, r"state must .*= \(3, 4, 6\), got \(3, 4, 7\)"),
    ("state", zeros(3, 6), ValueError, r"state must .*= \(3, 4, 6\), got \(3, 6\)"),
    (
        "state",
        zeros(4, 3, 6),
        ValueError,
        r"state must .*= \(3, 4, 6\) .*PyTorch.* got \(4, 3, 6\)",
    ),
    ("state", zeros(3, 4, 6, dtype=float), TypeError, "state must have dtype float32, got float64"),
    ("state", (STATE, STATE), EITHER, r"state must be .*got .*(pair|tuple)"),
    ("state", "h", EITHER, "state must be .*got .*str"),
]
BAD_PAIRS: list[tuple[Any, Any, str]] = [
    (STATE, EITHER, r"state must be .*\(h, c\).*got"),
    ((STATE,) * 3, EITHER, r"state must be .*\(h, c\).*got .*3"),
    ((), EITHER, r"state must be .*\(h, c\).*got"),
    ((zeros(3, 4, 5), STATE), ValueError, r"state\[0\] must .*= \(3, 4, 6\), got \(3, 4, 5\)"),
    ((STATE, zeros(3, 1, 6)), ValueError, r"state\[1\] must .*= \(3, 4, 6\), got \(3, 1, 6\)"),
    ((STATE, zeros(4, 3, 6)), ValueError, r"state\[1\] must .*PyTorch.* got \(4, 3, 6\)"),
    (
        (STATE, zeros(3, 4, 6, dtype=float)),
        TypeError,
        r"state\[1\] must have dtype float32, got float64",
    ),
    ((STATE, None), TypeError, r"state\[1\] must be .*got None"),
]


def name_of(value: Any) -> str | None:
    """A short id: the shape and dtype of an array, the name of a type."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".replace(" ", "")
    return getattr(value, "__name__", None if isinstance(value, str) else "")


@pytest.mark.parametrize(("value", "error", "message"), BAD_X, ids=name_of)
@pytest.mark.parametrize("kind", [gru.GRU, gru.LSTM, gru.RNN])
def test_x(kind: Any, value: Any, error: Any, message: str) -> None:
    made = layer(kind)
    for target in (made, made.forward):
        with pytest.raises(error, match=message):
            target(value)


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_ARGUMENTS, ids=name_of)
def test_arguments(name: str, value: Any, error: Any, message: str) -> None:
    made = layer()
    for target in (made, made.forward):
        with pytest.raises(error, match=message):
            target(X, **{name: value})


@pytest.mark.parametrize(("value", "error", "message"), BAD_PAIRS, ids=name_of)
def test_state_of_an_lstm(value: Any, error: Any, message: str) -> None:
    made = layer(gru.LSTM)
    for target in (made, made.forward):
        with pytest.raises(error, match=message):
            target(X, value)


def test_float32_in_a_float64_layer_shows_the_cast() -> None:
    made = layer(dtype="float64")
    message = r'x must have dtype float64, got float32; cast it with x\.astype\("float64"\)'
    with pytest.raises(TypeError, match=message):
        made(X)
    with pytest.raises(TypeError, match="state must have dtype float64, got float32"):
        made(X.astype(np.float64), STATE)


def test_backward() -> None:
    made = layer()
    y, state, tape = made.forward(X)
    for dy, error, message in (
        (y[:2], ValueError, r"dy must have shape .*\(3, 5, 12\), got \(2, 5, 12\)"),
        (y[..., :6], ValueError, r"dy must have shape .*\(3, 5, 12\), got \(3, 5, 6\)"),
        (y.astype(float), TypeError, "dy must have dtype float32, got float64"),
        ("dy", EITHER, "dy must be .*got .*str"),
    ):
        with pytest.raises(error, match=message):
            made.backward(tape, dy)
    for dstate, error, message in (
        (state[:2], ValueError, r"dstate must .*= \(3, 4, 6\), got \(2, 4, 6\)"),
        (
            state.swapaxes(0, 1),
            ValueError,
            r"dstate must .*= \(3, 4, 6\).*PyTorch.*got \(4, 3, 6\)",
        ),
        ((state, state), EITHER, "dstate must be"),
    ):
        with pytest.raises(error, match=message):
            made.backward(tape, y, dstate)
    for other in (None, "tape", 3):
        with pytest.raises(TypeError, match=r".+"):
            made.backward(other, y)
    narrow = gru.GRU(4, 5, seed=0)
    wide = layer(dtype="float64")
    with pytest.raises(EITHER, match="tape"):
        narrow.backward(tape, y)
    with pytest.raises(EITHER, match="tape"):
        wide.backward(tape, y.astype(float))
    with pytest.raises(EITHER, match="tape"):
        layer(gru.LSTM).backward(tape, y)


def test_parameters() -> None:
    made = layer()
    with pytest.raises(ValueError, match=r"weight_ih_l0 must have shape \(18, 4\), got \(4, 18\)"):
        made.parameters["weight_ih_l0"] = zeros(4, 18)
    with pytest.raises(ValueError, match=r"bias_hh_l1_reverse must .*\(18,\), got \(\)"):
        made.parameters["bias_hh_l1_reverse"] = np.float32(0)
    with pytest.raises(TypeError, match="weight_ih_l0 must be float32, got float64"):
        made.parameters["weight_ih_l0"] = zeros(18, 4, dtype=float)
    with pytest.raises(KeyError, match="weight_ih_l9"):
        made.parameters["weight_ih_l9"] = zeros(18, 4)
    with pytest.raises(ValueError, match="broadcast"):
        made.parameters["weight_ih_l0"][...] = zeros(4, 18)
    made.freeze()
    with pytest.raises(ValueError, match=r"weight_ih_l0 .*frozen"):
        made.parameters["weight_ih_l0"] = zeros(18, 4)
    with pytest.raises(ValueError, match="read-only"):
        made.parameters["weight_ih_l0"][...] = 0


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, 6), {}, ValueError, "input_size must .*got 0"),
        ((4, 0), {}, ValueError, "hidden_size must .*got 0"),
        ((4, -6), {}, ValueError, "hidden_size must .*got -6"),
        ((4, 10**9), {}, ValueError, "hidden_size"),
        ((4, 2**70), {}, EITHER, "hidden_size"),
        ((4.5, 6), {}, TypeError, "input_size"),
        (("4", 6), {}, TypeError, "input_size"),
        ((4, None), {}, TypeError, "hidden_size"),
        ((4, 6), {"num_layers": 0}, ValueError, "num_layers must .*got 0"),
        ((4, 6), {"update_gate": "both"}, ValueError, "update_gate must .*keep.*new.*got .*both"),
        ((4, 6), {"dropout": 1.5}, ValueError, r"dropout must .*got 1\.5"),
        ((4, 6), {"dropout": float("nan")}, ValueError, "dropout must .*got nan"),
        (
            (4, 6),
            {"dtype": "float16"},
            ValueError,
            "dtype must be float32 or float64, got .*float16",
        ),
        ((4, 6), {"dtype": ">f8"}, ValueError, "dtype must be float32 or float64"),
    ],
)
def test_construction(arguments: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gru.GRU(*arguments, **options)


def test_construction_of_an_rnn() -> None:
    with pytest.raises(ValueError, match=r"nonlinearity must .*tanh.*relu.*got .*elu"):
        gru.RNN(4, 6, nonlinearity="elu")


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("weight_ih", zeros(17, 4), ValueError, r"weight_ih must .*\(18, .*got \(17, 4\)"),
        ("weight_ih", zeros(18), ValueError, r"weight_ih must .*got .*\(18,\)"),
        ("weight_ih", zeros(18, 5), ValueError, r"\(B, T, 5\), got \(3, 5, 4\)"),
        ("weight_ih", zeros(18, 4, dtype=float), TypeError, "weight_ih must be float32"),
        ("weight_hh", zeros(18, 7), ValueError, r"weight_.h must .*got \(18, [47]\)"),
        ("weight_hh", zeros(6), ValueError, r"weight_hh must .*got .*\(6,\)"),
        ("bias_ih", zeros(6), ValueError, r"bias_ih must have shape \(18,\), got \(6,\)"),
        ("bias_hh", zeros(18, 1), ValueError, r"bias_hh must have shape \(18,\), got \(18, 1\)"),
        ("bias_hh", zeros(18, dtype=SWAPPED), TypeError, "bias_hh must be float32"),
        ("bias_hh", None, ValueError, "bias_ih and bias_hh"),
        (
            "state",
            zeros(1, 3, 6),
            ValueError,
            r"state must .*\(3, 1, 6\) .*PyTorch.*got \(1, 3, 6\)",
        ),
        ("update_gate", "old", ValueError, "update_gate must .*got .*old"),
        ("lengths", [9, 9, 9], ValueError, "lengths.*got 9"),
        ("x", zeros(3, 5, 4, dtype=int), TypeError, "x must be .*float32.*got int64"),
        ("x", X.tolist(), TypeError, "x must be .*float32.*got list"),
    ],
    ids=name_of,
)
def test_functions(name: str, value: Any, error: Any, message: str) -> None:
    arguments = {
        "x": X,
        "weight_ih": zeros(18, 4),
        "weight_hh": zeros(18, 6),
        "bias_ih": zeros(18),
        "bias_hh": zeros(18),
        name: value,
    }
    for target in (gru.gru_forward, gru.gru_forward_train):
        with pytest.raises(error, match=message):
            target(**arguments)


@pytest.mark.parametrize("missing", ["x", "weight_ih", "weight_hh"])
def test_functions_without_an_array(missing: str) -> None:
    arguments = {"x": X, "weight_ih": zeros(18, 4), "weight_hh": zeros(18, 6), missing: None}
    with pytest.raises(TypeError, match=f"{missing} must .*None"):
        gru.gru_forward(**arguments)


def test_streams() -> None:
    with pytest.raises(ValueError, match=r"bidirectional|direction"):
        layer().stream()
    made = gru.GRU(4, 6, num_layers=2, seed=0)
    for batch in (0, -1):
        with pytest.raises(ValueError, match=f"batch must .*got {batch}"):
            made.stream(batch)
    stream = made.stream(3)
    for value, error, message in (
        (zeros(3, 5), ValueError, r"x must .*= \(3, 4\), got \(3, 5\)"),
        (zeros(2, 4), ValueError, r"x must .*= \(3, 4\), got \(2, 4\)"),
        (zeros(3, 1, 4), ValueError, r"x must .*\(3, 4\), got \(3, 1, 4\)"),
        (zeros(3, 4, dtype=float), TypeError, "x must have dtype float32, got float64"),
        (None, TypeError, "x must be .*got .*None"),
    ):
        with pytest.raises(error, match=message):
            stream.step(value)
    read_only = zeros(3, 6)
    read_only.flags.writeable = False
    for out, error, message in (
        (zeros(3, 5), ValueError, r"out must have shape .*\(3, 6\), got \(3, 5\)"),
        (zeros(3, 6, dtype=float), TypeError, "out must have dtype float32, got float64"),
        (read_only, ValueError, "out must be .*writ"),
    ):
        with pytest.raises(error, match=message):
            stream.step(zeros(3, 4), out=out)
    with pytest.raises(ValueError, match=r"state.*= \(3, 2, 6\) .*PyTorch.*got \(2, 3, 6\)"):
        stream.state = zeros(2, 3, 6)
    for rows in ([3], [-1], [0, 2**40]):
        with pytest.raises(ValueError, match=f"rows.*got {rows[-1]}"):
            stream.reset(rows=rows)
    with pytest.raises(EITHER, match="rows"):
        stream.reset(rows=[0.5])


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_number_of_threads(count: int) -> None:
    with pytest.raises(ValueError, match=f"n must .*got {count}"):
        gru.set_num_threads(count)


def test_a_failed_call_leaves_the_layer_as_it_was() -> None:
    made = layer()
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    y, _ = made(x)
    for name, value, error, _ in BAD_ARGUMENTS:
        with pytest.raises(error):
            made(x, **{name: value})
    assert made(x)[0].tobytes() == y.tobytes()


def test_random_bad_calls() -> None:
    returned, raised = bad_calls.run(count=3000, seed=0)
    assert returned + raised == 3000
    assert raised >= 2000


def test_random_bad_calls_leave_the_process_alive() -> None:
    """In a process of its own, so that a crash shows as one failure with its report."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(Path(bad_calls.__file__)), "3000", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert "3000 calls" in done.stdout
