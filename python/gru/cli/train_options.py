"""The options of ``gru train`` and the rules for its file, as its help shows them."""

from __future__ import annotations

import argparse
import math

from gru.cli.parser import Parser, between, names, seed, whole

__all__ = ["character", "options"]

RULES = """\
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
  held out      Whole ids, drawn by --seed, for classes in equal shares. Categories, means and
                scaling are measured on the others.
  the file      UTF-8 (or --encoding), with commas, semicolons or tabs. Blank lines and columns
                without a name are left out; two columns of one name, rows longer or shorter than
                the header and quotes that do not end are errors.

What is mended is said on stderr. Every error is one line with code 2. Files appear when they are
complete and replace old ones. The model file holds columns, categories and scaling.
"""


def options(parser: Parser) -> None:
    """Add the options of ``gru train``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULES
    parser.add_argument("data", metavar="DATA.csv", help="rows to learn from; - is stdin")
    _data_options(parser)
    _model_options(parser)
    _training_options(parser)
    add = parser.add_argument_group("results").add_argument
    add("--out", required=True, metavar="FILE", help="the model, a safetensors file")
    add("--metrics", metavar="FILE", help="scores as JSON; stdout if not given or -")
    add("--report", metavar="FILE", help="a PNG: training curves and held-out predictions")
    add("--quiet", action="store_true", help="say nothing on stderr but errors")


def _data_options(parser: Parser) -> None:
    add = parser.add_argument_group("columns").add_argument
    add("--id", required=True, metavar="COLUMN", help="tells the sequences apart")
    add("--time", metavar="COLUMN", help="orders the rows of an id; the file's order if not given")
    add("--target", required=True, metavar="COLUMN", help="what to predict")
    add("--features", type=names, metavar="A,B", help="inputs; all other columns if not given")
    add("--categorical", type=names, default=[], metavar="A,B", help="features to take as text")
    add("--task", choices=("classification", "regression"), help="guessed if not given")
    add("--per", choices=("id", "row"), help="one target per id or row; guessed if not given")
    add(
        "--holdout",
        type=between(0, 1),
        default=0.2,
        metavar="SHARE",
        help="of the ids that are held out (0.2)",
    )
    add("--encoding", default="utf-8", help="of the file (utf-8)")
    add("--delimiter", type=character, help="between cells; found in the header if not given")


def _model_options(parser: Parser) -> None:
    add = parser.add_argument_group("model").add_argument
    add(
        "--cell",
        choices=("gru", "lstm", "rnn"),
        default="gru",
        help="kind of recurrent layer (gru)",
    )
    add("--hidden", type=whole(1, 65536), default=64, metavar="N", help="hidden units (64)")
    add("--layers", type=whole(1, 64), default=1, metavar="N", help="layers on each other (1)")
    add("--bidirectional", action="store_true", help="read each sequence from its end as well")
    add(
        "--pool",
        choices=("last", "mean", "max"),
        default="last",
        help="from the steps of an id to one answer (last)",
    )
    add("--dropout", type=between(0, 1), default=0.0, metavar="RATE",
        help="between layers and before the output (0)")  # fmt: skip


def _training_options(parser: Parser) -> None:
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=whole(1), default=40, metavar="N", help="passes over the data (40)")
    add("--batch", type=whole(1), default=32, metavar="N", help="sequences per step (32)")
    add(
        "--lr",
        type=between(0, math.inf, above=True),
        default=3e-3,
        metavar="RATE",
        help="learning rate of Adam (0.003)",
    )
    add("--patience", type=whole(1), metavar="N",
        help="stop after N epochs without a better held-out loss; keep the best")  # fmt: skip
    add("--class-weight", choices=("balanced",), help="give rare classes more weight in the loss")
    add("--seed", type=seed, default=0, help="of weights, order, dropout and held-out ids (0)")
    add("--threads", type=whole(1, 1024), metavar="N", help="as many as there are if not given")


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
