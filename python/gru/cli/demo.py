"""``gru demo``: its options; what it does is in ``gru.demo``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gru.cli.output import check_outputs, check_room, emit
from gru.cli.parser import CommandError, Parser, seed, whole

__all__ = ["options", "run"]


def options(parser: Parser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--seeds", type=whole(1), default=1, help="trainings of each cell")
    add("--seed", type=seed, default=0, help="the first seed")
    add("--json", metavar="FILE", help="write every number here")
    add("--out", type=Path, default=Path("gru-demo"), metavar="DIR", help="for model and picture")
    add("--quick", action="store_true", help="train far too little, to see it run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the demo."""
    from gru.demo import run

    if options.out.exists() and not options.out.is_dir():
        raise CommandError(f"--out {options.out}: is no folder")
    check_outputs([], ("json",), json=options.json)
    options.out.mkdir(parents=True, exist_ok=True)
    check_room("out", str(options.out / "gru.safetensors"))
    numbers = run(seeds=options.seeds, seed=options.seed, out=options.out, quick=options.quick)
    if options.json is not None:
        emit(options.json, json.dumps(numbers, indent=1) + "\n")
