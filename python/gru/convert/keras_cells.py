"""Reads Keras's recurrent layers: which options they may have, and where their numbers go."""

from __future__ import annotations

from typing import Any

import numpy as np

from gru.convert.cells import Cell, build
from gru.convert.gates import ORDERS, from_order
from gru.convert.keras_file import KerasLayer, Store
from gru.convert.regions import Region
from gru.recurrent import Recurrent

__all__ = ["CELLS", "NOT_READ", "cell_of", "function", "policy", "precision", "recurrent"]

CELLS = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}
ROLES = ("kernel", "recurrent_kernel", "bias")
# Recurrent classes that hold other cells, or the same in another order.
NOT_READ = {
    "RNN": "wraps cells of its own; use keras.layers.GRU, LSTM or SimpleRNN instead",
    "StackedRNNCells": "stacks cells in one layer; use one layer a cell instead",
    "ConvLSTM1D": "convolves, which gru does not",
    "ConvLSTM2D": "convolves, which gru does not",
    "ConvLSTM3D": "convolves, which gru does not",
    "CuDNNGRU": "is a layer of TensorFlow 1; load it there into a GRU(reset_after=True)",
    "CuDNNLSTM": "is a layer of TensorFlow 1; load it there into an LSTM",
}
HARD = {
    "2": "Keras 2's, clip(0.2 * x + 0.5, 0, 1); Keras 3 and ONNX mean others by the name",
    "3": "Keras 3's, clip(x / 6 + 0.5, 0, 1); Keras 2 and ONNX mean others by the name",
    "": "Keras 2's clip(0.2 * x + 0.5, 0, 1) or Keras 3's clip(x / 6 + 0.5, 0, 1), which the "
    "file does not say",
}


def function(layer: KerasLayer, key: str, default: str = "linear") -> str:
    """Return the name of a layer's activation.

    Raises
    ------
    ValueError
        If it is a function of the caller's own, or an object.
    """
    value = layer.config.get(key, default)
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    if value is None:
        return "linear"
    if not isinstance(value, str):
        raise layer.refused(f"{key} must be a function of Keras itself")
    return value


def policy(layer: KerasLayer) -> Any:
    """Return the name of what a layer computes in, such as "float32"; none if it does not say."""
    found = layer.config.get("dtype")
    if isinstance(found, dict):
        inner = found.get("config")
        return inner.get("name") if isinstance(inner, dict) else None
    return found


def precision(layer: KerasLayer) -> None:
    """Refuse numbers that stand for others, as after quantisation."""
    found = policy(layer)
    known = ("float16", "bfloat16", "float32", "float64")
    mixed = ("mixed_float16", "mixed_bfloat16")
    if found is not None and found not in known + mixed:
        shown = ascii(found) if isinstance(found, str) else "another"
        raise layer.refused(f"its dtype must be one of {', '.join(known + mixed)}, got {shown}")
    if layer.config.get("quantization_mode") or layer.config.get("quantization_config"):
        raise layer.refused("it is quantised; save it before quantisation")


def recurrent(layer: KerasLayer, reset_after: bool | None = None) -> Recurrent:
    """Return a recurrent layer of Keras, or a Bidirectional as one layer of two directions.

    Parameters
    ----------
    layer : KerasLayer
        GRU, LSTM, SimpleRNN, or Bidirectional of one of them. With ``go_backwards`` alone it is
        read in reverse.
    reset_after : bool, optional
        Where the file does not say.

    Raises
    ------
    ValueError
        If an option has no counterpart, or numbers are missing or do not fit.
    """
    if layer.kind != "Bidirectional":
        kind, options, cell = _one(layer, layer.store, "cell", reset_after)
        reverse = layer.flag("go_backwards")
        return build(kind, [[cell]], name=_name(layer), reverse=reverse, **options)
    forward, backward = sides(layer)
    kind, options, first = _one(forward, layer.store, "forward_layer/cell", reset_after)
    other, others, second = _one(backward, layer.store, "backward_layer/cell", reset_after)
    if (kind, options) != (other, others):
        raise layer.refused("its two directions must have the same class and options")
    if first.weight_hh.shape != second.weight_hh.shape:
        raise layer.refused("its two directions must have the same number of units")
    return build(kind, [[first, second]], name=_name(layer), **options)


def sides(layer: KerasLayer) -> tuple[KerasLayer, KerasLayer]:
    """Return the forward and the backward layer of a Bidirectional.

    Raises
    ------
    ValueError
        If they do not read forward and backward, or their outputs are not put side by side.
    """
    if layer.config.get("merge_mode", "concat") != "concat":
        shown = ascii(layer.config["merge_mode"])[:40]
        raise layer.refused(f"merge_mode must be 'concat', got {shown}")
    forward = layer.wrapped("layer")
    backward = layer.wrapped("backward_layer") if layer.config.get("backward_layer") else None
    if backward is None:
        config = {**forward.config, "go_backwards": True}
        backward = forward._replace(config=config)
    if forward.flag("go_backwards") or not backward.flag("go_backwards"):
        raise layer.refused("its layer must read forward, and its backward_layer backward")
    return forward, backward


def _one(
    layer: KerasLayer, store: Store, place: str, reset_after: bool | None
) -> tuple[str, dict[str, Any], Cell]:
    """Return cell, options and numbers of one direction."""
    if layer.kind not in CELLS:
        what = NOT_READ.get(layer.kind, "is no GRU, LSTM or SimpleRNN")
        raise layer.refused(f"it {what}")
    precision(layer)
    kind, options = CELLS[layer.kind], _rates(layer)
    options |= {"nonlinearity": _plain(layer)} if kind == "rnn" else _gates(layer)
    biased = layer.flag("use_bias", True)
    units = layer.option("units", int, "a number of units", None)
    arrays = store.arrays(place, ROLES if biased else ROLES[:2])
    if tuple(arrays[1].shape)[:1] != (units,):
        raise layer.refused(f"units is {units}, but its weights have shape {arrays[1].shape}")
    if kind == "gru":
        given = layer.config.get("reset_after", reset_after)
        options["reset_after"] = _reset(layer, arrays, given)
    return kind, options, cell_of(kind, arrays, _name(layer))


def _name(layer: KerasLayer) -> str:
    return f"{layer.file.path}: {layer}"


def _rates(layer: KerasLayer) -> dict[str, Any]:
    """Return the rates of dropout, which act in training alone."""
    rates = {"dropout": "input_dropout", "recurrent_dropout": "recurrent_dropout"}
    found = {}
    for key, own in rates.items():
        value = layer.option(key, (int, float), "a rate", 0.0)
        if not 0 <= value <= 1:
            raise layer.refused(f"{key} must be from 0 to 1, got {value}")
        found[own] = float(value)
    return found


def _plain(layer: KerasLayer) -> str:
    found = function(layer, "activation", "tanh")
    if found not in ("tanh", "relu"):
        raise layer.refused(f"activation must be tanh or relu, got {_called(layer, found)}")
    return found


def _gates(layer: KerasLayer) -> dict[str, Any]:
    """Check the functions of gates and candidate, which are those of the engine's cells."""
    # Before TensorFlow 2 the gates' default was another: without the key nothing is assumed.
    for key, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        found = function(layer, key)
        if found != wanted:
            what = f"{key} must be {wanted}, the only one of gru's cells"
            raise layer.refused(f"{what}, got {_called(layer, found)}")
    return {}


def _called(layer: KerasLayer, found: str) -> str:
    if found != "hard_sigmoid":
        return ascii(found[:40])
    major = layer.file.version.partition(".")[0]
    return f"'hard_sigmoid': {HARD[major if major in HARD else '']}"


def _reset(layer: KerasLayer, arrays: list[Region], given: Any) -> bool:
    """Return whether the reset gate acts after the product; the bias must agree."""
    shown = len(arrays[2].shape) == 2 if len(arrays) == 3 else None
    if given is None and shown is None:
        raise layer.refused("without biases the file does not say reset_after: give it")
    if isinstance(given, bool) and shown is not None and given != shown:
        what = f"reset_after is {given}, but its bias has shape {arrays[2].shape}"
        raise layer.refused(what)
    if given is not None and not isinstance(given, bool):
        raise layer.refused("reset_after must be true or false")
    return bool(shown if given is None else given)


def cell_of(kind: str, arrays: list[Region], name: str) -> Cell:
    """Return kernel, recurrent kernel and bias of Keras as the engine has them.

    Parameters
    ----------
    kind : {"gru", "lstm", "rnn"}
        The cell.
    arrays : list of array
        ``kernel`` (I, G*H), ``recurrent_kernel`` (H, G*H), and perhaps ``bias``: (G*H,), or
        (2, G*H) of a GRU whose reset gate acts after the product.
    name : str
        For messages.

    Raises
    ------
    ValueError
        If the shapes are none of these.
    """
    order = ORDERS["keras"][kind]
    axes = [len(array.shape) for array in arrays]
    pair = len(arrays) == 3 and axes[2] == 2
    if axes[:2] != [2, 2] or (pair and (kind != "gru" or arrays[2].shape[0] != 2)):
        shapes = ", ".join(str(tuple(array.shape)) for array in arrays)
        raise ValueError(f"{name}: the arrays of its cell do not add up, they have shapes {shapes}")
    if any(array.shape[-1] % len(order) for array in arrays):
        shapes = ", ".join(str(tuple(array.shape)) for array in arrays)
        raise ValueError(f"{name}: its arrays must hold {len(order)} gates, got shapes {shapes}")
    weights = [from_order(np.asarray(array).T, order, kind) for array in arrays[:2]]
    biases = []
    if len(arrays) == 3:
        rows = np.asarray(arrays[2])
        biases = [from_order(row, order, kind) for row in (rows if pair else [rows])]
    return Cell(*weights, *biases)
