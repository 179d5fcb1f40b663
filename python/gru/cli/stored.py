"""Opens model files for commands, with their table part; every failure is one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

import gru
from gru import files
from gru.cli.parser import CommandError, Parser, names
from gru.convert.parts import one_layer
from gru.extras import MissingError
from gru.table import Schema, TableError

__all__ = ["chosen", "load", "opened", "part", "prefixes", "said", "stored"]

Found = TypeVar("Found")
BETWEEN: dict[str, type[gru.Layer]] = {"Last()": gru.Last, "Mean()": gru.Mean, "Max()": gru.Max}


def prefixes(text: str) -> list[Any]:
    """Return the prefixes of a PyTorch file, with pooling layers between them.

    Examples
    --------
    >>> prefixes("encoder, Last(), head")
    ['encoder', Last(), 'head']
    """
    return [BETWEEN[name]() if name in BETWEEN else name for name in names(text) or [""]]


def said(parser: Parser) -> None:
    """Add the options for what a file of another system does not say itself."""
    add = parser.add_argument
    add(
        "--prefix",
        type=prefixes,
        metavar="P",
        help="the modules of a PyTorch file that make the model, in their order, such as encoder, "
        "or embedding,encoder,Last(),head",
    )
    add(
        "--leave",
        type=names,
        metavar="P",
        help="recurrent modules of a PyTorch file that are left unread on purpose where --prefix "
        "names more than one, such as decoder",
    )
    add(
        "--nonlinearity",
        choices=["tanh", "relu"],
        help="of a plain RNN of PyTorch or Keras, where weights alone do not tell",
    )
    add(
        "--reset",
        choices=["before", "after"],
        help="where a GRU of Keras without biases resets, which weights alone do not tell",
    )
    add(
        "--zero-states",
        action="store_true",
        help="states that an ONNX graph takes as inputs, and no model of gru could, are 0",
    )


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`gru.load` that were given; one prefix alone asks for a layer."""
    prefix = options.prefix
    if prefix is not None and len(prefix) == 1:
        (prefix,) = prefix
    given = {
        "prefix": prefix,
        "leave": options.leave,
        "nonlinearity": options.nonlinearity,
        "reset_after": None if options.reset is None else options.reset == "after",
        "zero_states": options.zero_states or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def load(path: str) -> gru.Sequential:
    """Load a model and run its self-check; see :func:`opened`."""
    return opened(path)[0]


def opened(path: str, *, verify: bool = False, **options: Any) -> tuple[gru.Sequential, str]:
    """Open a model of any format as :func:`gru.load` does.

    Returns
    -------
    model : Sequential
        The model.
    problem : str
        Why it could not be verified though it should be.

    Raises
    ------
    CommandError
        If the file is damaged, foreign, or gives other outputs than when it was saved.
    OSError
        If it cannot be read.
    """
    with open(path, "rb"):
        pass  # the usual errors of a file in the usual words
    return _plainly(path, lambda: files.opened(path, verify=verify, **options))


def part(path: str, name: str, **options: Any) -> gru.Sequential:
    """Open one recurrent layer of a Keras or ONNX file; errors as those of :func:`opened`."""
    return _plainly(path, lambda: one_layer(path, name, **options))


def _plainly(path: str, read: Callable[[], Found]) -> Found:
    try:
        return read()
    except (ValueError, TypeError, RuntimeError, MissingError) as error:
        text = " ".join(str(error).split())
        raise CommandError(text if path in text else f"{path}: {text}") from None


def stored(path: str) -> tuple[gru.Sequential, Schema]:
    """Load a model that ``gru train`` wrote.

    Raises
    ------
    CommandError, TableError, OSError
        As :func:`load`, and if it holds no columns or others than its layers need.
    """
    model = load(path)
    schema = Schema.from_metadata(model.metadata, path)
    sizes = [layer.spec for layer in model.layers]
    ends = (sizes[0].get("input_size"), sizes[-1].get("hidden_size"))
    if ends != (schema.features.width, schema.target.width):
        raise TableError(f"{path}: its columns do not fit its layers")
    return model, schema
