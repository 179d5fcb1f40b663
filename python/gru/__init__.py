"""Gated recurrent networks on the CPU: one C++ engine trains and serves, NumPy in, NumPy out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gru.cells import GRU, LSTM, RNN
from gru.files import export, load
from gru.layer import Layer
from gru.model import Sequential
from gru.recurrent import Plan
from gru.runtime import (
    active_isa,
    build_info,
    get_num_threads,
    isa_levels,
    set_isa,
    set_num_threads,
)
from gru.stateless import (
    Activation,
    Affine,
    Dropout,
    Embedding,
    Last,
    Linear,
    Masking,
    Max,
    Mean,
    Reverse,
)
from gru.stream import Stream, StreamPool

if TYPE_CHECKING:
    from gru import data, datasets, diagnostics, losses, metrics, plot, schedules
    from gru.callbacks import Callback, Run
    from gru.convert.arrays import from_arrays
    from gru.convert.damage import DamagedFileError, FileError, UnsupportedError
    from gru.convert.flax import from_flax
    from gru.convert.formats import UnknownFormatError
    from gru.convert.keras import load_keras, load_keras_layers
    from gru.convert.onnx_graph import load_onnx
    from gru.convert.onnx_nodes import load_onnx_node
    from gru.convert.onnx_write import to_onnx
    from gru.convert.torch import from_torch, load_torch, to_torch
    from gru.estimators import GRUClassifier, GRUForecaster, GRURegressor
    from gru.functional import (
        gru_backward,
        gru_forward,
        gru_forward_train,
        lstm_backward,
        lstm_forward,
        lstm_forward_train,
        rnn_backward,
        rnn_forward,
        rnn_forward_train,
    )
    from gru.history import History
    from gru.optim import SGD, Adam, AdamW, RMSprop, clip_grad_norm
    from gru.stopping import EarlyStopping
    from gru.train import fit

# Imported when first asked for: a service that loads a model and runs it starts without them.
_LATER = {
    "callbacks": ("Callback", "Run"),
    "convert.arrays": ("from_arrays",),
    "convert.damage": ("DamagedFileError", "FileError", "UnsupportedError"),
    "convert.flax": ("from_flax",),
    "convert.formats": ("UnknownFormatError",),
    "convert.keras": ("load_keras", "load_keras_layers"),
    "convert.onnx_graph": ("load_onnx",),
    "convert.onnx_nodes": ("load_onnx_node",),
    "convert.onnx_write": ("to_onnx",),
    "convert.torch": ("from_torch", "load_torch", "to_torch"),
    "data": (),
    "datasets": (),
    "diagnostics": (),
    "estimators": ("GRUClassifier", "GRUForecaster", "GRURegressor"),
    "functional": tuple(
        f"{cell}_{what}"
        for cell in ("gru", "lstm", "rnn")
        for what in ("forward", "forward_train", "backward")
    ),
    "history": ("History",),
    "losses": (),
    "metrics": (),
    "optim": ("SGD", "Adam", "AdamW", "RMSprop", "clip_grad_norm"),
    "plot": (),
    "schedules": (),
    "stopping": ("EarlyStopping",),
    "train": ("fit",),
}

__version__ = build_info()["version"]

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Affine",
    "Callback",
    "DamagedFileError",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "FileError",
    "GRUClassifier",
    "GRUForecaster",
    "GRURegressor",
    "History",
    "Last",
    "Layer",
    "Linear",
    "Masking",
    "Max",
    "Mean",
    "Plan",
    "RMSprop",
    "Reverse",
    "Run",
    "Sequential",
    "Stream",
    "StreamPool",
    "UnknownFormatError",
    "UnsupportedError",
    "__version__",
    "active_isa",
    "build_info",
    "clip_grad_norm",
    "data",
    "datasets",
    "diagnostics",
    "export",
    "fit",
    "from_arrays",
    "from_flax",
    "from_torch",
    "get_num_threads",
    "gru_backward",
    "gru_forward",
    "gru_forward_train",
    "isa_levels",
    "load",
    "load_keras",
    "load_keras_layers",
    "load_onnx",
    "load_onnx_node",
    "load_torch",
    "losses",
    "lstm_backward",
    "lstm_forward",
    "lstm_forward_train",
    "metrics",
    "plot",
    "rnn_backward",
    "rnn_forward",
    "rnn_forward_train",
    "schedules",
    "set_isa",
    "set_num_threads",
    "to_onnx",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name == module or name in names:
            found = import_module(f"gru.{module}")
            value = found if name == module else getattr(found, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'gru' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
