"""``gru inspect``: what a model file holds, for people or as JSON."""

from __future__ import annotations

import argparse
import os
from typing import Any

import gru
from gru.cli import origin
from gru.cli.output import as_json, emit
from gru.cli.parser import CommandError, Parser, whole
from gru.cli.stored import chosen, opened, said
from gru.convert.formats import NAMES, kind
from gru.convert.parts import recurrent_layers
from gru.recurrent import Recurrent
from gru.table import KEY, Schema
from gru.table.errors import listed, plural

__all__ = ["options", "run"]


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Shows layers, parameters, whether the model still gives the outputs it gave when it was "
        "saved, how a call is spread over threads, and the columns it was trained on. "
        "For a file of PyTorch, Keras or ONNX, also which convention it follows; if it cannot be "
        "opened whole, its recurrent layers."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file")
    said(parser)
    add("--verify", action="store_true", help="run a foreign file in its own framework too")
    add("--json", action="store_true", help="everything as JSON")
    add("--batch", type=whole(1, 2**24), default=32, metavar="N", help="sequences to plan for (32)")
    add("--steps", type=whole(1, 2**24), default=100, metavar="N", help="steps to plan for (100)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Load the model, which runs its self-check, and show it."""
    given = chosen(options)
    try:
        model, _ = opened(options.model, verify=options.verify, **given)
    except CommandError as error:
        if options.verify or given:
            raise
        found = {"file": options.model, "bytes": os.path.getsize(options.model)}
        found |= {"problem": str(error), "recurrent": _recurrent(options.model, error)}
        emit(None, as_json(found) if options.json else _part_text(found))
        return
    found = _found(model, options.model, options.batch, options.steps)
    emit(None, as_json(found) if options.json else _text(found, model, options.model))


def _recurrent(path: str, error: CommandError) -> dict[str, str]:
    """Return the recurrent layers of a file that cannot be opened whole."""
    try:
        found = recurrent_layers(path)
    except (ValueError, ImportError):  # of which the error already speaks
        found = {}
    if not found:
        raise error
    return found


def _part_text(found: dict[str, Any]) -> str:
    lines = [
        f"{found['file']}: {found['bytes']:,} bytes; it cannot be opened whole",
        f"  {found['problem']}",
        "",
        "recurrent layers",
        *(f"  {name}: {layer}" for name, layer in found["recurrent"].items()),
    ]
    return "\n".join(lines) + "\n"


def _found(model: gru.Sequential, path: str, batch: int, steps: int) -> dict[str, Any]:
    table: dict[str, Any] | None = None
    if KEY in model.metadata:
        schema = Schema.from_metadata(model.metadata, path)
        table = {"id": schema.id, "time": schema.time}
        table |= {"features": schema.features.as_dict(), "target": schema.target.as_dict()}
    return {
        "file": path,
        "bytes": os.path.getsize(path),
        "format": kind(path),
        "dtype": model.dtype,
        "parameters": model.num_parameters,
        "self_check": "passed" if kind(path) == "gru" else None,  # one that fails is not loaded
        "isa": gru.active_isa(),
        "layers": [_layer(model, i) for i in range(len(model.layers))],
        "plan": [
            {"layer": i, "training": training, "batch": batch, "steps": steps}
            | layer.plan(batch, steps, training=training)._asdict()
            for i, layer in enumerate(model.layers)
            if isinstance(layer, Recurrent)
            for training in (False, True)
        ],
        "table": table,
        "metadata": {
            key: value
            for key, value in model.metadata.items()
            if key != KEY and key not in origin.KEYS
        },
    } | origin.found(model, path)


def _layer(model: gru.Sequential, number: int) -> dict[str, Any]:
    start = f"{number}."
    shapes = {
        name.removeprefix(start): list(value.shape)
        for name, value in model.parameters.items()
        if name.startswith(start)
    }
    block = model.blocks().get(str(number))
    return {
        "layer": repr(model.layers[number]),
        "parameters": 0 if block is None else int(block.size),
        "shapes": shapes,
    }


def _text(found: dict[str, Any], model: gru.Sequential, path: str) -> str:
    lines = [
        f"{path}: {found['bytes']:,} bytes, {found['dtype']}, "
        f"{plural(found['parameters'], 'parameter')}",
        _self_check(found["format"]),
        *origin.lines(found),
        "",
        "layers",
        *(
            f"  {i}  {of['layer']:<60} {of['parameters']:>10,}"
            for i, of in enumerate(found["layers"])
        ),
        *_plan_lines(found["plan"]),
    ]
    if found["table"] is not None:
        lines += ["", "table", *_table_lines(Schema.from_metadata(model.metadata, path))]
    if found["metadata"]:
        lines += [
            "",
            "metadata",
            *(f"  {key}: {value}" for key, value in found["metadata"].items()),
        ]
    return "\n".join(lines) + "\n"


def _self_check(kind: str) -> str:
    if kind == "gru":
        return "self-check: passed, the outputs are those of the day it was saved"
    return f"format: {NAMES[kind]}"


def _plan_lines(plans: list[dict[str, Any]]) -> list[str]:
    if not plans:
        return []
    size = f"{plural(plans[0]['batch'], 'sequence')} of {plural(plans[0]['steps'], 'step')}"
    lines = ["", f"plan for {size}, {gru.active_isa()} kernels"]
    for plan in plans:
        kind = "training" if plan["training"] else "inference"
        threads = plural(plan["threads"], "thread")
        lines.append(f"  layer {plan['layer']}, {kind}: {threads}; {plan['reason']}")
    return lines


def _table_lines(schema: Schema) -> list[str]:
    target, features = schema.target, schema.features
    lines = [f"  id      {schema.id!r}", f"  time    {schema.time!r}"]
    what = f"{plural(len(target.classes), 'class', 'classes')}: {listed(target.classes)}"
    if target.scaler is not None:
        what = f"mean {target.scaler.mean[0]:g}, standard deviation {target.scaler.std[0]:g}"
    lines.append(f"  target  {target.column!r}: {target.task}, one per {target.per}; {what}")
    if features.scaler is not None:
        each = zip(features.numbers, features.scaler.mean, features.scaler.std, strict=True)
        lines += [
            f"  number  {name!r}: mean {m:g}, standard deviation {s:g}" for name, m, s in each
        ]
    for name, of in features.categories.items():
        lines.append(
            f"  text    {name!r}: {plural(len(of), 'category', 'categories')}: {listed(of)}"
        )
    return lines
