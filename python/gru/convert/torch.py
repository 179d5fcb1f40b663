"""PyTorch's files, modules and state_dicts, in and out; PyTorch itself is never imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.convert import pickled, safetensors
from gru.convert.assembly import assembled
from gru.convert.convention import convention
from gru.convert.damage import UnsupportedError
from gru.convert.formats import NAMES, kind
from gru.convert.source import note
from gru.convert.state_dict import Rename, StateDict
from gru.convert.torch_modules import from_module
from gru.layer import Layer
from gru.model import Sequential

__all__ = ["from_torch", "load_torch", "to_torch"]

READERS = {"safetensors": safetensors.read, "torch": pickled.read}
LACKING = (("reset_after", False), ("layer_norm", True), ("direction", "reverse"))
NAMES_OF = "a list of different names, one for each layer with numbers"


def load_torch(
    path: str | os.PathLike[str],
    prefix: Any = None,
    *,
    nonlinearity: str | None = None,
    rename: Rename = None,
    leave: str | Sequence[str] | None = None,
) -> Any:
    """Open recurrent layers of PyTorch from a ``.safetensors``, ``.pt`` or ``.pth`` file.

    PyTorch is not needed, and nothing in the file is executed. The layer follows from the names
    and shapes: GRU, LSTM or RNN (or their cells), sizes, stacked layers, directions, biases.
    ``module.`` (DataParallel) and ``_orig_mod.`` (torch.compile) in names and dicts around the
    state_dict are looked through. float16 and bfloat16 become float32, exactly.

    Parameters
    ----------
    path : str or path
        A state_dict, or a checkpoint dict that holds one.
    prefix : str, pair or list, optional
        What to open. A string such as ``"encoder.gru"`` gives that layer; ``""`` one whose names
        have no prefix. A list gives a :class:`gru.Sequential`: its items are prefixes, in the
        order in which the model runs them, and layers without numbers, such as ``gru.Last()``.
        A file does not tell an embedding from a ``Linear(bias=False)``: where widths do not
        either, give a pair such as ``("head", gru.Linear)``. If not given, the file must hold one
        recurrent layer and nothing else, which comes as ``Sequential([layer])``.
    nonlinearity : {"tanh", "relu"}, optional
        Of a plain RNN, whose weights do not tell.
    rename : dict or callable, optional
        Gives PyTorch's name for a name of the file, where the two differ.
    leave : str or list of str, optional
        With a list: prefixes of recurrent layers that are left unread on purpose. One covers all
        below it, and ``""`` everything. The metadata say what was left aside.

    Returns
    -------
    Layer or Sequential
        A Sequential notes in its metadata what it was read from.

    Raises
    ------
    ValueError
        If the file is damaged or no such file; if a prefix is missing, and then the message lists
        the recurrent ones; if a tensor below a prefix is missing, left over or does not fit; if
        a list leaves a recurrent layer unread that ``leave`` does not name; if gru lacks something,
        such as an LSTM's ``proj_size``.
    OSError
        If the file cannot be read.

    Notes
    -----
    Inputs are batch first, whatever ``batch_first`` was; dropout between stacked layers is not in
    a state_dict. Of the file, only what is used is read.

    Examples
    --------
    >>> import json, os, tempfile, numpy as np, gru
    >>> header = {"rnn.weight_ih": {"dtype": "F32", "shape": [6, 1], "data_offsets": [0, 24]},
    ...           "rnn.weight_hh": {"dtype": "F32", "shape": [6, 2], "data_offsets": [24, 72]}}
    >>> text = json.dumps(header).encode()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(len(text).to_bytes(8, "little") + text + bytes(72))
    ...     gru.load_torch(path, "rnn")
    GRU(1, 2, bias=False)
    """
    name = os.fsdecode(check.path("path", path))
    state = StateDict(tree(name), name, rename)
    found, lines = assembled(state, prefix, nonlinearity, leave)
    if isinstance(found, Sequential):
        found.metadata.update(note("torch", name, convention("torch", found.layers), lines))
    return found


def tree(path: str) -> Any:
    """Return the arrays of a file by its content, whatever its name ends in."""
    found = kind(path)
    if found == "gru":
        raise UnsupportedError(path, "a file that gru wrote itself; open it with gru.load")
    if found not in READERS:
        raise UnsupportedError(path, f"is {NAMES[found]}, no file of PyTorch")
    return READERS[found](path)


def from_torch(
    source: Any,
    prefix: Any = None,
    *,
    nonlinearity: str | None = None,
    rename: Rename = None,
    leave: str | Sequence[str] | None = None,
) -> Any:
    """Take the layers of a live PyTorch module, or of a state_dict.

    Parameters
    ----------
    source : module or dict
        ``nn.GRU``, ``nn.LSTM``, ``nn.RNN``, their cells, ``nn.Linear``, ``nn.Embedding``,
        ``nn.Dropout``, ``nn.ReLU``, ``nn.Tanh``, ``nn.Sigmoid``, ``nn.Softmax`` over the last
        axis, or an ``nn.Sequential`` of them; or a dict of tensors or NumPy
        arrays by PyTorch's names.
    prefix, nonlinearity, rename, leave
        For a dict, as in :func:`gru.load_torch`.

    Returns
    -------
    Layer or Sequential
        The numbers are copied. Of a recurrent module, ``dropout`` is kept; inputs are batch
        first, whatever its ``batch_first`` is.

    Raises
    ------
    TypeError
        If ``source`` is neither.
    ValueError
        If the module is one that gru does not have or has an option that it lacks; for a dict as
        in :func:`gru.load_torch`.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.from_torch({"weight_ih": np.ones((4, 3)), "weight_hh": np.ones((4, 1))}, "")
    LSTM(3, 1, bias=False, dtype='float64')
    """
    if isinstance(source, Mapping):
        return assembled(StateDict(source, "state_dict", rename), prefix, nonlinearity, leave)[0]
    if any(option is not None for option in (prefix, nonlinearity, rename, leave)):
        what = "prefix, nonlinearity, rename and leave"
        raise ValueError(f"{what} are for a state_dict, not for a module")
    return from_module(source)


def to_torch(model: Layer | Sequential, prefix: Any = None) -> dict[str, Array]:
    """Return the numbers as a state_dict that PyTorch's module loads with ``strict=True``.

    Parameters
    ----------
    model : Layer or Sequential
        A recurrent layer, an Embedding, a Linear, or a model of them and layers without numbers.
    prefix : str or list of str, optional
        For a layer, what its names start with. For a model one name for each layer that has
        numbers, in order, such as ``["embedding", "gru", "fc"]``: the names of the attributes
        that hold them in a module of your own. If not given, a layer's names have no prefix, and
        a model's start with the layer's number, as those of ``nn.ModuleList``, where
        ``nn.Identity()`` stands for each layer without numbers: ``"0.weight_ih_l0"``.

    Returns
    -------
    dict of str to ndarray
        Copies in the layer's dtype; ``{k: torch.from_numpy(v) for k, v in ...items()}`` makes
        tensors of them. The same function: with ``update_gate="new"`` the z rows are negated.

    Raises
    ------
    TypeError
        If it is neither a layer nor a model.
    ValueError
        If PyTorch has no such module: ``reset_after=False``, ``layer_norm``, ``reverse``,
        ``zoneout``, or a layer with numbers of another kind.

    Examples
    --------
    >>> import gru
    >>> state = gru.to_torch(gru.Sequential([gru.GRU(3, 4), gru.Last(), gru.Linear(4, 2)]))
    >>> list(state)[3:]
    ['0.bias_hh_l0', '2.weight', '2.bias']
    >>> list(gru.to_torch(gru.Linear(4, 2), "fc"))
    ['fc.weight', 'fc.bias']
    """
    check.instance("model", model, (Layer, Sequential), "a gru layer or gru.Sequential")
    if isinstance(model, Layer):
        name = "" if prefix is None else check.text("prefix", prefix)
        return dict(_named(model, name, repr(model)))
    numbered = {i: layer for i, layer in enumerate(model.layers) if layer.dtype is not None}
    names = (
        list(map(str, numbered)) if prefix is None else check.several("prefix", prefix, NAMES_OF)
    )
    if len(names) != len(numbered) or len(set(names)) != len(names):
        raise ValueError(f"prefix must be {NAMES_OF}, got {len(set(names))} for {len(numbered)}")
    state: dict[str, Array] = {}
    for name, (i, layer) in zip(names, numbered.items(), strict=True):
        state.update(_named(layer, check.text("a prefix", name), f"layers[{i}], {layer!r},"))
    return state


def _named(layer: Layer, prefix: str, where: str) -> Iterator[tuple[str, Array]]:
    """Yield PyTorch's names and numbers of a layer."""
    start = prefix + "." if prefix and not prefix.endswith(".") else prefix
    negated = _checked(layer, where)
    for name, array in layer.parameters.items():
        found = np.array(array)
        if negated:
            rows = len(found) // 3
            np.negative(found[rows : 2 * rows], out=found[rows : 2 * rows])
        yield start + name, found


def _checked(layer: Layer, where: str) -> bool:
    """Refuse what PyTorch lacks; say whether the z rows mean the opposite there."""
    lacks = [f"{name}={value!r}" for name, value in LACKING if layer.spec.get(name) == value]
    lacks += [f"zoneout={layer.spec['zoneout']}"] if layer.spec.get("zoneout") else []
    if lacks:
        raise ValueError(f"{where} has {', '.join(lacks)}, which no module of PyTorch has")
    if layer.spec["kind"] not in ("gru", "lstm", "rnn", "linear", "embedding"):
        raise ValueError(f"{where} is no module of PyTorch")
    return layer.spec.get("update_gate") == "new"
