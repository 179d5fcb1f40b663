"""Layers and functions against one-node ONNX graphs that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cases import (
    Case,
    as_state,
    as_tuple,
    cases,
    data,
    function_arguments,
    functions,
    make_layer,
    options,
)
from foreign import from_onnx
from reference import GATES, Array, Arrays, Spec

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# ONNX has no masks with holes; onnxruntime has no length 0. Every form in every direction.
CASES = [
    replace(case, spec=replace(case.spec, num_layers=1))
    for case in cases(74, seed=9, large=0.4)
    if case.padding != "mask" and case.batch > 0 and case.steps > 0
]
DIRECTIONS = {"forward": "forward", "reverse": "reverse", "both": "bidirectional"}
OPSET, IR_VERSION = 14, 8
TOLERANCE = 2e-6


def weights(case: Case) -> dict[str, Array]:
    """W (D, G*H, I), R (D, G*H, H) and B (D, 2*G*H), drawn in ONNX's own layout."""
    spec, rng = case.spec, np.random.default_rng(case.seed + 1)
    directions, rows = len(spec.reverses), GATES[spec.cell] * spec.hidden_size

    def normal(scale: float, *shape: int) -> Array:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    found = {
        "W": normal(0.8 * spec.input_size**-0.5, directions, rows, spec.input_size),
        "R": normal(0.8 * spec.hidden_size**-0.5, directions, rows, spec.hidden_size),
    }
    return {**found, "B": normal(0.5, directions, 2 * rows)} if spec.bias else found


def given_lengths(case: Case) -> Array | None:
    lengths = data(case, "float32").lengths
    return None if lengths is None else np.maximum(lengths, 1)


def inputs(case: Case) -> dict[str, Array]:
    """Everything the node reads, time first, states (D, B, H)."""
    d, lengths = data(case, "float32"), given_lengths(case)
    found = {"X": d.x.swapaxes(0, 1), **weights(case)}
    if lengths is not None:
        found["sequence_lens"] = lengths.astype(np.int32)
    for name, state in zip(("initial_h", "initial_c"), d.state or (), strict=False):
        found[name] = state.swapaxes(0, 1)
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def graph(spec: Spec, given: Mapping[str, Array]) -> bytes:
    """A model of one node; inputs that are not given have an empty name."""
    cell, directions = spec.cell, len(spec.reverses)
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c"]
    ranks = {"Y": 4, "Y_h": 3, **({"Y_c": 3} if cell == "lstm" else {})}
    attributes: dict[str, Any] = {
        "hidden_size": spec.hidden_size,
        "direction": DIRECTIONS[spec.direction],
    }
    if cell == "gru":
        attributes["linear_before_reset"] = int(spec.reset_after)
    if cell == "rnn":
        attributes["activations"] = [spec.nonlinearity.capitalize()] * directions
    node = onnx.helper.make_node(
        cell.upper(),
        [name if name in given else "" for name in order[: 7 if cell == "lstm" else 6]],
        list(ranks),
        **attributes,
    )
    info = onnx.helper.make_tensor_value_info
    kind = onnx.helper.np_dtype_to_tensor_dtype
    made = onnx.helper.make_graph(
        [node],
        "one node",
        [info(name, kind(value.dtype), value.shape) for name, value in given.items()],
        [info(name, onnx.TensorProto.FLOAT, [None] * rank) for name, rank in ranks.items()],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@cache
def answer(case: Case) -> tuple[Array, Arrays]:
    """What onnxruntime computes: y (B, T, D*H) and states (B, D, H)."""
    given = inputs(case)
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph(case.spec, given), one_thread, providers=["CPUExecutionProvider"]
    )
    y, *finals = session.run(None, given)
    return (
        y.transpose(2, 0, 1, 3).reshape(case.batch, case.steps, -1),
        tuple(final.swapaxes(0, 1) for final in finals),
    )


def parameters(case: Case) -> dict[str, Array]:
    """The node's weights as ours; ONNX knows update "keep" alone, so "new" has z rows negated."""
    spec, found = case.spec, weights(case)
    params = from_onnx(spec.cell, found["W"], found["R"], found.get("B"))
    if spec.cell == "gru" and spec.update_gate == "new":
        for value in params.values():
            value[spec.hidden_size : 2 * spec.hidden_size] *= -1
    return params


def test_every_form_and_direction_is_here() -> None:
    assert len(CASES) >= 60
    forms = {
        (s.cell, s.reset_after, s.update_gate, s.nonlinearity, s.direction)
        for s in (case.spec for case in CASES)
    }
    assert len(forms) == 7 * 3
    assert any(case.padding == "lengths" for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnxruntime_agrees(case: Case, isa: str) -> None:
    d, spec, params = data(case, "float32"), case.spec, parameters(case)
    call: dict[str, Any] = {"state": as_state(d.state), "lengths": given_lengths(case)}
    if spec.direction == "reverse":
        forward, _, _ = functions(spec)
        call.update(function_arguments(spec, params), **options(spec), reverse=True)
        y, state = forward(d.x, **call)
    else:
        y, state = make_layer(spec, params)(d.x, **call)
    y_onnx, state_onnx = answer(case)
    assert y.dtype == y_onnx.dtype == np.float32
    np.testing.assert_allclose(y, y_onnx, rtol=0, atol=TOLERANCE)
    for s, s_onnx in zip(as_tuple(state), state_onnx, strict=True):
        np.testing.assert_allclose(s, s_onnx, rtol=0, atol=TOLERANCE)
