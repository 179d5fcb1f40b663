"""One optimiser step: forward, loss, backward, clipping, update; knows no epochs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from gru import _core
from gru._types import Array
from gru.data import Batch
from gru.good import GoodWeights
from gru.model import Sequential
from gru.objective import Objective
from gru.optim import Optimizer, clip_grad_norm
from gru.penalties import add_penalties

__all__ = ["StepResult", "Stepper", "train_step"]


class StepResult(NamedTuple):
    """What one step saw.

    Attributes
    ----------
    loss : float
        As it was before the step.
    sums : tuple of ndarray
        What :class:`gru.objective.Sums` adds up.
    norm : float or None
        Of the gradient, before ``clip_norm``, if there is that.
    """

    loss: float
    sums: tuple[Array, ...]
    norm: float | None


def _finite(blocks: Mapping[str, Array]) -> bool:
    """Whether all numbers are finite; a sum shows that at the price of one quick pass."""
    doubtful = [block for block in blocks.values() if not isfinite(_core.sum_squares(block))]
    return all(bool(np.isfinite(block).all()) for block in doubtful)


class Stepper:
    """Takes optimiser steps; after one that fails, the last good weights are in the model.

    The weights that gave the last finite loss are good, and so is the optimiser's state of that
    moment. A loss that is not finite puts them back. A gradient that is not finite changes
    nothing: its loss was finite. A step that makes parameters infinite is taken back.

    Parameters
    ----------
    model : Sequential
        Changed in place; must not be frozen.
    objective : Objective
        Loss and metrics.
    optimizer : Optimizer
        Changed in place.
    clip_norm, clip_value : float or None
        Upper limits of the joint norm of all gradients, and of each number in them; the latter
        acts first.
    l1, l2 : float
        As in :func:`gru.penalties.add_penalties`.
    memory_limit : int, str or None
        As in ``model.forward``.

    Attributes
    ----------
    good : GoodWeights
        What is put back; after a step, the weights from before it.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2, seed=0)])
    >>> batch = Batch(np.ones((1, 5, 3), np.float32), None, None, np.array([1]))
    >>> stepper = Stepper(model, Objective.of("cross_entropy"), gru.Adam(0.1))
    >>> first, second = (stepper(batch)[0].loss for _ in range(2))
    >>> second < first
    True
    """

    def __init__(
        self,
        model: Sequential,
        objective: Objective,
        optimizer: Optimizer,
        *,
        clip_norm: float | None = 1.0,
        clip_value: float | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        memory_limit: int | str | None = None,
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self._clip_norm, self._clip_value = clip_norm, clip_value
        self._l1, self._l2 = l1, l2
        self._options = {} if memory_limit is None else {"memory_limit": memory_limit}
        self.good = GoodWeights(model, optimizer)

    def __call__(
        self, batch: Batch, seed: int = 0, *, state: Any = None, carry: bool = False
    ) -> tuple[StepResult, Any]:
        """Take one step.

        Parameters
        ----------
        batch : Batch
            Inputs and targets.
        seed : int
            Of the dropout masks.
        state : list, optional
            Where the sequences start; zero if not given.
        carry : bool
            Whether to start from ``state`` and return where the sequences end.

        Returns
        -------
        result : StepResult
            What was seen.
        state : list or None
            Where the sequences end, without a gradient.

        Raises
        ------
        FloatingPointError
            If the loss, the gradient or the updated parameters are not finite.
        """
        which: dict[str, Any] = {
            "lengths": batch.lengths,
            "mask": batch.mask,
            "seed": seed,
            **self._options,
        }
        if carry:
            prediction, state, tape = self.model.forward_carry(batch.x, state, **which)
        else:
            prediction, tape = self.model.forward(batch.x, **which)
        loss, dy, sums = self.objective.measure(prediction, batch)
        self.judge(loss)
        gradients = self.model.backward_blocks(tape, dy)
        norm = self._limit(gradients)
        self._update(gradients, known=bool(sums[0][1]))
        return StepResult(loss, sums, norm), state

    def _limit(self, gradients: dict[str, Array]) -> float | None:
        """Add penalties, check and clip; return the norm if it limits."""
        if self._l1 or self._l2:
            add_penalties(self.model, gradients, l1=self._l1, l2=self._l2)
        hidden = self._clip_norm is None or self._clip_value is not None
        if hidden and not _finite(gradients):
            raise FloatingPointError("the gradient is not finite")
        if self._clip_value is not None:
            for gradient in gradients.values():
                np.clip(gradient, -self._clip_value, self._clip_value, out=gradient)
        if self._clip_norm is None:
            return None
        norm = clip_grad_norm(gradients, self._clip_norm)
        if not isfinite(norm):
            raise FloatingPointError(f"norm of the gradient is {norm}")
        return norm

    def _update(self, gradients: dict[str, Array], *, known: bool) -> None:
        """Change the parameters, which are good if their loss is known: if anything counted."""
        blocks = self.model.blocks()
        if known:
            self.good.keep()
        self.optimizer.step(blocks, gradients)
        if not _finite(blocks):
            self.good.put_back()
            raise FloatingPointError("the step would make parameters that are not finite")

    def judge(self, loss: float) -> None:
        """Put the last good weights back if the present ones gave a loss that is not finite.

        Raises
        ------
        FloatingPointError
            Saying what the loss is.
        """
        if not isfinite(loss):
            self.good.put_back()
            raise FloatingPointError(f"loss is {loss}")

    def look(self, batch: Batch, state: Any = None, *, carry: bool = False) -> None:
        """Take the loss of the present weights without a step; if it is finite they are good.

        A batch in which nothing counts shows nothing.

        Raises
        ------
        FloatingPointError
            If the loss is not finite; the last good weights are then in the model.
        """
        which = {"lengths": batch.lengths, "mask": batch.mask}
        if carry:
            prediction, _ = self.model.carry(batch.x, state, **which)
        else:
            prediction = self.model(batch.x, **which)
        loss, total = self.objective.loss_of(prediction, batch)
        self.judge(loss)
        if total:
            self.good.keep()


def train_step(
    model: Sequential,
    batch: Batch,
    objective: Objective,
    optimizer: Optimizer,
    *,
    clip_norm: float | None = 1.0,
    seed: int = 0,
) -> StepResult:
    """Take one optimiser step on one batch; see :class:`Stepper`.

    Parameters
    ----------
    model : Sequential
        Changed in place; must not be frozen.
    batch : Batch
        Inputs and targets.
    objective : Objective
        Loss and metrics.
    optimizer : Optimizer
        Changed in place.
    clip_norm : float or None
        Upper limit of the joint norm of all gradients.
    seed : int
        Of the dropout masks.

    Returns
    -------
    loss, sums, norm : float, tuple of ndarray, float or None
        As they were before the step.

    Raises
    ------
    FloatingPointError
        If the loss, the gradient or the updated parameters are not finite; the parameters are
        unchanged.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2, seed=0)])
    >>> batch = Batch(np.ones((1, 5, 3), np.float32), None, None, np.array([1]))
    >>> objective, optimizer = Objective.of("cross_entropy"), gru.Adam(0.1)
    >>> first, second = (train_step(model, batch, objective, optimizer).loss for _ in range(2))
    >>> second < first
    True
    """
    return Stepper(model, objective, optimizer, clip_norm=clip_norm)(batch, seed)[0]
