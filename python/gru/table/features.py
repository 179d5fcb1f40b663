"""Turns columns into the inputs of a model: fills, scales, one-hot; knows no target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gru._types import Array
from gru.scaling import Scaler
from gru.table.cells import NUMERIC, TEXT, date, is_missing, numbers, parse
from gru.table.errors import Say, TableError, listed, plural, shown
from gru.table.groups import Groups
from gru.table.reading import Table

__all__ = ["MOST_CATEGORIES", "Features"]

COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
MOST_CATEGORIES = 100  # of a column that nobody called categorical


@dataclass(frozen=True)
class Features:
    """What the inputs of a model are made of, as the training data has it.

    The inputs of a step are the numbers, scaled, and then for each categorical column one number
    a category: 1 for the one that the cell holds, else 0.

    Attributes
    ----------
    numbers : tuple of str
        Numeric columns.
    fill : tuple of float
        For each of them the mean of the cells that hold something.
    scaler : Scaler or None
        Their scaling; ``None`` without numeric columns.
    categories : dict of str to tuple of str
        Categorical columns and their categories, sorted.
    """

    numbers: tuple[str, ...]
    fill: tuple[float, ...]
    scaler: Scaler | None
    categories: dict[str, tuple[str, ...]]

    @property
    def width(self) -> int:
        """Numbers a step."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    @classmethod
    def of(
        cls,
        table: Table,
        groups: Groups,
        columns: Sequence[str],
        categorical: Sequence[str],
        say: Say,
    ) -> Features:
        """Measure the columns over the sequences to learn from.

        Parameters
        ----------
        table, groups : Table, Groups
            The sequences.
        columns : sequence of str
            What to use. A column of text is categorical.
        categorical : sequence of str
            Those of them that are categorical even if they hold numbers.
        say : callable
            Is told which columns are categorical, and which are constant.

        Raises
        ------
        TableError
            If a column is missing, holds nothing, holds numbers and text, or holds text of more
            than 100 categories that is not in ``categorical``.
        """
        kinds = {name: name in categorical or _is_text(table, name) for name in columns}
        rows = np.concatenate(groups.rows)
        categories = {
            name: _categories(table, name, rows, name in categorical, say)
            for name in columns
            if kinds[name]
        }
        names = tuple(name for name in columns if not kinds[name])
        fill = tuple(_mean(table, name, rows) for name in names)
        bare = cls(names, fill, None, {})
        values = bare._filled(table, groups, lambda _: None)
        scaler = Scaler.of(values) if names else None
        for name, column in zip(names, values.T, strict=True):
            if (column == column[0]).all():
                say(f"column {name!r} holds one number only, {column[0]:g}; it tells nothing")
        return cls(names, fill, scaler, categories)

    def inputs(self, table: Table, groups: Groups, say: Say) -> list[Array]:
        """Return the sequences as arrays (T_i, width), float32.

        Parameters
        ----------
        table, groups : Table, Groups
            The sequences.
        say : callable
            Is told how many cells were missing or unknown, and what became of them.

        Raises
        ------
        TableError
            If a column is missing, or a cell of a numeric one is no number or too far from the
            training data.
        """
        columns = [self._scaled(table, groups, self._filled(table, groups, say))]
        columns += [_one_hot(table, name, of, groups, say) for name, of in self.categories.items()]
        ends = np.cumsum([len(rows) for rows in groups.rows])[:-1]
        return np.split(np.concatenate(columns, axis=1), ends)

    def _filled(self, table: Table, groups: Groups, say: Say) -> Array:
        """Return the numeric columns (rows, columns), sorted and with every gap closed."""
        order = np.concatenate(groups.rows)
        lengths = np.array([len(rows) for rows in groups.rows])
        start = np.repeat(np.cumsum(lengths) - lengths, lengths)
        values = np.empty((len(order), len(self.numbers)))
        for i, name in enumerate(self.numbers):
            column = numbers(table, name)[order]
            known = ~np.isnan(column)
            last = np.maximum.accumulate(np.where(known, np.arange(len(order)), -1))
            values[:, i] = np.where(last >= start, column[last], self.fill[i])
            missing = int((~known).sum())
            if missing:
                meant = int((last < start).sum())
                say(
                    f"column {name!r}: {plural(missing, 'missing cell')}; {missing - meant:,} took "
                    f"the id's last value, {meant:,} the training mean {self.fill[i]:g}"
                )
        return values

    def _scaled(self, table: Table, groups: Groups, values: Array) -> Array:
        if self.scaler is None:
            return np.empty((len(values), 0), np.float32)
        with np.errstate(over="ignore"):
            scaled = np.asarray(self.scaler.scale(values)).astype(np.float32)
        for at, column in np.argwhere(~np.isfinite(scaled))[:1]:
            row, name = int(np.concatenate(groups.rows)[at]), self.numbers[column]
            cell = shown(table.column(name)[row])
            raise table.error(f"{cell} is too far from the training data", row=row, column=name)
        return scaled

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts, for JSON."""
        return {
            "numbers": list(self.numbers),
            "fill": list(self.fill),
            "scaling": None if self.scaler is None else self.scaler.as_dict(),
            "categories": {name: list(of) for name, of in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Features:
        """Return what :meth:`as_dict` wrote down.

        Raises
        ------
        KeyError, TypeError, ValueError
            If ``values`` is anything else.
        """
        names, fill = tuple(map(str, values["numbers"])), tuple(map(float, values["fill"]))
        scaler = Scaler.from_dict(values["scaling"]) if names else None
        if len(fill) != len(names) or (scaler is not None and len(scaler.mean) != len(names)):
            raise ValueError("one scaling a number is needed")
        categories = {str(name): tuple(map(str, of)) for name, of in values["categories"].items()}
        return cls(names, fill, scaler, categories)


def _is_text(table: Table, name: str) -> bool:
    """Return whether a column holds text; numbers and text together are refused."""
    kinds, _ = parse(table, name)
    count, text = int((kinds == NUMERIC).sum()), np.flatnonzero(kinds == TEXT)
    if not count and not len(text):
        raise table.error("every cell is missing", column=name)
    if not len(text):
        return False
    row = int(text[0])
    cell, categorical = table.column(name)[row], "say that the column is categorical"
    if COMMA.fullmatch(cell):
        message = f"{shown(cell)} has a decimal comma; write numbers with a point, or {categorical}"
        raise table.error(message, row=row, column=name)
    if count:
        held = "holds one" if count == 1 else "hold numbers"
        message = (
            f"{shown(cell)} is no number, and {plural(count, 'other cell')} of this column {held}; "
            f"mend it, or {categorical}"
        )
        raise table.error(message, row=row, column=name)
    return True


def _categories(table: Table, name: str, rows: Array, asked: bool, say: Say) -> tuple[str, ...]:
    cells = table.column(name)
    found = sorted({cells[row] for row in rows if not is_missing(cells[row])})
    if not found:
        raise table.error("every cell of the training part is missing", column=name)
    if len(found) > MOST_CATEGORIES and not asked:
        row = next(row for row, cell in enumerate(cells) if not is_missing(cell))
        raise table.error(
            f"holds text, {len(found):,} different ones such as {shown(cells[row])}; leave it out "
            f"of the features, or say that it is categorical",
            row=row,
            column=name,
        )
    many = plural(len(found), "category", "categories")
    dates = "; these are dates, which order rows as the column of times" if _dates(found) else ""
    say(f"column {name!r} is categorical: {many}, {listed(found, 4)}{dates}")
    return tuple(found)


def _dates(cells: Sequence[str]) -> bool:
    return bool(cells) and all(date(cell) is not None for cell in cells)


def _mean(table: Table, name: str, rows: Array) -> float:
    values = numbers(table, name)[rows]
    known = values[~np.isnan(values)]
    if not len(known):
        raise TableError(
            f"{table.name}, column {name!r}: every cell of the training part is missing"
        )
    return float(known.mean())


def _one_hot(table: Table, name: str, categories: Sequence[str], groups: Groups, say: Say) -> Array:
    """Return one column a category, float32 (rows, categories); all 0 where there is none."""
    cells = table.column(name)
    index = {category: i for i, category in enumerate(categories)}
    order = np.concatenate(groups.rows)
    codes = np.array([index.get(cells[row], -1) for row in order], dtype=np.int64)
    columns = np.zeros((len(order), len(categories)), np.float32)
    known = np.flatnonzero(codes >= 0)
    columns[known, codes[known]] = 1.0
    left = [cells[row] for row in order[codes < 0]]
    unseen = [cell for cell in left if not is_missing(cell)]
    if len(left) > len(unseen):
        missing = plural(len(left) - len(unseen), "missing cell")
        say(f"column {name!r}: {missing}, read as no category")
    if unseen:
        many = plural(len(unseen), "cell")
        say(
            f"column {name!r}: {many} with categories that the training data does not have, read "
            f"as no category: {listed(sorted(set(unseen)), 4)}"
        )
    return columns
