"""Finds the recurrent layers of a file that need not be opened whole, in any format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gru.convert.convention import convention
from gru.convert.damage import UnsupportedError
from gru.convert.formats import NAMES, kind
from gru.convert.outputs import record
from gru.convert.source import note
from gru.model import Sequential
from gru.recurrent import Recurrent

__all__ = ["one_layer", "recurrent_layers"]


def recurrent_layers(path: str) -> dict[str, str]:
    """Return what recurrent layers a file holds, by the names they have there.

    Parameters
    ----------
    path : str
        Of any format but gru's own.

    Returns
    -------
    dict of str to str
        The layer, or why gru cannot have it; empty if there is none.

    Raises
    ------
    ValueError, OSError
        If the file is damaged or cannot be read.

    Examples
    --------
    >>> import tempfile, gru
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gru.export(gru.Sequential([gru.GRU(3, 4)]), f"{folder}/model.onnx")
    ...     list(recurrent_layers(f"{folder}/model.onnx").values())
    ['GRU(3, 4)']
    """
    finder = FINDERS.get(kind(path))
    return {} if finder is None else finder(path)


def one_layer(path: str, name: str, **options: Any) -> Sequential:
    """Return one recurrent layer of a Keras or ONNX file as a model, whatever else it holds.

    Parameters
    ----------
    path : str
        The file.
    name : str
        The layer's or the node's.
    **options
        Of :func:`gru.load_keras_layers`, for a file of weights alone.

    Returns
    -------
    Sequential
        Of this layer; its metadata say what it was read from.

    Raises
    ------
    ValueError, OSError
        If the file is of another format, damaged, or has no such layer, or an option does not fit.

    Examples
    --------
    >>> import tempfile, gru
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gru.export(gru.Sequential([gru.GRU(3, 4)]), f"{folder}/model.onnx")
    ...     (name,) = recurrent_layers(f"{folder}/model.onnx")
    ...     one_layer(f"{folder}/model.onnx", name)
    Sequential([GRU(3, 4)])
    """
    found = kind(path)
    if found not in TAKERS:
        raise UnsupportedError(path, f"is {NAMES[found]}; one layer is taken from Keras or ONNX")
    system, take = TAKERS[found]
    layer = take(path, name, **options)
    model = Sequential([layer])
    model.metadata.update(note(found, path, convention(system, [layer]), [f"{name}: {layer!r}"]))
    record(model, path, found, verify=False)
    return model


def _of_keras(path: str, name: str, **options: Any) -> Recurrent:
    from gru.convert.keras import load_keras_layers

    found = load_keras_layers(path, **options)
    if name not in found:
        listed = ", ".join(map(ascii, list(found)[:20]))
        raise UnsupportedError(path, f"has no recurrent layer {name!a}; it has {listed}")
    return found[name]


def _of_onnx(path: str, name: str, **options: Any) -> Recurrent:
    from gru.convert.onnx_nodes import load_onnx_node

    if options:
        what = f"{', '.join(sorted(options))} must not be given: an ONNX file says all of its nodes"
        raise ValueError(what)
    return load_onnx_node(path, name)


TAKERS: dict[str, tuple[str, Callable[..., Recurrent]]] = {
    "keras": ("keras", _of_keras),
    "hdf5": ("keras", _of_keras),
    "onnx": ("onnx", _of_onnx),
}


def _torch(path: str) -> dict[str, str]:
    from gru.convert.state_dict import StateDict
    from gru.convert.torch import tree

    found = {}
    for module in StateDict(tree(path), path).recurrent:
        name, _, what = str(module).rpartition(": ")
        found[name] = what
    return found


def _keras(path: str) -> dict[str, str]:
    from gru.convert.keras import load_keras_layers
    from gru.convert.keras_file import KerasFile

    note = "" if KerasFile(path).model else "; assumed: gates sigmoid, candidate tanh, read forward"
    found = load_keras_layers(path, standard=True)
    return {name: f"{layer!r}{note}" for name, layer in found.items()}


def _onnx(path: str) -> dict[str, str]:
    from gru.convert.onnx_file import OnnxFile, called
    from gru.convert.onnx_fold import Scope
    from gru.convert.onnx_nodes import read_node, recurrent_nodes

    file, found = OnnxFile(path), {}
    for scope, node in recurrent_nodes(Scope(file, file.graph)):
        name = called(node)
        while name in found:
            name += "'"
        try:
            found[name] = repr(read_node(scope, node).layer())
        except ValueError as error:
            found[name] = f"refused: {error}"
    return found


FINDERS: dict[str, Callable[[str], dict[str, str]]] = {
    "torch": _torch,
    "safetensors": _torch,
    "keras": _keras,
    "hdf5": _keras,
    "onnx": _onnx,
}
