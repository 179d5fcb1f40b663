"""From a CSV file to series with what is known of the steps to come; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gru._types import Array
from gru.table import Features, Groups, Say, Table, continued, group
from gru.table.cells import numbers, times
from gru.table.errors import plural, shown

__all__ = ["SeriesTable", "gather"]


@dataclass(frozen=True)
class SeriesTable:
    """The series of a table.

    Attributes
    ----------
    ids : list of str
        Their names; one empty name if no column tells them apart.
    y : list of ndarray of float64
        Shape (T_i,), without gaps.
    exog, future : list of ndarray or None
        Shapes (T_i, E) and (horizon, E): what else is known.
    past, moments : list of list of str
        Times of the steps so far and of those to come; empty lists where there is no time column,
        and the latter where it is not known how it goes on.
    """

    ids: list[str]
    y: list[Array]
    exog: list[Array] | None
    future: list[Array] | None
    past: list[list[str]]
    moments: list[list[str]]


def gather(
    table: Table,
    say: Say,
    *,
    id: str | None,
    time: str | None,
    target: str,
    exog: Sequence[str],
    horizon: int,
) -> SeriesTable:
    """Read the series.

    Parameters
    ----------
    table : Table
        One row a step. Rows at the end of a series without a target are steps to come.
    say : callable
        Is told what was mended.
    id, time : str or None
        As in :func:`gru.table.group`.
    target : str
        The numbers to forecast.
    exog : sequence of str
        Columns that are known beforehand.
    horizon : int
        Steps to come.

    Raises
    ------
    TableError
        If anything is missing or does not fit; with ``exog``, if a series has too few rows to
        come.
    """
    groups = group(table, id, time, say)
    values = numbers(table, target)
    known, coming = _parts(table, groups, target, values)
    y = [_closed(values[rows]) for rows in known.rows]
    gaps = sum(int(np.isnan(values[rows]).sum()) for rows in known.rows)
    if gaps:
        say(f"column {target!r}: {plural(gaps, 'missing cell')} took the last value before")
    before = after = None
    if exog:
        _enough(table, coming, known, target, horizon, id)
        shown_rows = Groups(coming.ids, [rows[:horizon] for rows in coming.rows])
        features = Features.of(table, known, exog, (), say)
        joint = [np.concatenate(p) for p in zip(known.rows, shown_rows.rows, strict=True)]
        inputs = features.inputs(table, Groups(known.ids, joint), say)
        before, after = [part[:-horizon] for part in inputs], [part[-horizon:] for part in inputs]
    cells = None if time is None else table.column(time)
    past = [[] if cells is None else [cells[row] for row in rows] for rows in known.rows]
    moments = _moments(table, time, known, coming, horizon, say)
    return SeriesTable(groups.ids, y, before, after, past, moments)


def _parts(table: Table, groups: Groups, target: str, values: Array) -> tuple[Groups, Groups]:
    """Return the rows from the first to the last value of each series, and those after."""
    known, coming = [], []
    for name, rows in zip(groups.ids, groups.rows, strict=True):
        held = np.flatnonzero(~np.isnan(values[rows]))
        if not len(held):
            what = f"id {shown(name)} has no value" if name else "every cell is missing"
            raise table.error(what, column=target)
        known.append(rows[held[0] : held[-1] + 1])
        coming.append(rows[held[-1] + 1 :])
    return Groups(groups.ids, known), Groups(groups.ids, coming)


def _closed(values: Array) -> Array:
    """Carry the last value over gaps; the first is no gap."""
    held = np.where(np.isnan(values), 0, np.arange(len(values)))
    return np.asarray(values[np.maximum.accumulate(held)])


def _enough(
    table: Table, coming: Groups, known: Groups, target: str, horizon: int, id: str | None
) -> None:
    for name, after, before in zip(coming.ids, coming.rows, known.rows, strict=True):
        if len(after) < horizon:
            whose = "" if id is None else f" of id {shown(name)}"
            raise table.error(
                f"{plural(len(after), 'row')}{whose} after this one, the last with a value; with "
                f"exogenous columns {horizon:,} are needed, which hold them for the steps to come "
                f"and no {target!r}",
                row=int(before[-1]),
                column=target,
            )


def _moments(
    table: Table, time: str | None, known: Groups, coming: Groups, horizon: int, say: Say
) -> list[list[str]]:
    """Return the times to come: those in the file, or as the ones before go on."""
    if time is None:
        return [[] for _ in known.ids]
    cells, values = table.column(time), times(table, time)
    found: list[list[str]] = []
    for before, after in zip(known.rows, coming.rows, strict=True):
        rows = np.concatenate([before, after])
        given = [cells[row] for row in after[:horizon]]
        more = horizon - len(given)
        following = continued([cells[r] for r in rows], values[rows], more) if more else []
        if following is None:
            say(f"column {time!r} is not evenly spaced: the result has steps and no times")
            return [[] for _ in known.ids]
        found.append(given + following)
    return found
