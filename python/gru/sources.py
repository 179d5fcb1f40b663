"""Where the batches of an epoch come from: arrays, or a source that the user gives; knows no model.

An epoch is a row of pieces, each of which takes one optimiser step. A piece is a batch, or with
truncated backpropagation some steps of one, whose state then goes on from the piece before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Batch, Dataset, Sequences, batches, on_disk
from gru.weights import ClassWeights

__all__ = ["Given", "Piece", "Source", "Stored"]

SAMPLE = 256  # sequences that tell one mapped file from another
ENDS = 1024  # steps of each, at its start and its end
BLOCK = 2**24  # bytes that are hashed together


@dataclass(frozen=True)
class Piece:
    """One optimiser step's worth of data.

    Attributes
    ----------
    take : callable
        Returns the batch; reads, casts and checks it only then.
    fresh : bool
        Whether the state starts at zero, instead of where the piece before left it.
    """

    take: Callable[[], Batch]
    fresh: bool


class Source(Protocol):
    """What the loop asks of its data."""

    carries: bool

    def pieces(
        self, epoch: int, rng: np.random.Generator | None
    ) -> tuple[int | None, Iterator[Piece]]:
        """Return the number of pieces of an epoch, if it is known, and the pieces."""

    def steps(self, epochs: int) -> int | None:
        """Return the optimiser steps of a run, if they are known."""

    def sure_batches(self) -> list[tuple[int, Array]]:
        """Return batches that every epoch has, if not larger ones, as far as they are known.

        Each is the index of its longest sequence, and the steps of all its sequences.
        """

    def digest(self) -> str:
        """Return what tells the data from other data."""


def _windows(span: int, bptt_steps: int | None) -> list[slice | None]:
    """Cut a number of steps in windows."""
    if bptt_steps is None:
        return [None]
    return [slice(at, at + bptt_steps) for at in range(0, max(span, 1), bptt_steps)]


class Stored:
    """Batches of a data set, in an order drawn for each epoch.

    Parameters
    ----------
    data : Dataset
        The sequences.
    batch_size : int
        Sequences in a batch.
    bptt_steps : int, optional
        Cut every batch in windows of so many steps.
    stateful : bool
        Take the sequences in order, and let row i of a batch go on from row i of the one before.

    Raises
    ------
    ValueError
        If windows are asked for without a target at every step, or ``stateful`` does not fit the
        number of sequences.

    Examples
    --------
    >>> import numpy as np
    >>> data = Dataset(Sequences(np.zeros((4, 5, 1)), np.dtype("float32")), np.zeros((4, 5, 1)))
    >>> count, pieces = Stored(data, 2, bptt_steps=3).pieces(0, None)
    >>> count, [piece.take().x.shape[1] for piece in pieces]
    (4, [3, 2, 3, 2])
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        *,
        bptt_steps: int | None = None,
        stateful: bool = False,
    ) -> None:
        if bptt_steps is not None and not data.per_step:
            raise ValueError("bptt_steps needs y with a target at every step")
        if stateful and len(data) % batch_size:
            raise ValueError(
                f"stateful needs a number of sequences that batch_size divides, "
                f"got {len(data)} and {batch_size}"
            )
        self.data, self.batch_size = data, batch_size
        self.bptt_steps, self.stateful = bptt_steps, stateful
        self.carries = stateful or bptt_steps is not None

    def _order(self, rng: np.random.Generator | None) -> list[Array]:
        if not self.stateful:
            return list(batches(self.data.sequences.steps, self.batch_size, rng))
        return list(np.arange(len(self.data)).reshape(-1, self.batch_size))

    def _cuts(self, index: Array) -> list[slice | None]:
        if self.bptt_steps is None:
            return [None]
        return _windows(self.data.sequences.span(index), self.bptt_steps)

    def pieces(self, epoch: int, rng: np.random.Generator | None) -> tuple[int, Iterator[Piece]]:
        """Return the number of pieces of an epoch and the pieces; rng shuffles the batches."""
        order = self._order(rng)
        cuts = [self._cuts(index) for index in order]

        def made() -> Iterator[Piece]:
            for i, (index, windows) in enumerate(zip(order, cuts, strict=True)):
                for j, window in enumerate(windows):
                    fresh = j == 0 and (i == 0 or not self.stateful)
                    yield Piece(partial(self.data.take, index, window), fresh)

        return sum(map(len, cuts)), made()

    def steps(self, epochs: int) -> int | None:
        """Return the optimiser steps of a run; not known where an epoch's order changes them."""
        order = self._order(None)
        if self.bptt_steps is None:
            return epochs * len(order)
        lengths = {len(self._cuts(np.array([i]))) for i in range(len(self.data))}
        if len(lengths) > 1 and not self.stateful:
            return None
        return epochs * sum(len(self._cuts(index)) for index in order)

    def sure_batches(self) -> list[tuple[int, Array]]:
        """Return the longest sequence with the shortest ones, and a full batch of these."""
        inputs = self.data.sequences
        plain = inputs.lengths is None and inputs.mask is None and not inputs.ragged
        steps = np.full(len(inputs), inputs.shape[-1]) if plain else inputs.steps
        if self.bptt_steps is not None:
            steps = steps.clip(max=self.bptt_steps)
        order, size = np.argsort(steps, kind="stable"), min(self.batch_size, len(inputs))
        least = len(inputs) % size or size  # the longest one may be in the batch that is left over
        found = [np.append(order[: least - 1], order[-1]), order[:size]]
        return [(int(index[-1]), steps[index]) for index in found]

    def digest(self) -> str:
        """Return a hash of the data, of mapped files of a sample."""
        found = blake2b(digest_size=16)
        inputs = self.data.sequences
        kept = (inputs.values, self.data.y, inputs.lengths, inputs.mask, self.data.sample_weight)
        for values in kept:
            if isinstance(values, list):
                found.update(f"{len(values)} arrays".encode())
                for item in values:
                    found.update(f"{item.shape} {item.dtype}".encode())
                    _hash(found, item)
            elif values is not None:
                found.update(f"{values.shape} {values.dtype}".encode())
                _hash(found, values)
        return found.hexdigest()


def _hash(found: blake2b, values: Array) -> None:
    """Add an array in memory, or the ends of some 256 rows of a mapped file."""
    values = np.atleast_1d(values)
    if on_disk(values):
        for i in range(0, len(values), max(len(values) // SAMPLE, 1)):
            item = np.atleast_1d(values[i])
            found.update(item[:ENDS].tobytes() + item[-ENDS:].tobytes())
        return
    rows = max(BLOCK // max(values[:1].nbytes, 1), 1)
    for first in range(0, len(values), rows):
        found.update(values[first : first + rows].tobytes())


class Given:
    """Batches that a user's source gives.

    Parameters
    ----------
    source : callable or iterable
        A function that is called with the epoch (from 0) and returns an iterable of batches, or
        an object that can be iterated over anew in each epoch. A batch is ``(x, y)``,
        ``(x, y, sample_weight)`` or a :class:`gru.data.Batch`.
    dtype : numpy.dtype
        What the model takes.
    class_weight : dict, optional
        As in :class:`gru.data.Dataset`.
    bptt_steps : int, optional
        Cut every batch in windows of so many steps.
    stateful : bool
        Let row i of a batch go on from row i of the one before.

    Raises
    ------
    TypeError
        If it is neither, or an iterator, which gives its batches only once.

    Examples
    --------
    >>> import numpy as np
    >>> batch = np.zeros((2, 3, 1)), [0, 1]
    >>> count, pieces = Given([batch, batch], np.dtype("float32")).pieces(0, None)
    >>> count, len(list(pieces))
    (2, 2)
    """

    def __init__(
        self,
        source: Any,
        dtype: np.dtype[Any],
        *,
        class_weight: Any = None,
        bptt_steps: int | None = None,
        stateful: bool = False,
    ) -> None:
        if isinstance(source, Iterator):
            raise TypeError(
                "X must give its batches in every epoch, but an iterator gives them once; "
                "pass a function of the epoch that makes it"
            )
        wanted = "a function of the epoch or an iterable that gives batches, where y is None"
        if not callable(source):
            check.instance("X", source, Iterable, wanted)
        self._source, self._dtype = source, dtype
        self._weights = None if class_weight is None else ClassWeights.of(class_weight, None)
        self.bptt_steps, self.stateful = bptt_steps, stateful
        self.carries = stateful or bptt_steps is not None

    def _dataset(self, item: Any) -> Dataset:
        """Check one batch."""
        if isinstance(item, Batch):
            inputs = Sequences(item.x, self._dtype, lengths=item.lengths, mask=item.mask)
            y, weight = item.y, item.weight
        elif isinstance(item, (tuple, list)) and len(item) in (2, 3):
            inputs = Sequences(item[0], self._dtype)
            y, weight = item[1], item[2] if len(item) == 3 else None
        else:
            raise TypeError(
                "X must give (x, y), (x, y, sample_weight) or a gru.data.Batch where y is None, "
                f"got {type(item).__name__}"
            )
        if not len(inputs):
            raise ValueError("X must hold at least one sequence, got none")
        return Dataset(inputs, y, sample_weight=weight, class_weight=self._weights, part=True)

    def _cut(self, item: Any, number: int, epoch: int) -> Iterator[Piece]:
        """Cut one batch in pieces; errors say which batch it was."""
        try:
            data = self._dataset(item)
            index = np.arange(len(data))
            if self.bptt_steps is not None and not data.per_step:
                raise ValueError("bptt_steps needs y with a target at every step")
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"in batch {number + 1} of epoch {epoch + 1}, {error}") from None
        span = data.sequences.span(index) if self.bptt_steps is not None else 0
        for j, window in enumerate(_windows(span, self.bptt_steps)):
            fresh = j == 0 and (number == 0 or not self.stateful)
            yield Piece(partial(data.take, index, window), fresh)

    def _known(self) -> int | None:
        """Return the batches of an epoch, if the source has a length."""
        if callable(self._source) or not hasattr(self._source, "__len__"):
            return None
        return None if self.bptt_steps is not None else len(self._source)

    def pieces(
        self, epoch: int, rng: np.random.Generator | None
    ) -> tuple[int | None, Iterator[Piece]]:
        """Return the number of pieces of an epoch, if it is known, and the pieces."""

        def made() -> Iterator[Piece]:
            number = -1
            source = self._source(epoch) if callable(self._source) else self._source
            for number, item in enumerate(source):
                yield from self._cut(item, number, epoch)
            if number < 0:
                raise ValueError(f"X gave no batch in epoch {epoch + 1}")

        return self._known(), made()

    def steps(self, epochs: int) -> int | None:
        """Return the optimiser steps of a run, if the source has a length."""
        count = self._known()
        return None if count is None else count * epochs

    def sure_batches(self) -> list[tuple[int, Array]]:
        """Return nothing: batches are known when they come."""
        return []

    def digest(self) -> str:
        """Return that nothing is known of the data."""
        return "given"
