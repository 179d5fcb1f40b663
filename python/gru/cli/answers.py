"""What a model says about sequences, in the words and units of their table, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gru._types import Array
from gru.cli.output import digits
from gru.model import Sequential
from gru.table import Target

__all__ = ["Answers", "answer", "scores"]


@dataclass(frozen=True)
class Answers:
    """Answers for n targets: one a sequence, or one a step, sequence after sequence.

    Attributes
    ----------
    target : Target
        What was asked.
    values : ndarray
        Shape (n,): float64 in the table's own units, or int64 numbers of classes.
    probabilities : ndarray or None
        Shape (n, K), float64; ``None`` for regression.
    """

    target: Target
    values: Array
    probabilities: Array | None

    def take(self, index: Array) -> Answers:
        """Return some of the answers, by their numbers."""
        shares = None if self.probabilities is None else self.probabilities[index]
        return Answers(self.target, self.values[index], shares)

    def cells(self) -> list[list[str]]:
        """Return a list of cells an answer: the prediction, and a probability a class."""
        if self.probabilities is None:
            return [[digits(value)] for value in self.values]
        return [
            [self.target.classes[value], *map(digits, row)]
            for value, row in zip(self.values, self.probabilities, strict=True)
        ]

    @property
    def header(self) -> list[str]:
        """The names of the cells."""
        return ["prediction", *(f"probability_{name}" for name in self.target.classes)]


def _rounded(values: Array) -> Array:
    """Return float64 numbers as their text has them."""
    flat = [float(digits(value)) for value in values.ravel().tolist()]
    return np.array(flat).reshape(values.shape)


def answer(model: Sequential, target: Target, X: list[Array]) -> Answers:
    """Run a model.

    Parameters
    ----------
    model : Sequential
        Its outputs are logits, or a scaled number.
    target : Target
        What they mean.
    X : list of ndarray
        Sequences (T_i, I); at least one.

    Returns
    -------
    Answers
        The same to the last digit, whatever other sequences there are.
    """
    found = model.predict(X)
    rows = np.concatenate(found) if isinstance(found, list) else found
    rows = rows.astype(np.float64)
    if target.scaler is not None:
        return Answers(target, _rounded(target.scaler.unscale(rows)[:, 0]), None)
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares = _rounded(powers / powers.sum(axis=1, keepdims=True))
    return Answers(target, rows.argmax(axis=1), shares)


def scores(answers: Answers, truth: Array) -> dict[str, Any]:
    """Return how good answers are.

    Parameters
    ----------
    answers : Answers
        For n targets.
    truth : ndarray
        Shape (n,): numbers, or numbers of classes.

    Returns
    -------
    dict
        ``count``, and for classes ``accuracy``, ``cross_entropy`` (nats) and ``confusion`` (one
        row a true class, one column a predicted one); for numbers ``rmse`` and ``mae`` in the
        table's units, and ``r2`` (``None`` where all true numbers are equal).
    """
    if answers.probabilities is not None:
        given = answers.probabilities[np.arange(len(truth)), truth]
        size = len(answers.target.classes)
        confusion = np.zeros((size, size), dtype=np.int64)
        np.add.at(confusion, (truth, answers.values), 1)
        return {
            "count": len(truth),
            "accuracy": float((answers.values == truth).mean()),
            "cross_entropy": float(-np.log(np.maximum(given, 1e-300)).mean()),
            "confusion": confusion.tolist(),
        }
    error = answers.values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "count": len(truth),
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1.0 - float((error**2).sum()) / spread if spread else None,
    }
