"""From a CSV file to training data: rows, targets, the held-out part, inputs; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gru._types import Array
from gru.cli.parser import CommandError
from gru.scaling import Scaler
from gru.table import Features, Groups, Say, Schema, Table, Target, find, group, hold_out
from gru.table.errors import listed, plural
from gru.table.targets import Found

__all__ = ["Part", "Prepared", "prepare"]


@dataclass(frozen=True)
class Part:
    """Sequences and their targets.

    Attributes
    ----------
    X : list of ndarray of float32
        Shape (T_i, I).
    truth : list of ndarray
        Shape (1,), or (T_i,) per row: numbers, or numbers of classes.
    ids : list of str
        Their names.
    """

    X: list[Array]
    truth: list[Array]
    ids: list[str]

    @property
    def flat(self) -> Array:
        """All true targets, sequence after sequence, shape (n,)."""
        return np.concatenate(self.truth)

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.X)

    def y(self, target: Target) -> Any:
        """Return the targets as training takes them."""
        values = self.truth
        if target.scaler is not None:
            values = [target.scaler.scale(value[:, None]) for value in values]
        return np.concatenate(values) if target.per == "id" else values


@dataclass(frozen=True)
class Prepared:
    """All that training needs of a table.

    Attributes
    ----------
    schema : Schema
        Columns and scaling.
    train, validation, held : Part
        What to learn from, what may choose the epoch, and what is for the scores alone. The last
        two are empty if they were not asked for.
    """

    schema: Schema
    train: Part
    validation: Part
    held: Part


def _columns(
    table: Table,
    features: Sequence[str] | None,
    categorical: Sequence[str],
    taken: dict[str, str | None],
) -> list[str]:
    """Return the columns that are features; the others have a role each."""
    for role, name in taken.items():
        if name is not None:
            table.column(name)
            if features is not None and name in features and role != "time":
                raise CommandError(f"--features: {name!r} is the {role} column")
    given = [name for name in table.columns if name not in taken.values()]
    chosen = given if features is None else list(features)
    for name in (*chosen, *categorical):
        table.column(name)
    for name in categorical:
        if name not in chosen:
            raise CommandError(f"--categorical: {name!r} is not among the features")
    if not chosen:
        raise CommandError(f"{table.name}: no column is left to be a feature")
    return chosen


def prepare(
    table: Table,
    say: Say,
    *,
    id: str,
    time: str | None,
    target: str,
    features: Sequence[str] | None,
    categorical: Sequence[str],
    task: str | None,
    per: str | None,
    holdout: float,
    validation: float,
    seed: int,
) -> Prepared:
    """Make training data; categories, means and scaling are those of the part to learn from.

    ``holdout`` is a share of the ids, ``validation`` one of those that are left then.

    Raises
    ------
    TableError, CommandError
        If anything is missing or does not fit.
    """
    if len({id, time, target} - {None}) < (2 if time is None else 3):
        raise CommandError("--id, --time and --target must be different columns")
    columns = _columns(table, features, categorical, {"id": id, "time": time, "target": target})
    if table.nameless:
        say(f"{plural(table.nameless, 'column')} without a name left out")
    if time is None:
        say("no --time: the rows of an id are taken in the order of the file")
    groups = group(table, id, time, say)
    found = find(table, groups, target, say, task=task, per=per)
    groups = groups.take(found.kept)
    everything = np.arange(len(groups))
    rest, held = _split(table, found, everything, "--holdout", holdout, seed)
    train, chosen = _split(table, found, rest, "--validation", validation, seed)
    inputs = Features.of(table, groups.take(train), columns, categorical, say)
    X = inputs.inputs(table, groups, say)
    say(f"features: {listed(columns, 12)}; {plural(inputs.width, 'input')} a step")
    parts = [
        Part([X[i] for i in index], [found.values[i] for i in index], groups.take(index).ids)
        for index in (train, chosen, held)
    ]
    say(_sizes(groups, parts))
    scaled = replace(found.target, scaler=_scaler(found.target, parts[0]))
    return Prepared(Schema(id, time, inputs, scaled), *parts)


def _split(
    table: Table, found: Found, ids: Array, option: str, share: float, seed: int
) -> tuple[Array, Array]:
    """Split some of the ids in those that stay and those that an option takes away."""
    values = [found.values[i] for i in ids]
    single = found.target.classes and found.target.per == "id"
    stay, taken = hold_out(len(ids), share, seed, np.concatenate(values) if single else None)
    if share and not len(taken):
        verb = "held out" if option == "--holdout" else "split off"
        raise CommandError(
            f"{table.name}: nothing can be {verb} of {plural(len(ids), 'id')}"
            f"{' with a class each' if len(ids) > 1 else ''}; give {option} 0"
        )
    return ids[stay], ids[taken]


def _scaler(target: Target, part: Part) -> Scaler | None:
    return None if target.classes else Scaler.of(part.flat[:, None])


def _sizes(groups: Groups, parts: list[Part]) -> str:
    lengths = [len(rows) for rows in groups.rows]
    steps = f"{min(lengths):,} to {max(lengths):,}" if min(lengths) < max(lengths) else lengths[0]
    train, validation, held = map(len, parts)
    chosen = f"{validation:,} for validation, " if validation else ""
    return (
        f"{plural(len(groups), 'id')} of {steps} rows: {train:,} to learn from, {chosen}"
        f"{held:,} held out"
    )
