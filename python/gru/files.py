"""Opens and writes model files of every format; knows the formats by name only."""

from __future__ import annotations

import inspect
import os
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from gru import _core, check
from gru.cells import GRU, LSTM, RNN
from gru.layer import Layer
from gru.model import Sequential
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

__all__ = ["export", "load", "opened"]

KINDS: dict[str, type[Layer]] = {
    "gru": GRU,
    "lstm": LSTM,
    "rnn": RNN,
    "embedding": Embedding,
    "linear": Linear,
    "activation": Activation,
    "dropout": Dropout,
    "affine": Affine,
    "reverse": Reverse,
    "masking": Masking,
}
POOLS: dict[str, type[Layer]] = {"last": Last, "mean": Mean, "max": Max}

# What opens the formats of other systems, by the names of gru.convert.formats.
READERS = {
    "safetensors": ("torch", "load_torch"),
    "torch": ("torch", "load_torch"),
    "keras": ("keras", "load_keras"),
    "hdf5": ("keras", "load_keras"),
    "onnx": ("onnx_graph", "load_onnx"),
}
WRITERS = (".safetensors", ".onnx", ".h")
TO_TORCH = (
    "torch.save({name: torch.from_numpy(array) for name, array in gru.to_torch(model).items()}, "
    "path) writes it"
)
NOT_WRITTEN = {
    ".pt": TO_TORCH,
    ".pth": TO_TORCH,
    ".keras": "write .onnx",
    ".h5": "write .onnx",
}


def _handle(core: Any) -> Layer:
    """Return the Python layer of an engine's layer."""
    spec = core.spec
    kind = POOLS[spec["pool"]] if spec["kind"] == "pool" else KINDS[spec["kind"]]
    return kind.from_core(core)


def load(path: str | os.PathLike[str], *, verify: bool = False, **options: Any) -> Sequential:
    """Open a model: one that :meth:`Sequential.save` wrote, or one of another system.

    What a file is, is told from its content. The formats are those of PyTorch
    (:func:`gru.load_torch`), Keras (:func:`gru.load_keras`) and ONNX (:func:`gru.load_onnx`);
    the frameworks themselves are not needed. What cannot be represented exactly is refused.

    Parameters
    ----------
    path : str or path
        The file.
    verify : bool
        Run a foreign file in the framework that wrote it as well, if that is installed, and
        refuse it if the outputs differ; a warning says if it could not be run. The outputs are
        kept in the metadata, saved with the model, and compared again at every load.
    **options
        Of the function that reads this format, such as ``prefix`` for PyTorch.

    Returns
    -------
    Sequential
        Frozen; call ``unfreeze()`` to train it further. ``metadata["source"]`` says what an
        imported model was read from, ``metadata["source_check"]`` holds its outputs.

    Raises
    ------
    TypeError
        If ``path`` is no path, or an option is not one of this format.
    ValueError, RuntimeError, OSError
        If the file is missing, damaged, of an unknown format, holds what cannot be represented,
        or gives other outputs than when it was saved or than its source gave. Of another system's
        file, :class:`gru.DamagedFileError`, :class:`gru.UnknownFormatError` and
        :class:`gru.UnsupportedError` tell apart what is wrong; each is a :class:`gru.FileError`,
        which is a ValueError.
    ImportError
        If reading this format takes a package that is not there.

    Examples
    --------
    >>> import os, tempfile, numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(3, 4), gru.Last(), gru.Linear(4, 2)])
    >>> x = np.ones((1, 5, 3), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.safetensors"))
    ...     loaded = gru.load(os.path.join(folder, "model.safetensors"))
    >>> bool((loaded(x) == model(x)).all()), loaded.frozen
    (True, True)
    """
    name = os.fsdecode(check.path("path", path))
    model, problem = opened(name, verify=check.flag("verify", verify), **options)
    if problem:
        warnings.warn(f"{name}: {problem}", stacklevel=2)
    return model


def opened(path: str, *, verify: bool = False, **options: Any) -> tuple[Sequential, str]:
    """Open a model as :func:`load`; also return why it was not verified though it should be."""
    from gru.convert.damage import plain
    from gru.convert.formats import kind

    found = kind(path)
    try:
        if found != "gru":
            return _foreign(path, found, verify, options)
        _only(options)
        return _own(path), ""
    except ValueError as error:
        before, name, after = str(error).partition(path)
        error.args = (before + name + plain(after),)  # a terminal would obey what a file says
        raise


def _foreign(path: str, kind: str, verify: bool, options: dict[str, Any]) -> tuple[Sequential, str]:
    from gru.convert.outputs import record

    module, function = READERS[kind]
    reader = getattr(import_module(f"gru.convert.{module}"), function)
    _only(options, *list(inspect.signature(reader).parameters)[1:])
    if isinstance(options.get("prefix"), (str, tuple)):
        # one layer is a model as well, and asks for nothing else of the file
        options = {"leave": "", **options, "prefix": [options["prefix"]]}
    model: Sequential = reader(path, **options)
    problem = record(model, path, kind, verify=verify)
    model.freeze()
    return model, problem


def _own(path: str) -> Sequential:
    """Read a file of the engine, which runs its self-check."""
    core, metadata = _core.load(os.fsencode(path))
    model = Sequential.from_core(core, map(_handle, core.layers), metadata)
    if "source_check" in metadata:
        from gru.convert.outputs import compare

        compare(model, path)
    return model


def export(model: Sequential | Layer, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a model for another program; what is written follows from the suffix.

    ``.safetensors`` is the model file itself. Its tensors have PyTorch's names and row order; they
    have PyTorch's meaning too where PyTorch has the layer: GRU with ``reset_after=True``, LSTM,
    RNN, Linear and Embedding, without ``reverse``, ``layer_norm`` and ``zoneout``. A tensor's
    shape does not tell the others from these: PyTorch would load them and compute something else.
    :func:`gru.to_torch` refuses them; ask it for a state_dict. ``.onnx`` is a graph that other
    runtimes execute (:func:`gru.to_onnx`). ``.h`` is a C header that holds the model file as an
    array of bytes, so that a program needs no file.

    Parameters
    ----------
    model : Sequential or Layer
        A layer is written as a model of one.
    path : str or path
        Written whole or not at all; an old file stays until then.
    **options
        For ``.h``: ``name`` of the array, by default from the file's. For ``.onnx``: those of
        :func:`gru.to_onnx`.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be represented in this format, or the suffix or an option is unknown.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, gru
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(gru.Sequential([gru.GRU(3, 4)]), f"{folder}/voice.h")
    ...     with open(f"{folder}/voice.h") as file:
    ...         print(file.readline().strip())
    /* GRU(3, 4): float32, 108 parameters
    """
    check.instance("model", model, (Sequential, Layer), "a gru model or layer")
    if isinstance(model, Layer):
        model = Sequential([model])
    name = os.fsdecode(check.path("path", path))
    suffix = Path(name).suffix.lower()
    if suffix in NOT_WRITTEN:
        raise ValueError(f"{name}: gru writes no {suffix} files; {NOT_WRITTEN[suffix]}")
    if suffix not in WRITERS:
        raise ValueError(
            f"{name}: the suffix must be one of {', '.join(WRITERS)}, got {suffix or 'none'!r}"
        )
    writers = {".safetensors": _to_safetensors, ".onnx": _to_onnx, ".h": _to_header}
    writers[suffix](model, name, options)


def _to_safetensors(model: Sequential, path: str, options: dict[str, Any]) -> None:
    _only(options)
    model.save(path)


def _to_onnx(model: Sequential, path: str, options: dict[str, Any]) -> None:
    from gru.convert.onnx_write import to_onnx
    from gru.writing import replace

    replace(path, to_onnx(model, **options))


def _to_header(model: Sequential, path: str, options: dict[str, Any]) -> None:
    from gru.convert.header import header, identifier
    from gru.writing import replace

    _only(options, "name")
    name = check.text("name", options.get("name", identifier(Path(path).stem)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model"
        model.save(file)
        content = file.read_bytes()
    layers = ", ".join(map(repr, model.layers))
    title = f"{layers}: {model.dtype}, {model.num_parameters:,} parameters"
    replace(path, header(content, name, title).encode())


def _only(options: dict[str, Any], *known: str) -> None:
    for name in options.keys() - set(known):
        wanted = f"one of {', '.join(known)}" if known else "left out"
        raise TypeError(f"an option for this format must be {wanted}, got {name!r}")
