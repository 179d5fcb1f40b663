"""What the text of a cell means: missing, a number, a time; knows no groups and no targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

from gru._types import Array
from gru.table.errors import shown
from gru.table.reading import Table

__all__ = [
    "LARGEST",
    "MISSING",
    "NOTHING",
    "NUMERIC",
    "TEXT",
    "date",
    "is_missing",
    "is_number",
    "numbers",
    "parse",
    "present",
    "times",
]

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})  # in small letters
LARGEST = 1e30  # of a number, so that squares and float32 have room
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
NOTHING, NUMERIC, TEXT = 0, 1, 2  # kinds of cells
EPOCH = datetime(1970, 1, 1)


def is_missing(cell: str) -> bool:
    """Return whether a cell holds nothing: empty, ?, NA, N/A, NaN, null or None.

    Examples
    --------
    >>> is_missing("NA"), is_missing("0")
    (True, False)
    """
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    """Return whether a cell is a decimal number, or says that it is infinite.

    Examples
    --------
    >>> [is_number(cell) for cell in ("-1.5e3", "inf", "1,5", "1_000", "0x1")]
    [True, True, False, False, False]
    """
    return NUMBER.fullmatch(cell) is not None or INFINITE.fullmatch(cell) is not None


def parse(table: Table, column: str) -> tuple[Array, Array]:
    """Return what the cells of a column are, and their values; once for each table.

    Returns
    -------
    kinds : ndarray of int8
        ``NOTHING``, ``NUMERIC`` or ``TEXT``, shape (rows,).
    values : ndarray of float64
        The numbers, infinite ones included, and nan for all other cells.
    """
    if column not in table.parsed:
        table.parsed[column] = _parsed(table.column(column))
    return table.parsed[column]


def _parsed(cells: Sequence[str]) -> tuple[Array, Array]:
    values = _plain(cells)
    if values is not None and np.isfinite(values).all():
        return np.full(len(cells), NUMERIC, np.int8), values  # most columns: no cell to look at
    missing = np.array([cell.lower() in MISSING for cell in cells])
    if values is None:
        known = ["nan" if gap else cell for gap, cell in zip(missing, cells, strict=True)]
        values = _plain(known)
    if values is None:
        values = np.array([float(cell) if is_number(cell) else np.nan for cell in cells])
    kinds = np.where(np.isnan(values), TEXT, NUMERIC).astype(np.int8)
    kinds[missing] = NOTHING
    return kinds, values


def _plain(cells: Sequence[str]) -> Array | None:
    """Return what Python's float makes of the cells, many times as fast as looking at each.

    ``None`` where it makes nothing of one, or more of one than a decimal number.
    """
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    text = "".join(cells)
    return values if text.isascii() and "_" not in text else None


def present(table: Table, column: str) -> Array:
    """Return which cells of a column hold something, bool (rows,)."""
    return np.asarray(parse(table, column)[0] != NOTHING)


def numbers(table: Table, column: str) -> Array:
    """Return a column as float64 (rows,), with nan where a cell is missing.

    Raises
    ------
    TableError
        At the first cell that is no number, or none from -1e30 to 1e30.

    Examples
    --------
    >>> numbers(Table("a.csv", {"x": ["1", "", "2.5"]}, [2, 3, 4]), "x").tolist()
    [1.0, nan, 2.5]
    """
    cells = table.column(column)
    kinds, values = parse(table, column)
    for row in np.flatnonzero((kinds == TEXT) | (np.abs(values) > LARGEST))[:1]:
        what = "is no number" if kinds[row] == TEXT else "lies outside -1e30 .. 1e30"
        if INFINITE.fullmatch(cells[row]):
            what = "is not finite"
        raise table.error(f"{shown(cells[row])} {what}", row=row, column=column)
    return values


def date(cell: str) -> datetime | None:
    """Return what an ISO date says, or ``None`` if it is none; a month is its first day.

    Examples
    --------
    >>> date("2024/01/31 12:00"), date("31.1.2024")
    (datetime.datetime(2024, 1, 31, 12, 0), None)
    >>> date("2024-02")
    datetime.datetime(2024, 2, 1, 0, 0)
    """
    text = cell.replace("/", "-")
    if MONTH.fullmatch(text):
        text += "-01"
    if text[-1:] in "zZ":
        text = f"{text[:-1]}+00:00"
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(cell: str) -> tuple[int, bool] | None:
    """Return microseconds since 1970 and whether the cell names a time zone."""
    found = date(cell)
    if found is None:
        return None
    zoned = found.tzinfo is not None
    if zoned:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return (found - EPOCH) // timedelta(microseconds=1), zoned


def times(table: Table, column: str) -> Array:
    """Return a column of numbers or ISO dates as values that sort, int64 or float64 (rows,).

    Dates are YYYY-MM or YYYY-MM-DD, the latter alone or with HH:MM, HH:MM:SS and a time zone, with
    ``-`` or ``/``.

    Raises
    ------
    TableError
        At the first cell that is missing or of another kind than the first one.

    Examples
    --------
    >>> table = Table("a.csv", {"t": ["1970-01-02", "1970-01-01 00:00:01"]}, [2, 3])
    >>> times(table, "t").tolist()
    [86400000000, 1000000]
    """
    cells = table.column(column)
    for row in np.flatnonzero(~present(table, column))[:1]:
        raise table.error("no time", row=row, column=column)
    if all(map(WHOLE.fullmatch, cells)):
        whole = [int(cell) for cell in cells]  # float64 would not tell nanoseconds apart
        if max(map(abs, whole)) < 2**63:
            return np.array(whole, dtype=np.int64)
    if is_number(cells[0]):
        return numbers(table, column)
    moments = [_moment(cell) for cell in cells]
    for row, found in enumerate(moments):
        if found is None:
            raise table.error(
                f"{shown(cells[row])} is neither a number nor a date such as 2024-01-31 or "
                f"2024-01-31T12:00",
                row=row,
                column=column,
            )
        if found[1] != moments[0][1]:  # type: ignore[index]
            raise table.error(
                f"{shown(cells[row])} and {shown(cells[0])}: one names a time zone, one does not",
                row=row,
                column=column,
            )
    return np.array([found[0] for found in moments if found], dtype=np.int64)
