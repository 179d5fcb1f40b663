"""What the tests of tables share: small tables, and messages of refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gru.table import Table, TableError

__all__ = ["refused", "silent", "table"]


def silent(sentence: str) -> None:
    """Take a sentence and do nothing."""


def table(**columns: str) -> Table:
    """A table from words with blanks between; "-" is an empty cell."""
    cells = {
        name: [("" if c == "-" else c) for c in text.split()] for name, text in columns.items()
    }
    rows = len(next(iter(cells.values())))
    return Table("a.csv", dict(cells), range(2, rows + 2))


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(TableError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    return message
