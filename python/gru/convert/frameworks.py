"""Runs a file in the framework that wrote it, to compare; the only place that imports them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert.outputs import SHAPE, example
from gru.convert.source import noted
from gru.convert.state_dict import leaves
from gru.model import Sequential
from gru.recurrent import Recurrent

__all__ = ["NotRunError", "outputs"]

BACKENDS = ("tensorflow", "torch", "jax")  # of Keras, the first that is installed


class NotRunError(Exception):
    """The source could not be run; the message says why."""


def outputs(model: Sequential, path: str, kind: str) -> tuple[str, Array, Array]:
    """Run the source of a model on its example input.

    Parameters
    ----------
    model : Sequential
        What was read from the file, with its note.
    path, kind : str
        The file and its format.

    Returns
    -------
    by : str
        The framework and its version.
    x, y : ndarray
        The input as the model takes it, and the output as the model gives it.

    Raises
    ------
    NotRunError
        If the framework is not installed or cannot run the file.
    """
    package, run = RUNNERS[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another system's future, where they are errors
            framework = _imported(package)
            x, y = run(framework, model, path)
    except NotRunError:
        raise
    except Exception as error:  # whatever another system raises on what it cannot run
        text = " ".join(str(error).split())[:200]
        raise NotRunError(f"{package} cannot run it: {type(error).__name__}: {text}") from None
    return f"{package} {framework.__version__}", x, np.asarray(y, np.float64)


def _imported(package: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise NotRunError(f"{package} is not installed")
    with _backend() if package == "keras" else _nothing():
        try:
            return importlib.import_module(package)
        except ImportError as error:
            raise NotRunError(f"{package} cannot be imported: {error}") from None


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _backend() -> Iterator[None]:
    """Let Keras take a backend that is there, unless one is chosen: its default may be absent."""
    found = [name for name in BACKENDS if importlib.util.find_spec(name)]
    chosen = "KERAS_BACKEND" in os.environ or "keras" in sys.modules or not found
    if not chosen:
        os.environ["KERAS_BACKEND"] = found[0]
    try:
        yield
    finally:
        if not chosen:
            del os.environ["KERAS_BACKEND"]


# --- PyTorch: modules of its own with the file's tensors ------------------------------------------


def _torch(torch: Any, model: Sequential, path: str) -> tuple[Array, Array]:
    tree = _tensors(torch, path)
    tensors = {f"{place}{key}": tensor for place, key, tensor, _ in leaves(tree, path)}
    prefixes = iter(_prefixes(model))
    x = example(model)
    y = torch.from_numpy(x)
    with torch.no_grad():
        for layer in model.layers:
            if layer.dtype is None:
                y = _stateless(torch, layer.spec, y)
                continue
            start = next(prefixes)
            named = {key.removeprefix(start): t for key, t in tensors.items() if _under(key, start)}
            module = _module(torch, layer, named)
            y = module(y)[0] if isinstance(layer, Recurrent) else module(y)
    return x, y.numpy()


def _tensors(torch: Any, path: str) -> Any:
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        return torch.load(path, map_location="cpu", weights_only=True)
    if importlib.util.find_spec("safetensors") is None:
        raise NotRunError("safetensors is not installed")
    return importlib.import_module("safetensors.torch").load_file(path)


def _under(key: str, start: str) -> bool:
    return key.startswith(start) and "." not in key.removeprefix(start)


def _prefixes(model: Sequential) -> list[str]:
    """Return where the layers with parameters lie in the file, as the reader noted it."""
    lines = (noted(model.metadata) or {"found": []})["found"]
    layers = [layer for layer in model.layers if layer.dtype is not None]
    pairs = zip(lines, layers, strict=False)
    prefixes = [line.removesuffix(f": {layer!r}") for line, layer in pairs]
    return ["" if prefix == "no prefix" else f"{prefix}." for prefix in prefixes]


def _module(torch: Any, layer: Any, named: dict[str, Any]) -> Any:
    """Return PyTorch's module of a layer, with the tensors of the file."""
    spec = layer.spec
    kind, sizes = spec["kind"], (spec["input_size"], spec["hidden_size"])
    options: dict[str, Any] = {}
    if not isinstance(layer, Recurrent):
        name = {"linear": "Linear", "embedding": "Embedding"}[kind]
        options = {"bias": "bias" in named} if kind == "linear" else {}
    else:
        name = kind.upper()
        options = {
            "num_layers": layer.num_layers,
            "bidirectional": layer.bidirectional,
            "bias": any(key.startswith("bias") for key in named),
            "batch_first": True,
        }
        options |= {"nonlinearity": spec["nonlinearity"]} if kind == "rnn" else {}
        named = {key if "_l" in key else f"{key}_l0": value for key, value in named.items()}
    module = getattr(torch.nn, name)(*sizes, **options, dtype=getattr(torch, layer.dtype))
    module.load_state_dict(named)
    return module


def _stateless(torch: Any, spec: dict[str, Any], y: Any) -> Any:
    kind = spec["kind"]
    if kind == "dropout":
        return y
    if kind == "activation":
        function = getattr(torch, spec["nonlinearity"])
        return function(y, dim=-1) if spec["nonlinearity"] == "softmax" else function(y)
    if kind == "pool" and spec["pool"] in ("mean", "max"):
        return y.mean(1) if spec["pool"] == "mean" else y.amax(1)
    if kind == "pool" and not spec["bidirectional"]:
        return y[:, -1]
    if kind == "pool":  # of both directions, each after its last step
        half = y.shape[2] // 2
        return torch.cat([y[:, -1, :half], y[:, 0, half:]], dim=1)
    raise NotRunError(f"a state_dict does not run a layer of kind {kind!r}")


# --- Keras ----------------------------------------------------------------------------------------


def _keras(keras: Any, model: Sequential, path: str) -> tuple[Array, Array]:
    if path.endswith(".weights.h5"):
        raise NotRunError("weights alone cannot be run by Keras")
    source = keras.saving.load_model(path, compile=False)
    batch, steps = (given or own for given, own in zip(source.input_shape, SHAPE, strict=False))
    x = example(model, batch, steps)
    return x, keras.ops.convert_to_numpy(source(x, training=False))


# --- ONNX -----------------------------------------------------------------------------------------

NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def _onnx(onnxruntime: Any, model: Sequential, path: str) -> tuple[Array, Array]:
    """Run the graph with both orders of axes; the one that comes nearest is what it means."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    tried = [_ordered(session, model, swap) for swap in (False, True)]
    runs = [run for run in tried if run is not None]
    if not runs:
        raise NotRunError("onnxruntime gives no output of the model's shape")
    return min(runs, key=lambda run: run[0])[1:]


def _ordered(session: Any, model: Sequential, swap: bool) -> tuple[float, Array, Array] | None:
    data, *others = sorted(session.get_inputs(), key=lambda given: not _is_data(given, model))
    fixed = [size if isinstance(size, int) else None for size in data.shape[:2]]
    batch, steps = (n or own for n, own in zip(fixed[:: -1 if swap else 1], SHAPE, strict=True))
    x = example(model, batch, steps)
    given = np.swapaxes(x, 0, 1) if swap else x
    feed = {data.name: np.ascontiguousarray(given, NUMBERS[data.type])}
    for other in others:
        shape = [size if isinstance(size, int) else batch for size in other.shape]
        value = steps if "int" in other.type else 0
        feed[other.name] = np.full(shape, value, NUMBERS[other.type])
    got = model(x)
    try:
        results = session.run(None, feed)
    except Exception:  # the other order may be the one that runs
        return None
    turned = [np.swapaxes(y, 0, 1) if y.ndim == 3 else y for y in results]
    same = [y.astype(float) for y in (*results, *turned) if y.shape == got.shape]
    found = [(float(np.abs(y - got).max(initial=0)), i, y) for i, y in enumerate(same)]
    if not found:
        return None
    nearest = min(found)
    return nearest[0], x, nearest[2]


def _is_data(given: Any, model: Sequential) -> bool:
    if model.input_dtype.kind == "i":
        return "int" in given.type and len(given.shape) == 2
    return len(given.shape) == 3 and given.shape[2] == example(model, 1, 1).shape[2]


RUNNERS: dict[str, tuple[str, Callable[[Any, Sequential, str], tuple[Array, Array]]]] = {
    "torch": ("torch", _torch),
    "safetensors": ("torch", _torch),
    "keras": ("keras", _keras),
    "hdf5": ("keras", _keras),
    "onnx": ("onnxruntime", _onnx),
}
