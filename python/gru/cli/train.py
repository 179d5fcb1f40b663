"""``gru train``: a model from a CSV file; tables, scores and pictures are elsewhere."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any

import numpy as np

import gru
from gru.cli import report
from gru.cli.answers import Answers, answer, scores
from gru.cli.output import as_json, check_outputs, emit, save_model, say
from gru.cli.parser import CommandError, Parser
from gru.cli.prepare import Part, Prepared, prepare
from gru.cli.train_options import options as add_options
from gru.history import History
from gru.recipe import recipe
from gru.runtime import num_threads
from gru.table import KEY, Schema, Table, read
from gru.table.errors import plural
from gru.writing import replace

__all__ = ["build", "options", "run"]

SETTINGS = (
    "cell", "hidden", "layers", "bidirectional", "pool", "dropout", "class_weight",
    "epochs", "patience", "batch", "lr", "seed", "holdout",
)  # fmt: skip


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
            cell=options.cell,
            hidden_size=options.hidden,
            num_layers=options.layers,
            bidirectional=options.bidirectional,
            dropout=options.dropout,
            pooling=options.pool if schema.target.per == "id" else None,
            seed=options.seed,
        )
    except ValueError as error:  # sizes that are allowed one by one, and too large together
        raise CommandError(str(error)) from None


def _fit(options: argparse.Namespace, model: gru.Sequential, data: Prepared) -> History:
    target = data.schema.target
    try:
        with num_threads(options.threads):
            return gru.fit(
                model,
                data.train.X,
                data.train.y(target),
                loss="cross_entropy" if target.classes else "mse",
                optimizer=gru.Adam(options.lr),
                epochs=options.epochs,
                batch_size=options.batch,
                class_weight=options.class_weight if target.classes else None,
                early_stopping=options.patience,
                validation=(data.held.X, data.held.y(target)) if len(data.held) else None,
                seed=options.seed,
                verbose=not options.quiet and sys.stderr.isatty(),
            )
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; a smaller --lr may help") from None


def _best(history: History) -> int:
    return int(np.argmin(history.val_loss)) + 1


def _naive(data: Prepared, part: Part) -> dict[str, Any]:
    """Return the scores of always answering the same: the commonest class, or the mean."""
    target, known = data.schema.target, data.train.flat
    truth = part.flat
    if target.classes:
        common = int(np.bincount(known).argmax())
        return {"answer": target.classes[common], "accuracy": float((truth == common).mean())}
    always = Answers(target, np.full(len(truth), known.mean()), None)
    return {"answer": float(known.mean()), "rmse": scores(always, truth)["rmse"]}


def _summary(found: dict[str, Any], naive: dict[str, Any]) -> str:
    if "accuracy" in found:
        same = f"{naive['accuracy']:.3f} if the answer were always {naive['answer']!r}"
        return f"accuracy {found['accuracy']:.3f} of {found['count']:,} ({same})"
    same = f"{naive['rmse']:.4g} if the answer were always {naive['answer']:.4g}"
    return f"root mean squared error {found['rmse']:.4g} ({same})"


def run(options: argparse.Namespace) -> None:
    """Read, train, score, and write what was asked for."""
    note = partial(say, "gru train", options.quiet)
    check_outputs(
        [options.data],
        ("out", "report"),
        out=options.out,
        metrics=options.metrics,
        report=options.report,
    )
    if options.patience is not None and not options.holdout:
        raise CommandError("--patience: needs a held-out part, and --holdout is 0")
    if options.report is not None:
        report.check()
    start = time.perf_counter()
    table = read(options.data, encoding=options.encoding, delimiter=options.delimiter)
    data = prepare(
        table,
        note,
        **{name: getattr(options, name) for name in ("id", "time", "target", "features")},
        **{name: getattr(options, name) for name in ("categorical", "task", "per")},
        holdout=options.holdout,
        seed=options.seed,
    )
    model = build(options, data.schema)
    model.metadata[KEY] = data.schema.as_json()
    history = _fit(options, model, data)
    if len(history) < options.epochs:
        note(f"stopped after {plural(len(history), 'epoch')}, the best was {_best(history)}")
    results = _results(options, table, data, model, history)
    results["seconds"] = round(time.perf_counter() - start, 3)
    save_model(options.out, model)
    note(f"wrote {options.out}, {plural(model.num_parameters, 'parameter')}")
    if options.report is not None:
        kind = "held out" if len(data.held) else "training"
        part = data.held if len(data.held) else data.train
        picture = report.draw(history, answer(model, data.schema.target, part.X), part.flat, kind)
        replace(options.report, picture)
        note(f"wrote {options.report}")
    emit(options.metrics, as_json(results))


def _results(
    options: argparse.Namespace,
    table: Table,
    data: Prepared,
    model: gru.Sequential,
    history: History,
) -> dict[str, Any]:
    """Score the model, say the scores, and return all that is worth keeping."""
    target = data.schema.target
    results: dict[str, Any] = {
        "target": target.column,
        "task": target.task,
        "per": target.per,
        "classes": list(target.classes),
        "rows": len(table),
        "ids": {"train": len(data.train), "holdout": len(data.held)},
        "holdout_ids": data.held.ids,
        "options": {name: getattr(options, name) for name in SETTINGS},
        "parameters": model.num_parameters,
    }
    for name, part in (("train", data.train), ("holdout", data.held)):
        results[name] = results[f"{name}_naive"] = None
        if len(part):
            results[name] = scores(answer(model, target, part.X), part.flat)
            results[f"{name}_naive"] = _naive(data, part)
            said = "training" if name == "train" else "held out"
            say(
                "gru train",
                options.quiet,
                f"{said}: {_summary(results[name], results[f'{name}_naive'])}",
            )
    results["history"] = history.as_dict()
    return results
