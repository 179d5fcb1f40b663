"""The ONNX model that ONNX Runtime and OpenVINO both read: one node a layer, weights inside."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from job import GATES, Array, Job

OPSET = 17
IR_VERSION = 8  # read by every runtime of the last years
# Where ONNX wants each of our gates (r z n, i f g o, n): its orders are z r h, i o f c and one.
ORDER = {"gru": [1, 0, 2], "lstm": [0, 3, 1, 2], "rnn": [0]}
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def reorder(job: Job, array: Array) -> Array:
    blocks = np.split(array, GATES[job.cell])
    return np.concatenate([blocks[gate] for gate in ORDER[job.cell]])


def stack(job: Job, arrays: dict[str, Array], layer: int) -> list[Array]:
    """Return W (D, GH, I), R (D, GH, H) and B (D, 2GH) of a layer."""
    ends = [end for number, end in job.suffixes() if number == layer]

    def both(name: str) -> list[Array]:
        return [reorder(job, arrays[name + end]) for end in ends]

    biases = [np.concatenate(pair) for pair in zip(both("bias_ih"), both("bias_hh"), strict=True)]
    return [np.stack(both("weight_ih")), np.stack(both("weight_hh")), np.stack(biases)]


def state_names(job: Job, layer: int) -> list[str]:
    return [f"{part}0_{layer}" for part in ("hc" if job.cell == "lstm" else "h")]


def final_names(job: Job, layer: int) -> list[str]:
    return [f"{part}_{layer}" for part in ("hc" if job.cell == "lstm" else "h")]


def fixed_inputs(job: Job, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return all of the model's inputs but x: the layers' initial states, and the lengths."""
    given = {}
    for layer in range(job.layers):
        rows = slice(layer * job.directions, (layer + 1) * job.directions)
        parts = [arrays[name][rows] for name in ("h0", "c0") if name in arrays]
        given |= dict(zip(state_names(job, layer), parts, strict=True))
    if job.ragged:
        given["lengths"] = job.lengths().astype(np.int32)
    return given


def outputs(job: Job) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the model's outputs."""
    state = (job.directions, job.batch, job.hidden)
    names = [name for layer in range(job.layers) for name in final_names(job, layer)]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, state)
    if job.mode != "step":  # of one step, Y says nothing that Y_h does not
        shapes["y"] = (job.steps, *state)
    return shapes


def named_outputs(job: Job, values: dict[str, Array]) -> dict[str, Array]:
    """(T, D, B, H) -> (B, T, D*H), and the layers' states one after the other."""
    y = values["y"].transpose(2, 0, 1, 3).reshape(job.batch, job.steps, -1)
    named = {"y": y.copy()}
    for part in "hc" if job.cell == "lstm" else "h":
        named[part] = np.concatenate([values[f"{part}_{n}"] for n in range(job.layers)])
    return named


def build(job: Job, arrays: dict[str, Array]) -> bytes:
    """Return the model. x is (T, B, I), y is (T, D, B, H)."""
    dtype = TYPES[job.dtype]
    state = (job.directions, job.batch, job.hidden)
    inputs = [helper.make_tensor_value_info("x", dtype, (job.steps, job.batch, job.inputs))]
    lengths = "lengths" if job.ragged else ""
    if lengths:
        inputs.append(helper.make_tensor_value_info(lengths, TensorProto.INT32, (job.batch,)))
    flat = np.array([0, 0, -1], np.int64)
    nodes, weights, x = [], [numpy_helper.from_array(flat, "flat")], "x"
    for layer in range(job.layers):
        names = [f"W_{layer}", f"R_{layer}", f"B_{layer}"]
        packed = stack(job, arrays, layer)
        weights += [numpy_helper.from_array(a, n) for a, n in zip(packed, names, strict=True)]
        for name in state_names(job, layer):
            inputs.append(helper.make_tensor_value_info(name, dtype, state))
        last = layer == job.layers - 1
        y = ("y" if last else f"y_{layer}") if job.mode != "step" else ""
        nodes.append(
            helper.make_node(
                job.cell.upper(),
                [x, *names, lengths, *state_names(job, layer)],
                [y, *final_names(job, layer)],
                hidden_size=job.hidden,
                direction="bidirectional" if job.directions == 2 else "forward",
                **({"linear_before_reset": int(job.form == "after")} if job.cell == "gru" else {}),
            )
        )
        if not last:  # (T, D, B, H) -> (T, B, D*H)
            x = f"x_{layer + 1}"
            nodes.append(helper.make_node("Transpose", [y], [f"t_{layer}"], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [f"t_{layer}", "flat"], [x]))
    results = [helper.make_tensor_value_info(n, dtype, s) for n, s in outputs(job).items()]
    graph = helper.make_graph(nodes, "recurrent", inputs, results, weights)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
