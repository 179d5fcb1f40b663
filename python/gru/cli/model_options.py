"""The options of model and training that commands share; knows no file."""

from __future__ import annotations

import argparse
import math
from typing import Any

from gru.cli.parser import CommandError, Parser, between, seed, whole

__all__ = ["add_model", "add_training", "model_settings"]

NAMES = {"cell": "cell", "hidden": "hidden_size", "layers": "num_layers"}  # in gru.recipe
ALIKE = (
    "bidirectional", "dropout", "input_dropout", "recurrent_dropout", "zoneout", "layer_norm",
)  # fmt: skip


def add_model(parser: Parser, *, hidden: int) -> Any:
    """Add the options of the model; return their group, for more."""
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--cell", choices=("gru", "lstm", "rnn"), default="gru", help="recurrent layer (gru)")
    add("--hidden", type=whole(1, 65536), default=hidden, metavar="N",
        help=f"hidden units ({hidden})")  # fmt: skip
    add("--layers", type=whole(1, 64), default=1, metavar="N", help="layers on each other (1)")
    add("--bidirectional", action="store_true", help="read each sequence from its end as well")
    for option, help in (
        ("--dropout", "between layers and before the output (0)"),
        ("--input-dropout", "of the inputs, one mask a sequence (0)"),
        ("--recurrent-dropout", "of the state that gates see, one mask a sequence (0)"),
        ("--zoneout", "of units that keep their state at a step (0)"),
    ):
        add(option, type=between(0, 1), default=0.0, metavar="RATE", help=help)
    add("--layer-norm", action="store_true", help="layer normalisation in the cell, gru only")
    return group


def add_training(parser: Parser, *, epochs: int, seeds: str) -> Any:
    """Add the options of the training; return their group, for more."""
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--epochs", type=whole(1), default=epochs, metavar="N",
        help=f"passes over the data ({epochs})")  # fmt: skip
    add("--batch", type=whole(1), default=32, metavar="N", help="sequences per step (32)")
    add("--lr", type=between(0, math.inf, above=True), default=3e-3, metavar="RATE",
        help="learning rate of Adam (0.003)")  # fmt: skip
    add("--seed", type=seed, default=0, metavar="N", help=f"of {seeds} (0)")
    add("--threads", type=whole(1, 1024), metavar="N", help="as many as there are if not given")
    return group


def model_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the model as :func:`gru.recipe.recipe` takes them.

    Raises
    ------
    CommandError
        If the cell has no such thing.
    """
    if options.layer_norm and options.cell != "gru":
        raise CommandError(f"--layer-norm: only --cell gru has it, not {options.cell}")
    found = {name: getattr(options, option) for option, name in NAMES.items()}
    return found | {name: getattr(options, name) for name in ALIKE}
