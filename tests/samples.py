"""Small files of every format, made by the systems themselves; as a script, those in data/convert.

``python tests/samples.py FOLDER`` writes all whose system is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gru

__all__ = ["COMMITTED", "NEEDS", "SAMPLES", "make"]

COMMITTED = Path(__file__).parent / "data" / "convert"


def own(path: Path) -> None:
    model = gru.Sequential(
        [gru.GRU(2, 3, update_gate="new", seed=0), gru.Last(), gru.Linear(3, 2, seed=1)]
    )
    model.metadata["note"] = "a sample"
    model.save(path)


def torch_checkpoint(path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.GRU(2, 2, bidirectional=True)
    named = {f"module.encoder.{name}": value for name, value in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": named}, path)


def torch_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    net = torch.nn.LSTM(2, 2, num_layers=2).to(torch.bfloat16)
    save_file({f"rnn.{k}": v for k, v in net.state_dict().items()}, path, {"format": "pt"})


def onnx_graph(path: Path) -> None:
    """A GRU as exporters write it: time first, its directions squeezed away, then a layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    shapes = {"W": (1, 9, 2), "R": (1, 9, 3), "B": (1, 18), "weight": (3, 1), "bias": (1,)}
    constants = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], name="core", hidden_size=3),
        helper.make_node("Squeeze", ["y", "axis"], ["steps"]),
        helper.make_node("MatMul", ["steps", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["out"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["time", "batch", size])
        for name, size in (("x", 2), ("out", 1))
    ]
    graph = helper.make_graph(nodes, "sample", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def keras_model() -> object:
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((None, 2)), layers.GRU(2, name="core"), layers.Dense(1, name="head")]
    )
    for value in model.weights:
        value.assign(np.random.default_rng(4).normal(size=value.shape))
    return model


def keras_archive(path: Path) -> None:
    keras_model().save(path)  # type: ignore[attr-defined]


def keras_weights(path: Path) -> None:
    keras_model().save_weights(path)  # type: ignore[attr-defined]


SAMPLES: dict[str, Callable[[Path], None]] = {
    "gru.safetensors": own,
    "torch.pt": torch_checkpoint,
    "torch.safetensors": torch_safetensors,
    "model.onnx": onnx_graph,
    "model.keras": keras_archive,
    "model.weights.h5": keras_weights,
    "legacy.h5": keras_archive,
}
NEEDS = {
    "gru.safetensors": (),
    "torch.pt": ("torch",),
    "torch.safetensors": ("torch", "safetensors"),
    "model.onnx": ("onnx",),
    "model.keras": ("keras", "h5py"),
    "model.weights.h5": ("keras", "h5py"),
    "legacy.h5": ("keras", "h5py"),
}


def make(folder: Path) -> list[Path]:
    """Write the samples whose systems are installed."""
    made = []
    for name, write in SAMPLES.items():
        if all(importlib.util.find_spec(package) for package in NEEDS[name]):
            write(folder / name)
            made.append(folder / name)
    return made


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "torch")
    print(*make(Path(sys.argv[1])), sep="\n")
