"""What all commands share of their options: parser, kinds of values, errors; knows no command."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from typing import NoReturn

__all__ = ["CommandError", "Parser", "between", "names", "seed", "whole"]


class CommandError(Exception):
    """What the user of a command can mend; the message is one line."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """End the process with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a type of option: a whole number from low to high.

    Examples
    --------
    >>> whole(1)("12")
    12
    """
    wanted = f"of at least {low}" if high is None else f"from {low} to {high}"

    def value(text: str) -> int:
        found = int(text) if text.isascii() and text.isdigit() else low - 1
        if found < low or (high is not None and found > high):
            raise argparse.ArgumentTypeError(f"must be a whole number {wanted}, got {text!r}")
        return found

    return value


def seed(text: str) -> int:
    """Return a seed: a whole number below 2**31.

    Examples
    --------
    >>> seed("7")
    7
    """
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2**31, got {text!r}")
    return int(text)


def between(low: float, high: float, *, above: bool = False) -> Callable[[str], float]:
    """Return a type of option: a number from low (or above it) to below high.

    Examples
    --------
    >>> between(0, 1)("0.2")
    0.2
    """
    wanted = f"{'above' if above else 'of at least'} {low:g}"
    if not math.isinf(high):
        wanted += f" and below {high:g}"

    def value(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not low <= found < high or (above and found == low):
            raise argparse.ArgumentTypeError(f"must be a number {wanted}, got {text!r}")
        return found

    return value


def names(text: str) -> list[str]:
    """Return names of columns, split at commas; quote one that holds a comma.

    Examples
    --------
    >>> names('a, b,"c,d"')
    ['a', 'b', 'c,d']
    """
    (found,) = csv.reader([text], skipinitialspace=True)
    found = [name.strip() for name in found]
    if not all(found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"must be different names with commas, got {text!r}")
    return found
