"""The options of ``gru train`` and the rules for its file, as its help shows them."""

from __future__ import annotations

import argparse
import math

from gru import check
from gru.cli.model_options import add_model, add_training
from gru.cli.parser import Parser, between, names, whole
from gru.cli.schedule import HELP, schedule_text
from gru.training_log import KINDS

__all__ = ["character", "log_file", "memory", "options"]

RULES = (
    """\
The file is a CSV in long format: a header, then one row per step of a sequence. The rows of an id
may stand anywhere; ids may have different numbers of rows.

  id            Any text, compared as it is written; a missing one is an error.
  time          Numbers or ISO dates. Rows are sorted by it; how far apart they are is not used.
                The same time twice within an id is an error.
  target        Classification if it is text, or at most 20 different whole numbers and less than
                half as many as there are targets; else regression. One per id if it changes
                within no id, else one per row. Per id, cells may be missing, and an id without any
                is left out; per row, a missing cell is an error.
  features      All other columns. A column of numbers is scaled to mean 0 and standard deviation
                1, a column of text is categorical: one input per category. Numbers and text in
                one column are an error, and so is text with more than 100 different values, unless
                --categorical names the column.
  missing       Empty, ?, NA, N/A, NaN, null, None. A number that is missing takes the last value
                of its id, else the training mean; a category that is missing or was not there in
                training is none of them (all its inputs are 0).
  numbers       Have a decimal point; a column with decimal commas is an error. So are infinite
                numbers and those beyond 1e30.
  held out      Whole ids, drawn by --seed, for classes in equal shares. They are for the scores
                alone: nothing is chosen by them.
  validation    With --patience or --schedule plateau (or --validation), ids split off those that
                are not held out, in the same way. They steer the training, so their score flatters.
                Categories, means and scaling are measured on the ids that are left.
  the file      UTF-8 (or --encoding), with commas, semicolons or tabs. Blank lines and columns
                without a name are left out; two columns of one name, rows longer or shorter than
                the header and quotes that do not end are errors.
  checkpoint    The whole state of the run, after every epoch and every ten minutes; the last two
                are kept. --resume goes on to the same bits as if the run had never stopped; data
                and options must be the same, but --epochs may grow where no --schedule depends on
                it. Without a run in the folder, it starts one.
"""
    + HELP
    + """
What is mended is said on stderr. Every error is one line with code 2. A training that diverges is
one with code 1; --out then gets the last good weights (with --patience, the best), if the run had
learned any, and nothing else is written. Files appear when they are complete, all together, and
replace old ones; that they can be written is tried first. --log grows as the run goes. The model
file holds columns, categories and scaling.
"""
)


def options(parser: Parser) -> None:
    """Add the options of ``gru train``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULES
    parser.add_argument("data", metavar="DATA.csv", help="rows to learn from; - is stdin")
    _data_options(parser)
    _model_options(parser)
    _training_options(parser)
    _running_options(parser)
    add = parser.add_argument_group("results").add_argument
    add("--out", required=True, metavar="FILE", help="the model, a safetensors file")
    add("--metrics", metavar="FILE", help="scores as JSON; stdout if not given or -")
    add("--report", metavar="FILE", help="a PNG: training curves and held-out predictions")
    add("--quiet", action="store_true", help="say nothing on stderr but errors")


def _data_options(parser: Parser) -> None:
    add = parser.add_argument_group("columns").add_argument
    add("--id", type=str.strip, required=True, metavar="COLUMN", help="tells the sequences apart")
    add(
        "--time",
        type=str.strip,
        metavar="COLUMN",
        help="orders the rows of an id; the file's order if not given",
    )
    add("--target", type=str.strip, required=True, metavar="COLUMN", help="what to predict")
    add("--features", type=names, metavar="A,B", help="inputs; all other columns if not given")
    add("--categorical", type=names, default=[], metavar="A,B", help="features to take as text")
    add("--task", choices=("classification", "regression"), help="guessed if not given")
    add("--per", choices=("id", "row"), help="one target per id or row; guessed if not given")
    add(
        "--holdout",
        type=between(0, 1),
        default=0.2,
        metavar="SHARE",
        help="of the ids that are held out, for the scores alone (0.2)",
    )
    add(
        "--validation",
        type=between(0, 1),
        metavar="SHARE",
        help="of the other ids, to choose the epoch by (0.2 with --patience or plateau)",
    )
    add("--encoding", default="utf-8", help="of the file (utf-8)")
    add("--delimiter", type=character, help="between cells; found in the header if not given")


def _model_options(parser: Parser) -> None:
    add = add_model(parser, hidden=64).add_argument
    add("--pool", choices=("last", "mean", "max"), default="last",
        help="from the steps of an id to one answer (last)")  # fmt: skip


def _training_options(parser: Parser) -> None:
    group = add_training(parser, epochs=40, seeds="weights, order, dropout and the split of ids")
    add, number = group.add_argument, between(0, math.inf)
    add("--patience", type=whole(1), metavar="N",
        help="stop after N epochs without a better validation loss; keep the best")  # fmt: skip
    add("--schedule", type=schedule_text, metavar="NAME",
        help="of the learning rate: cosine, step:every=10, and more, see below")  # fmt: skip
    add("--class-weight", choices=("balanced",), help="give rare classes more weight in the loss")
    add("--weight-decay", type=number, default=0.0, metavar="RATE", help="of AdamW (0)")
    add("--l2", type=number, default=0.0, metavar="RATE", help="times the squares of weights (0)")
    add("--bptt-steps", type=whole(1), metavar="N",
        help="gradients reach back N rows; one target per row")  # fmt: skip
    add("--memory-limit", type=memory, metavar="SIZE",
        help="of the gradient's working memory, such as 64MB; same bits, slower")  # fmt: skip


def _running_options(parser: Parser) -> None:
    add = parser.add_argument_group("long runs").add_argument
    add("--checkpoint", metavar="FOLDER", help="where the run is kept, epoch by epoch")
    add("--resume", action="store_true", help="go on with the run in --checkpoint, if there is one")
    add("--log", type=log_file, metavar="FILE",
        help="a line per epoch, as it ends: .csv or .jsonl")  # fmt: skip


def memory(text: str) -> str:
    """Return a size in bytes as it is written; a type of option.

    Examples
    --------
    >>> memory("64MB")
    '64MB'
    """
    try:
        check.memory("it", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("it ")) from None
    return text


def log_file(text: str) -> str:
    """Return the name of a log; a type of option.

    Examples
    --------
    >>> log_file("run.csv")
    'run.csv'
    """
    if not text.endswith(KINDS):
        raise argparse.ArgumentTypeError(f"must end in {' or '.join(KINDS)}, got {text!r}")
    return text


def character(text: str) -> str:
    r"""Return the character between cells; ``tab`` and ``\t`` are a tab.

    Examples
    --------
    >>> character("tab")
    '\t'
    """
    found = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(found) != 1 or found in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character or tab, got {text!r}")
    return found
