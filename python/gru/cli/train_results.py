"""Scores of what a training gave, as sentences and for JSON; knows no files."""

from __future__ import annotations

from typing import Any

import numpy as np

import gru
from gru.cli.answers import Answers, answer, scores
from gru.cli.prepare import Part, Prepared
from gru.table.errors import Say

__all__ = ["PARTS", "scored"]

PARTS = {"train": "training", "validation": "validation", "holdout": "held out"}  # in words


def scored(data: Prepared, model: gru.Sequential, *, steered: bool, say: Say) -> dict[str, Any]:
    """Score a model on every part of the data, and say the scores.

    Parameters
    ----------
    data : Prepared
        The parts.
    model : Sequential
        After the training.
    steered : bool
        Whether the validation part has chosen the epoch or the learning rate.
    say : callable
        Is told the scores.

    Returns
    -------
    dict
        For each part ``NAME`` and ``NAME_naive``; ``None`` where the part is empty.
    """
    results: dict[str, Any] = {}
    for (name, said), part in zip(
        PARTS.items(), (data.train, data.validation, data.held), strict=True
    ):
        results[name] = results[f"{name}_naive"] = None
        if len(part):
            results[name] = scores(answer(model, data.schema.target, part.X), part.flat)
            results[f"{name}_naive"] = _naive(data, part)
            flatters = "; it steered the training" if steered and name == "validation" else ""
            say(f"{said}: {_summary(results[name], results[f'{name}_naive'])}{flatters}")
    return results


def _naive(data: Prepared, part: Part) -> dict[str, Any]:
    """Return the scores of always answering the same: the commonest class, or the mean."""
    target, known = data.schema.target, data.train.flat
    truth = part.flat
    if target.classes:
        common = int(np.bincount(known).argmax())
        return {"answer": target.classes[common], "accuracy": float((truth == common).mean())}
    always = Answers(target, np.full(len(truth), known.mean()), None)
    return {"answer": float(known.mean()), "rmse": scores(always, truth)["rmse"]}


def _summary(found: dict[str, Any], naive: dict[str, Any]) -> str:
    if "accuracy" in found:
        same = f"{naive['accuracy']:.3f} if the answer were always {naive['answer']!r}"
        return f"accuracy {found['accuracy']:.3f} of {found['count']:,} ({same})"
    same = f"{naive['rmse']:.4g} if the answer were always {naive['answer']:.4g}"
    return f"root mean squared error {found['rmse']:.4g} ({same})"
