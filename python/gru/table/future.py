"""Continues a column of times beyond its last row; knows no values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from gru._types import Array
from gru.table.cells import date, is_number

__all__ = ["continued"]


def continued(cells: Sequence[str], moments: Array, steps: int) -> list[str] | None:
    """Return the times that follow, as the file would write them.

    Parameters
    ----------
    cells : sequence of str
        The times of one series, in order.
    moments : ndarray
        Their values, as :func:`gru.table.cells.times` gives them.
    steps : int
        How many are wanted.

    Returns
    -------
    list of str or None
        ``None`` if the times are spaced neither evenly nor by calendar months.

    Examples
    --------
    >>> import numpy as np
    >>> continued(["1", "3", "5"], np.array([1, 3, 5]), 2)
    ['7', '9']
    >>> continued(["2023-11-30", "2023-12-31", "2024-01-31"], np.array([0, 31, 62]), 2)
    ['2024-02-29', '2024-03-31']
    """
    gaps = np.diff(moments)
    if not len(gaps):
        return None
    ahead = np.arange(1, steps + 1)
    if is_number(cells[-1]):
        if not np.allclose(gaps, gaps.mean(), rtol=1e-6, atol=0):
            return None
        following = moments[-1] + ahead * (gaps[0] if moments.dtype.kind == "i" else gaps.mean())
        return [str(v) if isinstance(v, int) else format(v, ".12g") for v in following.tolist()]
    dates = [found for cell in cells if (found := date(cell)) is not None]
    try:
        after = _months(dates, ahead) or _evenly(dates[-1], gaps, ahead)
    except (OverflowError, ValueError):  # after the year 9999
        return None
    return [_like(cells[-1], found) for found in after] or None


def _evenly(last: datetime, gaps: Array, ahead: Array) -> list[datetime]:
    """Return dates the same time apart, if those so far are; or none."""
    if (gaps != gaps[0]).any():
        return []
    return [last + k * timedelta(microseconds=int(gaps[0])) for k in ahead.tolist()]


def _months(dates: list[datetime], ahead: Array) -> list[datetime]:
    """Return dates a number of months apart, on one day of the month or on its last; or none."""
    months = np.array([12 * found.year + found.month - 1 for found in dates])
    steps, days = np.diff(months), {found.day for found in dates}
    clocks = {found.timetz() for found in dates}
    last = all((found + timedelta(days=1)).day == 1 for found in dates)
    if not steps[0] or (steps != steps[0]).any() or len(clocks) > 1 or (len(days) > 1 and not last):
        return []
    return [_on(dates[-1], int(months[-1] + steps[0] * k), last) for k in ahead]


def _on(pattern: datetime, month: int, last: bool) -> datetime:
    first = pattern.replace(year=month // 12, month=month % 12 + 1, day=1)
    length = ((first + timedelta(days=31)).replace(day=1) - first).days
    return first.replace(day=length if last else min(pattern.day, length))


def _like(cell: str, found: datetime) -> str:
    """Return a date in the form of a cell."""
    if len(cell) in (len("2024-01"), len("2024-01-31")):
        text = found.date().isoformat()[: len(cell)]
    else:
        clock = cell[11:].partition("+")[0].rstrip("zZ")
        spec = "minutes" if clock.count(":") < 2 else "auto"
        text = found.isoformat(sep=cell[10], timespec=spec)
        if cell[-1] in "zZ":
            text = text.removesuffix("+00:00") + cell[-1]
    return text.replace("-", "/", 2) if cell[4:5] == "/" else text
