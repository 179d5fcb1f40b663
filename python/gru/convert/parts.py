"""Finds the recurrent layers of a file that need not be opened whole, in any format."""

from __future__ import annotations

from collections.abc import Callable

from gru.convert.formats import kind

__all__ = ["recurrent_layers"]


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
