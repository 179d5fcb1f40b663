"""``gru demo``: its options; what it does is in ``gru.demo``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gru.cli.parser import Parser, seed, whole

__all__ = ["options", "run"]


def options(parser: Parser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--seeds", type=whole(1), default=1, help="trainings of each cell")
    add("--seed", type=seed, default=0, help="the first seed")
    add("--json", type=Path, metavar="FILE", help="write every number here")
    add("--out", type=Path, default=Path("gru-demo"), metavar="DIR", help="for model and picture")
    add("--quick", action="store_true", help="train far too little, to see it run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the demo."""
    from gru.demo import run

    if options.json is not None:
        options.json.touch()  # say now, not after a minute, that it cannot be written
    numbers = run(seeds=options.seeds, seed=options.seed, out=options.out, quick=options.quick)
    if options.json is not None:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
