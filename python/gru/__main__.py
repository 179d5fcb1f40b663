"""The command line, ``python -m gru COMMAND``; the commands themselves are elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import gru

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2**31, got {text!r}")
    return int(text)


def _demo(options: argparse.Namespace) -> None:
    from gru.demo import run

    if options.json is not None:
        options.json.touch()  # say now, not after a minute, that it cannot be written
    numbers = run(seeds=options.seeds, seed=options.seed, out=options.out, quick=options.quick)
    if options.json is not None:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _parser() -> _Parser:
    parser = _Parser(prog="gru", description="Gated recurrent networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"gru-engine {gru.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo", help="train GRU, LSTM and RNN on recorded speech and on a memory task, and stream"
    )
    demo.add_argument("--seeds", type=_positive, default=1, help="trainings of each cell")
    demo.add_argument("--seed", type=_seed, default=0, help="the first seed")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write every number here")
    demo.add_argument(
        "--out", type=Path, default=Path("gru-demo"), metavar="DIR", help="for model and picture"
    )
    demo.add_argument("--quick", action="store_true", help="train far too little, to see it run")
    demo.set_defaults(run=_demo)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; bad options and files end the process with one line and code 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except OSError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
