"""The error of a table, and the words that all of its parts share; knows no table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["Say", "TableError", "listed", "plural", "shown"]

Say = Callable[[str], None]  # takes a sentence that a person should read

LONGEST = 40  # characters of a cell that a message shows


class TableError(ValueError):
    """A table that cannot be used; the message is one line."""


def shown(cell: str) -> str:
    r"""Return a cell in quotes, with line ends escaped and cut if it is long.

    Examples
    --------
    >>> shown("two\nlines")
    "'two\\nlines'"
    """
    return repr(cell if len(cell) <= LONGEST else f"{cell[: LONGEST - 3]}...")


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in quotes, the first few of them.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b', ... (3 in all)"
    """
    text = ", ".join(map(shown, names[:most]))
    return text if len(names) <= most else f"{text}, ... ({len(names)} in all)"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(2000, "row"), plural(2, "category", "categories")
    ('1 row', '2,000 rows', '2 categories')
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
