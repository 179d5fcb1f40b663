"""Small ONNX models made with the onnx package, and runs of them by others, for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from reference import GATES, Array

ORDER = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
STATES = {"gru": ("h",), "lstm": ("h", "c"), "rnn": ("h",)}


def numbers(
    kind: str, rng: np.random.Generator, *, inputs: int = 3, hidden: int = 4, directions: int = 1
) -> dict[str, Array]:
    """W, R and B of a node, in ONNX's own layout and float64."""
    rows = GATES[kind] * hidden
    shapes = {"W": (rows, inputs), "R": (rows, hidden), "B": (2 * rows,)}
    return {name: 0.6 * rng.normal(size=(directions, *shape)) for name, shape in shapes.items()}


def node(kind: str, given: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A recurrent node called "cell" with the inputs that are given, X among them."""
    last = max(ORDER.index(name) for name in given)
    names = [name if name in given else "" for name in ORDER[: last + 1]]
    outputs = ["Y", *(f"Y_{state}" for state in STATES[kind])]
    return helper.make_node(kind.upper(), names, outputs, name="cell", **attributes)


def info(name: str, kind: Any = "float32", shape: Sequence[Any] | None = None) -> Any:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, code, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = ("Y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model; names as inputs or outputs stand for float32 of (steps, batch, 3) or any shape."""
    made = helper.make_graph(
        list(nodes),
        "test",
        [info(i, shape=["s", "b", 3]) if isinstance(i, str) else i for i in inputs or ("X",)],
        [info(o) if isinstance(o, str) else o for o in outputs],
        [
            a if isinstance(a, onnx.TensorProto) else numpy_helper.from_array(a, n)
            for n, a in (constants or {}).items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(made: onnx.ModelProto | bytes, folder: Path, name: str = "model.onnx") -> Path:
    content = made if isinstance(made, bytes) else made.SerializeToString()
    (folder / name).write_bytes(content)
    return folder / name


def run(made: onnx.ModelProto | bytes, given: Mapping[str, Array]) -> dict[str, Array]:
    """What onnxruntime computes, by the outputs' names."""
    content = made if isinstance(made, bytes) else made.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))


def run_slowly(made: onnx.ModelProto | bytes, given: Mapping[str, Array]) -> dict[str, Array]:
    """What the onnx package's reference computes: float64 and layout=1 too, but no lengths."""
    whole = onnx.load_from_string(made) if isinstance(made, bytes) else made
    names = [o.name for o in whole.graph.output]
    return dict(zip(names, ReferenceEvaluator(whole).run(None, given), strict=True))


def layer_weights(layer: Any) -> dict[str, Array]:
    return {name: np.array(value) for name, value in layer.parameters.items()}
