"""Which rows of a table make a sequence, and in which order; knows no features and no targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gru._types import Array
from gru.table.cells import present, times
from gru.table.errors import Say, plural, shown
from gru.table.reading import Table

__all__ = ["Groups", "group"]


@dataclass(frozen=True)
class Groups:
    """The rows of each sequence in the order of time.

    Attributes
    ----------
    ids : list of str
        In the order in which they appear first.
    rows : list of ndarray of int64
        One array of row numbers an id.
    """

    ids: list[str]
    rows: list[Array]

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.ids)

    def take(self, index: Array) -> Groups:
        """Return some of the sequences, by their numbers."""
        return Groups([self.ids[i] for i in index], [self.rows[i] for i in index])


def group(table: Table, id: str | None, time: str | None, say: Say) -> Groups:
    """Gather the rows of each id, wherever they stand, and sort them by time.

    Parameters
    ----------
    table : Table
        The rows.
    id : str or None
        The column that tells sequences apart; ``None`` makes all rows one sequence.
    time : str or None
        The column to sort by, numbers or ISO dates; ``None`` keeps the order of the file.
    say : callable
        Is told how many ids were not in order.

    Raises
    ------
    TableError
        If an id or a time is missing, a time is of another kind than the first one, or a time
        occurs twice within an id.

    Examples
    --------
    >>> table = Table("a.csv", {"id": ["a", "b", "a"], "t": ["2", "1", "1"]}, [2, 3, 4])
    >>> found = group(table, "id", "t", print)
    column 't': the rows of 1 of 2 ids were not in order; sorted
    >>> [rows.tolist() for rows in found.rows]
    [[2, 0], [1]]
    """
    ids, codes = _codes(table, id)
    order = np.argsort(codes, kind="stable")
    if time is not None:
        order = _sorted(table, time, codes, order, ids if id is not None else None, say)
    ends = np.cumsum(np.bincount(codes, minlength=len(ids)))
    return Groups(ids, np.split(order, ends[:-1]))


def _codes(table: Table, id: str | None) -> tuple[list[str], Array]:
    """Return the ids, and the number of each row's id."""
    if id is None:
        return [""], np.zeros(len(table), dtype=np.int64)
    cells = table.column(id)
    for row in np.flatnonzero(~present(table, id))[:1]:
        raise table.error("no id", row=row, column=id)
    known: dict[str, int] = {}
    codes = [known.setdefault(cell, len(known)) for cell in cells]
    return list(known), np.array(codes, dtype=np.int64)


def _sorted(
    table: Table, time: str, codes: Array, order: Array, ids: list[str] | None, say: Say
) -> Array:
    moments = times(table, time)
    back = (np.diff(moments[order]) < 0) & (np.diff(codes[order]) == 0)
    unsorted = len(np.unique(codes[order][1:][back]))
    order = np.lexsort((moments, codes))
    same = (np.diff(moments[order]) == 0) & (np.diff(codes[order]) == 0)
    for at in np.flatnonzero(same)[:1]:
        first, row = sorted(order[at : at + 2].tolist())
        owner = "" if ids is None else f" of id {shown(ids[codes[row]])}"
        raise table.error(
            f"the time {shown(table.column(time)[row])}{owner} is that of line "
            f"{table.lines[first]} already",
            row=row,
            column=time,
        )
    if unsorted:
        what = (
            "the rows" if ids is None else f"the rows of {unsorted:,} of {plural(len(ids), 'id')}"
        )
        say(f"column {time!r}: {what} were not in order; sorted")
    return order
