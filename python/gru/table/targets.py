"""Reads the target column: task, classes, one target an id or a row; knows no features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gru._types import Array
from gru.table.cells import TEXT, is_number, numbers, parse, present
from gru.table.errors import Say, TableError, listed, plural, shown
from gru.table.groups import Groups
from gru.table.reading import Table
from gru.table.target import Target

__all__ = ["MOST_WHOLE", "Found", "find", "look_up"]

MOST_WHOLE = 20  # different whole numbers that still look like classes


@dataclass(frozen=True)
class Found:
    """The targets of a table.

    Attributes
    ----------
    target : Target
        Without scaling, which is to be measured on the training part.
    kept : ndarray of int64
        Numbers of the sequences that have a target.
    values : list of ndarray
        For each of these, numbers or (int64) numbers of classes: shape (1,), or (T_i,) per row.
    """

    target: Target
    kept: Array
    values: list[Array]


@dataclass(frozen=True)
class _Cells:
    """The target column: what each cell holds, as a number of ``names``; -1 is nothing."""

    table: Table
    column: str
    codes: Array
    names: tuple[str, ...]

    def error(self, message: str, row: int | None = None) -> TableError:
        return self.table.error(message, row=row, column=self.column)

    def text(self, row: int) -> str:
        return shown(self.table.column(self.column)[row])

    @property
    def numeric(self) -> bool:
        return all(map(is_number, self.names))


def _read(table: Table, column: str) -> _Cells:
    """Tell the cells of a column apart; equal numbers are one, however they are written."""
    cells = table.column(column)
    known = present(table, column)
    if not known.any():
        raise table.error("every cell is missing, and this is the target", column=column)
    codes = np.full(len(cells), -1, dtype=np.int64)
    if not (parse(table, column)[0] == TEXT).any():
        values, codes[known] = np.unique(numbers(table, column)[known], return_inverse=True)
        names = [str(int(v)) if v.is_integer() else repr(v) for v in map(float, values)]
    else:
        text, codes[known] = np.unique(np.array(cells)[known], return_inverse=True)
        names = text.tolist()
    return _Cells(table, column, codes, tuple(names))


def _change(cells: _Cells, groups: Groups) -> tuple[int, int, int, int] | None:
    """Return the first change within an id, and how many ids have one.

    As (number of the id, row before, row of the change, ids).
    """
    first, count = None, 0
    for i, index in enumerate(groups.rows):
        rows = index[cells.codes[index] >= 0]
        other = np.flatnonzero(np.diff(cells.codes[rows]))
        if len(other):
            count += 1
            first = first or (i, int(rows[other[0]]), int(rows[other[0] + 1]))
    return None if first is None else (*first, count)


def _chosen(cells: _Cells, groups: Groups, per: str, say: Say) -> tuple[Array, list[Array]]:
    """Return the sequences that have a target, and the rows that hold them."""
    if per == "row":
        rows = np.concatenate(groups.rows)
        for row in rows[cells.codes[rows] < 0][:1]:
            raise cells.error("no target, and there is one per row; leave the row out", row)
        return np.arange(len(groups)), groups.rows
    found = [index[cells.codes[index] >= 0][:1] for index in groups.rows]
    kept = np.array([i for i, rows in enumerate(found) if len(rows)], dtype=np.int64)
    left = len(groups) - len(kept)
    if left:
        first = next(i for i, rows in enumerate(found) if not len(rows))
        say(f"{plural(left, 'id')} without a target left out, the first is {groups.ids[first]!r}")
    return kept, [found[i] for i in kept]


def _task(cells: _Cells, used: Array) -> str:
    """Guess: text, or few whole numbers that come again and again, are classes."""
    if not cells.numeric:
        return "classification"
    names = [cells.names[code] for code in np.unique(used)]
    whole = not any("." in name or "e" in name for name in names)
    few = len(names) <= MOST_WHOLE and 2 * len(names) < len(used)
    return "classification" if whole and few else "regression"


def _values(cells: _Cells, rows: list[Array], classes: Sequence[str]) -> list[Array]:
    """Return the targets as numbers, or as numbers of classes."""
    if not classes:
        column = numbers(cells.table, cells.column)
        return [column[index] for index in rows]
    place = {name: i for i, name in enumerate(classes)}
    codes = np.array([place.get(name, -1) for name in cells.names], dtype=np.int64)
    for row in (row for index in rows for row in index if codes[cells.codes[row]] < 0):
        raise cells.error(f"{cells.text(row)} is no class of the model: {listed(classes)}", row)
    return [codes[cells.codes[index]] for index in rows]


def find(
    table: Table,
    groups: Groups,
    column: str,
    say: Say,
    *,
    task: str | None = None,
    per: str | None = None,
) -> Found:
    """Find out what a target column holds.

    Parameters
    ----------
    table, groups : Table, Groups
        The sequences.
    column : str
        The target.
    say : callable
        Is told what was found.
    task : {"classification", "regression"}, optional
        By default classification if the cells are text, or at most 20 different whole numbers
        and less than half as many as there are targets; else regression.
    per : {"id", "row"}, optional
        By default one an id if no id's target changes. Then cells may be missing, and an id
        without any is left out.

    Raises
    ------
    TableError
        If the column is missing, holds nothing, one class only, no numbers for a regression,
        changes where it must not, or misses a cell where each row needs one.

    Examples
    --------
    >>> table = Table("a.csv", {"y": ["b", "", "a"]}, [2, 3, 4])
    >>> groups = Groups(["first", "second"], [np.array([0, 1]), np.array([2])])
    >>> found = find(table, groups, "y", print)
    target 'y': classification, one per id, 2 classes: 'a', 'b'
    >>> [value.tolist() for value in found.values]
    [[1], [0]]
    """
    cells = _read(table, column)
    change = _change(cells, groups)
    if per == "id" and change is not None:
        raise _changed(cells, groups, *change[:3])
    guess = per is None
    per = per or ("id" if change is None else "row")
    kept, rows = _chosen(cells, groups, per, say)
    used = cells.codes[np.concatenate(rows)]
    task = task or _task(cells, used)
    classes = tuple(cells.names[code] for code in np.unique(used))
    if task == "classification" and len(classes) < 2:
        raise cells.error(f"every target is {shown(classes[0])}; two classes are needed")
    target = Target(column, per, classes if task == "classification" else ())
    found = Found(target, kept, _values(cells, rows, target.classes))
    many = f", {len(classes)} classes: {listed(classes, 6)}" if target.classes else ""
    say(f"target {column!r}: {task}, one per {per}{many}")
    if change is not None and guess:
        i, _, row, count = change
        say(
            f"one per row because it changes within {count:,} of {plural(len(groups), 'id')}, "
            f"first in line {table.lines[row]} (id {groups.ids[i]!r})"
        )
    return found


def _changed(cells: _Cells, groups: Groups, i: int, before: int, row: int) -> TableError:
    return cells.error(
        f"id {shown(groups.ids[i])} has {cells.text(row)} here and {cells.text(before)} in line "
        f"{cells.table.lines[before]}, but there is one target per id",
        row,
    )


def look_up(table: Table, groups: Groups, target: Target) -> tuple[Array, Array]:
    """Read the targets that a model is to be compared with.

    Parameters
    ----------
    table, groups : Table, Groups
        The sequences.
    target : Target
        What the model predicts.

    Returns
    -------
    positions : ndarray of int64
        Which answers have a known target: numbers of sequences, or of rows, sequence after
        sequence.
    truth : ndarray
        Their targets, numbers or numbers of classes.

    Raises
    ------
    TableError
        If the column is missing, holds no target or a class that the model does not know, or
        changes within an id that has one target.

    Examples
    --------
    >>> table = Table("a.csv", {"y": ["b", "", "a"]}, [2, 3, 4])
    >>> groups = Groups(["first", "second"], [np.array([2, 1]), np.array([0])])
    >>> positions, truth = look_up(table, groups, Target("y", "row", ("a", "b")))
    >>> positions.tolist(), truth.tolist()
    ([0, 2], [0, 1])
    """
    cells = _read(table, target.column)
    if target.per == "row":
        rows = np.concatenate(groups.rows)
        positions = np.flatnonzero(cells.codes[rows] >= 0)
        chosen = [rows[positions]]
    else:
        change = _change(cells, groups)
        if change is not None:
            raise _changed(cells, groups, *change[:3])
        positions, chosen = _chosen(cells, groups, target.per, lambda _: None)
    return positions, np.concatenate(_values(cells, chosen, target.classes))
