"""The command line: finds the command, imports it alone, and turns errors into one line."""

from __future__ import annotations

import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import gru
from gru.cli.parser import CommandError, Parser

__all__ = ["COMMANDS", "main"]

# Each is a module of this package with ``options(parser)`` and ``run(options)``.
COMMANDS = {
    "train": "train a model on the sequences of a CSV file",
    "predict": "predict with a trained model for a CSV file",
    "forecast": "forecast the next values of the series in a CSV file",
    "inspect": "show what a model file holds, also one of PyTorch, Keras or ONNX",
    "convert": "open a model of PyTorch, Keras or ONNX and write it in another format",
    "serve": "answer requests and streams with a model, over HTTP and WebSocket",
    "demo": "train GRU, LSTM and RNN on recorded speech and on a memory task, and stream",
}
INTERRUPTED = 130  # as shells have it: 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


class ShowFolder(Action):
    """Prints the folder that CMake finds the package by, and ends."""

    def __call__(self, parser: ArgumentParser, *_: Any, **__: Any) -> None:
        """Print it, or say what is missing."""
        from gru.cmake import cmake_dir

        try:
            print(cmake_dir())
        except FileNotFoundError as error:
            parser.error(str(error))
        parser.exit()


def _parser(command: str | None) -> Parser:
    """Return the parser of all commands; only the one that runs has its options."""
    parser = Parser(prog="gru", description="Gated recurrent networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"gru-engine {gru.__version__}")
    parser.add_argument(
        "--cmakedir", action=ShowFolder, nargs=0, help="print where gruConfig.cmake is, for C++"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help in COMMANDS.items():
        chosen = commands.add_parser(name, help=help)
        if name == command:
            import_module(f"gru.cli.{name}").options(chosen)
            chosen.set_defaults(parser=chosen)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options; those of this process by default.

    Raises
    ------
    SystemExit
        With code 2 and one line on stderr for bad options and files, 1 for a training that
        diverges or runs out of memory, 130 after Ctrl-C, 141 if nobody reads the output.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(given[0] if given else None)
    try:
        if not given:
            parser.error(f"give a command: {', '.join(COMMANDS)}; gru --help tells what they do")
        options = parser.parse_args(given)
        _run(options.parser, options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        from gru.cli.output import drop_stdout

        drop_stdout()
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        print(
            f"{' '.join(['gru', *given[:1]])}: interrupted; unfinished files were not written",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED)


def _run(parser: Parser, options: Namespace) -> None:
    """Run the command; what its user can mend ends with code 2."""
    from gru.table.errors import TableError

    try:
        options.run(options)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        parser.error(f"{place}{error.strerror or error}")
    except (CommandError, TableError) as error:
        parser.error(str(error))
    except (FloatingPointError, MemoryError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
