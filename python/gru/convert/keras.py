"""Opens models of Keras 3 and Keras 2, whole or their recurrent layers alone; needs NumPy only."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gru import check
from gru.convert.cells import build
from gru.convert.convention import convention
from gru.convert.damage import DamagedFileError, UnsupportedError
from gru.convert.hdf5 import Node
from gru.convert.keras_cells import CELLS, NOT_READ, cell_of, recurrent
from gru.convert.keras_chain import OF_CODE, chain
from gru.convert.keras_file import KerasFile, KerasLayer
from gru.convert.keras_layers import Chain
from gru.convert.source import note
from gru.model import Sequential
from gru.recurrent import Recurrent

__all__ = ["load_keras", "load_keras_layers"]

UNSAID = (
    "holds weights alone, which do not say what the layers compute. If the gates are sigmoid, "
    "candidate and cell are tanh, and the layers read forward, all as by default, state it: "
    "gru.load_keras_layers(path, standard=True) reads the recurrent ones, and gru convert IN OUT "
    "--layer NAME --standard converts one. "
    "Otherwise save the model: model.save('m.keras')"
)
KINDS = {1: "rnn", 3: "gru", 4: "lstm"}
LONGEST = 4096  # characters of nested models' names, which each name below repeats
SIDES = ("forward_layer", "backward_layer")


def load_keras(path: str | os.PathLike[str], *, reset_after: bool | None = None) -> Sequential:
    """Open a model of Keras: ``.keras``, or ``.h5`` as Keras 2 writes it.

    Neither Keras nor h5py is needed. The model must be a chain of layers that gru has: GRU, LSTM,
    SimpleRNN, Bidirectional with ``concat``, Embedding, Masking, Dense, TimeDistributed(Dense),
    Activation, ReLU, Softmax, BatchNormalization (as in inference: :class:`gru.Affine`), Dropout,
    GlobalAveragePooling1D and GlobalMaxPooling1D; models inside the model are looked through.
    Whatever cannot be represented exactly is refused by its name.

    Parameters
    ----------
    path : str or path
        The file; what it is follows from its content.
    reset_after : bool, optional
        Of GRU layers without biases in files from before Keras 2.1.5, which do not say.

    Returns
    -------
    Sequential
        With a note in its metadata of what it was read from.

    Raises
    ------
    ValueError
        If the file is damaged or no such file; if the model is no chain, or a layer, an option or
        an activation has no counterpart; if an array is missing, left over or does not fit.
    OSError
        If the file cannot be read.

    Notes
    -----
    A plain call gives what ``model.predict`` gives, at steps that count. At those that a mask
    leaves out, gru gives 0, and Keras what follows from the last output before. ``stateful`` is
    a matter of the call: :meth:`Sequential.carry` and :meth:`Sequential.stream` carry states on.
    ``unroll``, ``implementation`` and ``use_cudnn`` do not show in results.

    For further training, rates of ``Dropout`` and of a recurrent layer are kept; Keras draws masks
    in other places, and with ``implementation=2`` drops no states of a GRU at all. Other layers
    that act in training alone, such as GaussianNoise, are left out. float16 and bfloat16 become
    float32; a model of mixed precision keeps its float32 weights and is computed in float32.

    Examples
    --------
    >>> import tempfile, gru
    >>> gru.load_keras("speech.keras")  # doctest: +SKIP
    Sequential([GRU(13, 64), Last(), Linear(64, 10), Activation('softmax')])
    >>> with tempfile.NamedTemporaryFile(suffix=".keras") as file:
    ...     try:
    ...         gru.load_keras(file.name)
    ...     except ValueError as error:
    ...         print(str(error).removeprefix(file.name))
    : is empty
    """
    file = KerasFile(check.path("path", path))
    if file.model is None:
        raise UnsupportedError(file.path, UNSAID)
    made, lines = Chain(_flag(reset_after)), []
    for layer in chain(file.model):
        found = made.add(layer)
        if found:
            lines.append(f"{layer}: {', '.join(map(repr, found))}")
    left = file.unread()
    if left:
        listed = ", ".join(map(repr, left[:8]))
        raise UnsupportedError(file.path, f"{listed} belong to no layer and would be left unread")
    try:
        model = Sequential(made.layers)
    except ValueError as error:
        raise UnsupportedError(file.path, str(error)) from None
    model.metadata.update(note("keras", file.path, convention("keras", model.layers), lines))
    return model


def load_keras_layers(
    path: str | os.PathLike[str],
    *,
    reset_after: bool | None = None,
    nonlinearity: str | None = None,
    standard: bool = False,
) -> dict[str, Recurrent]:
    """Open every recurrent layer of a Keras file, whatever else the model holds.

    Parameters
    ----------
    path : str or path
        A ``.keras``, ``.weights.h5`` or ``.h5`` file.
    reset_after : bool, optional
        Of GRU layers without biases, in a file that has no configuration.
    nonlinearity : {"tanh", "relu"}, optional
        Of SimpleRNN layers, in a file that has no configuration.
    standard : bool
        For a file that has no configuration, such as ``.weights.h5``, your word that its layers
        are as Keras makes them by default: gates with sigmoid, candidate and cell with tanh, read
        forward. Nothing in such a file says so. Other files describe their layers.

    Returns
    -------
    dict of str to GRU, LSTM or RNN
        By their names in Keras, in the file's order. A Bidirectional is one layer under its own
        name; one inside another model that shares its name has the models' names before it. A
        layer with ``go_backwards`` has ``reverse=True``: its ``y`` is in the order of ``x``,
        where Keras turns it round.

    Raises
    ------
    ValueError
        If the file is damaged, a recurrent layer cannot be represented exactly, an array of one
        would be left unread, or the file has no configuration and ``standard`` is not given.
    OSError
        If the file cannot be read.

    Notes
    -----
    A file of weights alone tells the cell by its shapes and names, and ``reset_after`` by the
    shape of its bias. It tells neither ``go_backwards`` nor the gates' functions.

    Examples
    --------
    >>> import tempfile, gru
    >>> gru.load_keras_layers("speech.keras")  # doctest: +SKIP
    {'encoder': GRU(13, 64, bidirectional=True), 'decoder': GRU(128, 64)}
    >>> with tempfile.NamedTemporaryFile(suffix=".keras") as file:
    ...     _ = file.write(b"epoch,loss"), file.flush()
    ...     try:
    ...         gru.load_keras_layers(file.name)
    ...     except ValueError as error:
    ...         print(str(error).removeprefix(file.name))
    : no HDF5 file
    """
    file = KerasFile(check.path("path", path))
    given, standard = _flag(reset_after), check.flag("standard", standard)
    if file.model is None:
        if not standard:
            raise UnsupportedError(file.path, UNSAID)
        found = dict(_by_shapes(file, given, nonlinearity))
    else:
        if nonlinearity is not None:
            raise ValueError("nonlinearity must be None: this file says it for each layer")
        layers = list(_recurrent(file.model, ""))
        count = Counter(layer.name for layer, _ in layers)
        found = {
            layer.name if count[layer.name] == 1 else name: recurrent(layer, given)
            for layer, name in layers
        }
    left = [path for path in file.unread() if _is_of_cell(path)]
    if left:
        listed = ", ".join(map(repr, left[:8]))
        what = "belong to recurrent layers that the file does not describe, inside others"
        raise UnsupportedError(file.path, f"{listed} {what}; {OF_CODE}")
    if not found:
        raise UnsupportedError(file.path, "holds no recurrent layer")
    return found


def _flag(reset_after: bool | None) -> bool | None:
    return None if reset_after is None else check.flag("reset_after", reset_after)


def _is_of_cell(path: str) -> bool:
    leaf = path.rpartition("/")[2].partition(":")[0]
    return "cell" in path.split("/") or leaf == "recurrent_kernel"


def _recurrent(layer: KerasLayer, place: str) -> Iterator[tuple[KerasLayer, str]]:
    """Yield the recurrent layers of a model and their names with those of the models around."""
    if len(place) > LONGEST:
        raise layer.refused("it and the models around it have names that are too long")
    for inner in layer.inner or []:
        name = f"{place}{inner.name}"
        if inner.inner is not None:
            yield from _recurrent(inner, f"{name}/")
        elif inner.kind in CELLS or inner.kind == "Bidirectional":
            yield inner, name
        elif inner.kind in NOT_READ:
            raise inner.refused(f"it {NOT_READ[inner.kind]}")
        elif re.split(r"\W", inner.kind)[-1] in (*CELLS, *NOT_READ, "Bidirectional"):
            raise inner.refused("it is a class of a program's own, which may compute anything")


# --- weights without a configuration --------------------------------------------------------------


def _by_shapes(
    file: KerasFile, reset_after: bool | None, nonlinearity: str | None
) -> Iterator[tuple[str, Recurrent]]:
    """Yield the recurrent layers of a file of weights, made as their shapes say."""
    if nonlinearity not in (None, "tanh", "relu"):
        raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    seen: set[str] = set()
    found = _named_cells(file) if file.by_name else _placed_cells(file.root)
    for name, cells in found:
        if name in seen:
            raise UnsupportedError(file.path, f"two layers are called {name!r}")
        seen.add(name)
        arrays = [[file.take(node) for node in cell] for cell in cells]
        yield name, _shaped(f"{file.path}: layer {name!r}", arrays, reset_after, nonlinearity)


def _shaped(
    name: str, cells: list[list[Any]], reset_after: bool | None, nonlinearity: str | None
) -> Recurrent:
    """Return a layer of one or two directions whose kind follows from shapes."""
    first = cells[0]
    shape = tuple(first[1].shape) if len(first) in (2, 3) else ()
    kind = KINDS.get(shape[1] // max(shape[0], 1)) if len(shape) == 2 else None
    if kind is None or shape[1] % shape[0]:
        raise ValueError(f"{name}: its arrays are those of no GRU, LSTM or SimpleRNN")
    options: dict[str, Any] = {}
    if kind == "rnn":
        if nonlinearity is None:
            raise ValueError(f"{name} is a SimpleRNN: give nonlinearity='tanh' or 'relu'")
        options["nonlinearity"] = nonlinearity
    if kind == "gru":
        shown = {len(cell[2].shape) == 2 for cell in cells if len(cell) == 3}
        if len(shown) > 1 or (shown and reset_after not in (None, *shown)):
            raise ValueError(f"{name}: reset_after and the shape of its bias do not agree")
        if not shown and reset_after is None:
            raise ValueError(f"{name} has no bias, which would show its reset_after: give it")
        options["reset_after"] = shown.pop() if shown else reset_after
    return build(kind, [[cell_of(kind, cell, name) for cell in cells]], name=name, **options)


def _placed_cells(root: Node) -> Iterator[tuple[str, list[list[Node]]]]:
    """Yield the layers of a ``.weights.h5`` and the arrays of their cells."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        below = [node.find(f"{side}/cell/vars") for side in SIDES]
        cells = below if any(below) else [node.find("cell/vars")]
        whole = [cell for cell in cells if cell is not None]
        if whole:
            if len(whole) != len(cells):
                raise DamagedFileError(node.file_path, f"{node.path!r} has one direction of two")
            yield _name_of(node), [_numbered(cell) for cell in whole]
            continue
        inner = [
            child for name, child in node.children.items() if name not in ("optimizer", "vars")
        ]
        waiting += reversed(inner)


def _name_of(node: Node) -> str:
    below = node.find("vars")
    name = below.text("name") if below is not None else None
    return name if name is not None else node.path.rpartition("/")[2]


def _numbered(cell: Node) -> list[Node]:
    """Return the arrays of a cell in order."""
    name = cell.text("name")
    if name is not None and not re.fullmatch(r"(gru|lstm|simple_rnn)_cell(_\d+)?", name):
        raise UnsupportedError(cell.file_path, f"{cell.path!r} is a cell of another kind, {name!r}")
    return [cell.children[key] for key in sorted(cell.children)]


def _named_cells(file: KerasFile) -> Iterator[tuple[str, list[list[Node]]]]:
    """Yield the layers of a Keras 2 file of weights and the arrays of their cells."""
    for layer, arrays in file.listed_layers():
        cells: dict[str, list[Node]] = {}
        for name, node in arrays:
            cells.setdefault(name.rpartition("/")[0], []).append(node)
        found = [
            nodes
            for nodes in cells.values()
            if any(_leaf(node) == "recurrent_kernel" for node in nodes)
        ]
        if len(found) > 2:
            raise UnsupportedError(file.path, f"{layer!r} holds more than one recurrent layer")
        for nodes in found:
            if [_leaf(node) for node in nodes] not in (ROLES, ROLES[:2]):
                raise DamagedFileError(file.path, f"the arrays of layer {layer!r} are mixed")
        if found:
            yield layer, found


ROLES = ["kernel", "recurrent_kernel", "bias"]


def _leaf(node: Node) -> str:
    return node.path.rpartition("/")[2].partition(":")[0]
