"""``gru convert``: a model of one format into another, with a check against its source."""

from __future__ import annotations

import argparse
import os
from typing import Any

import gru
from gru.cli import origin
from gru.cli.output import as_json, emit
from gru.cli.parser import CommandError, Parser
from gru.cli.stored import chosen, opened, part, said
from gru.convert.formats import NAMES, kind

__all__ = ["options", "run"]


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Opens a model of PyTorch (.pt, .pth, .safetensors), Keras (.keras, .h5), ONNX or gru, "
        "says what was found and which convention it follows, and writes it by the suffix of OUT: "
        ".safetensors, .onnx or .h, a C header. What cannot be represented exactly is refused."
    )
    add = parser.add_argument
    add("source", metavar="IN", help="a model file; its format is told from its content")
    add("out", metavar="OUT", help="the file to write")
    said(parser)
    add("--layer", metavar="NAME", help="one recurrent layer of a Keras or ONNX file alone")
    add(
        "--standard",
        action="store_true",
        help="with --layer, of a .weights.h5 of Keras, which does not say what its layers compute: "
        "your word that gates are sigmoid, candidates tanh, and layers read forward, as by default",
    )
    add(
        "--verify",
        action="store_true",
        help="run IN in its own framework too, if that is installed, and refuse other outputs",
    )
    add("--json", action="store_true", help="what was found as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Open, compare, write, and say it."""
    path, out = options.source, options.out
    if os.path.realpath(path) == os.path.realpath(out):
        raise CommandError(f"{out}: is what is read as well")
    model = _opened(options)
    found = _found(model, path)
    try:
        gru.export(model, out)
    except (ValueError, TypeError, ImportError) as error:
        raise CommandError(" ".join(str(error).split())) from None
    found["wrote"] = {"file": out, "bytes": os.path.getsize(out)}
    emit(None, as_json(found) if options.json else _text(found))


def _opened(options: argparse.Namespace) -> gru.Sequential:
    given = chosen(options)
    if options.layer is None and options.standard:
        raise CommandError("--standard: must be given with --layer")
    if options.layer is None:
        return opened(options.source, verify=options.verify, **given)[0]
    of_layer: dict[str, Any] = {
        name: given.pop(name) for name in ("nonlinearity", "reset_after") if name in given
    }
    if given or options.verify:
        without = [name.replace("_", "-") for name in given] + ["verify"] * options.verify
        others = ", ".join(f"--{name}" for name in without)
        raise CommandError(f"--layer: must be given without {others}")
    of_layer |= {"standard": True} if options.standard else {}
    return part(options.source, options.layer, **of_layer)


def _found(model: gru.Sequential, path: str) -> dict[str, Any]:
    return {
        "file": path,
        "bytes": os.path.getsize(path),
        "format": kind(path),
        "dtype": model.dtype,
        "parameters": model.num_parameters,
        "layers": [repr(layer) for layer in model.layers],
    } | origin.found(model, path)


def _text(found: dict[str, Any]) -> str:
    wrote = found["wrote"]
    lines = [
        f"{found['file']}: {NAMES[found['format']]}, {found['bytes']:,} bytes, {found['dtype']}, "
        f"{found['parameters']:,} parameters",
        "layers",
        *(f"  {i}  {layer}" for i, layer in enumerate(found["layers"])),
        *origin.lines(found),
        "",
        f"wrote {wrote['file']}: {wrote['bytes']:,} bytes",
    ]
    return "\n".join(lines) + "\n"
