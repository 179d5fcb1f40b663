"""``gru predict``: answers of a trained model for a CSV file, as CSV."""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from gru.cli.answers import Answers, answer, scores
from gru.cli.output import as_csv, as_json, check_outputs, check_stdout, deliver, say
from gru.cli.parser import CommandError, Parser
from gru.cli.stored import stored
from gru.cli.train_options import character
from gru.table import Groups, Schema, Table, TableError, group, look_up, read
from gru.table.cells import present
from gru.table.errors import Say

__all__ = ["options", "run"]

RULES = """\
The file needs the columns that the model was trained on: the id, the time if there was one, and the
features; others are not read. Gaps are filled, and cells refused, by the rules of gru train (see
its help). The result is CSV: per id the id, the prediction and for classes the probability of each;
or the same per row, with the time, in the order of the file. Numbers have nine digits.

If the file has the target as well, the rows or ids that have one are scored: the scores are said on
stderr, and written with --metrics.
"""


def options(parser: Parser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULES
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file that gru train wrote")
    add("data", metavar="DATA.csv", help="rows to predict for; - is stdin")
    add("--out", metavar="FILE", help="the predictions; stdout if not given or -")
    add("--metrics", metavar="FILE", help="scores as JSON; needs the target in the file")
    add("--encoding", default="utf-8", help="of the file (utf-8)")
    add("--delimiter", type=character, help="between cells; found in the header if not given")
    add("--quiet", action="store_true", help="say nothing on stderr but errors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, predict, write."""
    note = partial(say, "gru predict", options.quiet)
    check_outputs([options.model, options.data], out=options.out, metrics=options.metrics)
    check_stdout(out=options.out, metrics=options.metrics or "file")
    model, schema = stored(options.model)
    table = read(options.data, encoding=options.encoding, delimiter=options.delimiter)
    if options.metrics is not None and schema.target.column not in table.columns:
        raise CommandError(f"--metrics: {table.name} has no column {schema.target.column!r}")
    groups = group(table, schema.id, schema.time, note)
    answers = answer(model, schema.target, schema.features.inputs(table, groups, note))
    metrics = _scored(answers, table, groups, schema, options.metrics is not None, note)
    outputs = [] if options.metrics is None else [(options.metrics, as_json(metrics).encode())]
    deliver(*outputs, (options.out, _csv(answers, table, groups, schema).encode()), note=note)


def _csv(answers: Answers, table: Table, groups: Groups, schema: Schema) -> str:
    cells = answers.cells()
    if schema.target.per == "id":
        rows = ([name, *of] for name, of in zip(groups.ids, cells, strict=True))
        return as_csv([schema.id, *answers.header], rows)
    keys = [schema.id] if schema.time is None else [schema.id, schema.time]
    place = np.argsort(np.concatenate(groups.rows), kind="stable")
    columns = [table.column(key) for key in keys]
    each = ([*(column[row] for column in columns), *cells[place[row]]] for row in range(len(table)))
    return as_csv([*keys, *answers.header], each)


def _scored(
    answers: Answers, table: Table, groups: Groups, schema: Schema, asked: bool, note: Say
) -> dict[str, object]:
    """Score answers where the file holds the truth; only who asked for it has trouble with it."""
    target = schema.target
    if target.column not in table.columns or not (asked or present(table, target.column).any()):
        return {}
    try:
        positions, truth = look_up(table, groups, target)
    except TableError as error:
        if asked:
            raise
        note(f"not scored: {error}")
        return {}
    result = scores(answers.take(positions), truth)
    name = "accuracy" if target.classes else "rmse"
    note(f"column {target.column!r} is there: {name} {result[name]:.4g} of {result['count']:,}")
    return result
