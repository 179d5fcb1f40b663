"""``gru train``: a model from a CSV file; tables, scores and pictures are elsewhere."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any

import numpy as np

import gru
from gru._types import Array
from gru.cli import report
from gru.cli.answers import answer
from gru.cli.model_options import model_settings
from gru.cli.output import as_json, check_outputs, check_room, check_stdout, deliver, say
from gru.cli.parser import CommandError, Parser
from gru.cli.prepare import Part, Prepared, prepare
from gru.cli.resuming import Remember, check_folder, newest
from gru.cli.schedule import schedule, watches
from gru.cli.train_options import options as add_options
from gru.cli.train_results import PARTS, scored
from gru.history import History
from gru.recipe import recipe
from gru.runtime import num_threads
from gru.table import KEY, Schema, read
from gru.table.errors import Say, plural
from gru.writing import Content

__all__ = ["build", "options", "run"]

SETTINGS = (
    "cell", "hidden", "layers", "bidirectional", "pool", "dropout", "input_dropout",
    "recurrent_dropout", "zoneout", "layer_norm", "class_weight", "epochs", "patience", "schedule",
    "batch", "lr", "weight_decay", "l2", "bptt_steps", "seed", "holdout", "validation",
)  # fmt: skip
COLUMNS = ("id", "time", "target", "features", "categorical", "task", "per")
CHOOSING = 0.2  # of the ids that are not held out, where something looks at validation


def options(parser: Parser) -> None:
    """Add the options of the command."""
    add_options(parser)
    parser.set_defaults(run=run)


def build(options: argparse.Namespace, schema: Schema) -> gru.Sequential:
    """Make a model for the inputs and outputs of a table."""
    try:
        return recipe(
            schema.features.width,
            schema.target.width,
            pooling=options.pool if schema.target.per == "id" else None,
            seed=options.seed,
            **model_settings(options),
        )
    except ValueError as error:  # sizes that are allowed one by one, and too large together
        raise CommandError(str(error)) from None


def _steered(options: argparse.Namespace) -> bool:
    """Return whether anything looks at the validation loss."""
    return options.patience is not None or watches(options.schedule)


def _settle(options: argparse.Namespace) -> None:
    """Settle the share of validation; refuse options that do not go together."""
    model_settings(options)
    looking = _steered(options)
    if options.validation is None:
        options.validation = CHOOSING if looking else 0.0
    if looking and not options.validation:
        which = "--patience" if options.patience is not None else "--schedule plateau"
        raise CommandError(f"{which}: needs ids that choose the epoch, and --validation is 0")
    if options.bptt_steps is not None and options.bidirectional:
        raise CommandError("--bptt-steps: needs a model that reads forward, not --bidirectional")


def _check_target(options: argparse.Namespace, schema: Schema) -> None:
    """Refuse options that do not go with the target."""
    target = schema.target
    if options.bptt_steps is not None and target.per == "id":
        raise CommandError(f"--bptt-steps: needs a target per row, {target.column!r} is per id")
    if options.class_weight is not None and not target.classes:
        raise CommandError(f"--class-weight: needs classes, {target.column!r} is numbers")


def _watched(data: Prepared) -> tuple[str | None, Part | None]:
    """Return the part on which losses are taken after each epoch, and its name in JSON."""
    if len(data.validation):
        return "validation", data.validation
    return ("holdout", data.held) if len(data.held) else (None, None)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of training as :func:`gru.fit` takes them."""
    decay = options.weight_decay
    alike = ("epochs", "l2", "bptt_steps", "memory_limit", "checkpoint", "resume", "log", "seed")
    return {
        "optimizer": gru.AdamW(options.lr, weight_decay=decay) if decay else gru.Adam(options.lr),
        "batch_size": options.batch,
        "schedule": None if options.schedule is None else schedule(options.schedule),
        "early_stopping": options.patience,
        **{name: getattr(options, name) for name in alike},
    }


def _fit(
    options: argparse.Namespace,
    model: gru.Sequential,
    data: Prepared,
    callbacks: list[Remember],
    note: Say,
) -> History:
    """Train as the options say; errors are in their words."""
    target = data.schema.target
    _, validation = _watched(data)
    before = {name: block.copy() for name, block in model.blocks().items()}
    try:
        with num_threads(options.threads):
            return gru.fit(
                model,
                data.train.X,
                data.train.y(target),
                loss="cross_entropy" if target.classes else "mse",
                class_weight=options.class_weight,
                callbacks=callbacks,
                validation=None if validation is None else (validation.X, validation.y(target)),
                verbose=not options.quiet and sys.stderr.isatty(),
                **_settings(options),
            )
    except FloatingPointError as error:
        kept = _rescue(options, model, before)
        raise FloatingPointError(f"{error}; a smaller --lr may help{kept}") from None
    except ValueError as error:  # checkpoints of other data, too small a limit
        raise CommandError(str(error).replace("memory_limit", "--memory-limit")) from None
    except KeyboardInterrupt:
        if options.checkpoint is not None and newest(options.checkpoint):
            note(f"--resume goes on from {newest(options.checkpoint)}")
        raise


def _rescue(options: argparse.Namespace, model: gru.Sequential, before: dict[str, Array]) -> str:
    """Write what a training that diverged has learned, if anything, and return what to say."""
    if all(np.array_equal(block, before[name]) for name, block in model.blocks().items()):
        return ""
    deliver((options.out, model.save))
    which = "last good weights" if options.patience is None else "best weights so far"
    return f"; wrote {options.out} with the {which}"


def run(options: argparse.Namespace) -> None:
    """Read, train, score, and write what was asked for."""
    note = partial(say, "gru train", options.quiet)
    named = {name: getattr(options, name) for name in ("out", "metrics", "report", "log")}
    read_too = [path for path in (options.data, options.checkpoint) if path is not None]
    check_outputs(read_too, ("out", "report"), **named)
    check_stdout(metrics=options.metrics)
    _settle(options)
    kept = {name: getattr(options, name) for name in (*COLUMNS, *SETTINGS) if name != "epochs"}
    check_folder(options.checkpoint, kept, resume=options.resume, say=note)
    if options.report is not None:
        report.check()
    start = time.perf_counter()
    table = read(options.data, encoding=options.encoding, delimiter=options.delimiter)
    chosen = (*COLUMNS, "holdout", "validation", "seed")
    data = prepare(table, note, **{name: getattr(options, name) for name in chosen})
    _check_target(options, data.schema)
    model = build(options, data.schema)
    model.metadata[KEY] = data.schema.as_json()
    check_room("out", options.out, sum(of.nbytes for of in model.parameters.values()))
    callbacks = [] if options.checkpoint is None else [Remember(options.checkpoint, kept)]
    layers = ", ".join(map(repr, model.layers))
    note(f"model: {layers}; {plural(model.num_parameters, 'parameter')}")
    history = _fit(options, model, data, callbacks, note)
    if options.patience is not None:
        early = "stopped after" if len(history) < options.epochs else "ran all of"
        best = int(np.argmin(history.val_loss)) + 1
        note(f"{early} {plural(len(history), 'epoch')}, the best was {best}")
    results = _results(options, len(table), data, model, history, note)
    results["seconds"] = round(time.perf_counter() - start, 3)
    _write(options, model, data, history, as_json(results), note)


def _write(
    options: argparse.Namespace,
    model: gru.Sequential,
    data: Prepared,
    history: History,
    metrics: str,
    note: Say,
) -> None:
    """Write model, report and scores: all of them or, on a full disk, none."""
    outputs: list[tuple[str | None, Content]] = [(options.out, model.save)]
    if options.report is not None:
        outputs.append((options.report, _picture(model, data, history)))
    deliver(*outputs, (options.metrics, metrics.encode()), note=note)


def _picture(model: gru.Sequential, data: Prepared, history: History) -> bytes:
    name, part = ("holdout", data.held) if len(data.held) else ("train", data.train)
    answers = answer(model, data.schema.target, part.X)
    watched, validation = _watched(data)
    curve = "" if validation is None else f"validation: {plural(len(validation), 'id')}"
    if watched == "holdout":
        curve += " held out"
    return report.draw(history, answers, part.flat, PARTS[name], curve)


def _results(
    options: argparse.Namespace,
    rows: int,
    data: Prepared,
    model: gru.Sequential,
    history: History,
    note: Say,
) -> dict[str, Any]:
    """Score the model, say the scores, and return all that is worth keeping."""
    target = data.schema.target
    parts = dict(zip(PARTS, (data.train, data.validation, data.held), strict=True))
    results: dict[str, Any] = {
        "target": target.column,
        "task": target.task,
        "per": target.per,
        "classes": list(target.classes),
        "rows": rows,
        "ids": {name: len(part) for name, part in parts.items()},
        "validation_ids": data.validation.ids,
        "holdout_ids": data.held.ids,
        "options": {name: getattr(options, name) for name in SETTINGS},
        "parameters": model.num_parameters,
    }
    results |= scored(data, model, steered=_steered(options), say=note)
    return results | {"history_validated_on": _watched(data)[0], "history": history.as_dict()}
