"""The demo's picture: two sets of training curves and a streamed answer; trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from gru.history import History
from gru.plot import canvas
from gru.plot.training import history

__all__ = ["draw"]


def _answer(ax: Any, probabilities: Any, truth: int) -> None:
    """Draw the probability of every class over the steps of a stream."""
    lines = np.asarray(probabilities).T
    others = [k for k in range(len(lines)) if k != truth and lines[k].max() > 0.15]
    steps = np.arange(1, lines.shape[1] + 1)
    for speaker, colour in zip([truth, *others], canvas.COLOURS, strict=False):
        right = speaker == truth
        name = f"speaker {speaker + 1}" + (" (who it is)" if right else "")
        width = 2.5 if right else 1.2
        ax.plot(steps, lines[speaker], label=name, linewidth=width, color=colour)
    ax.set(ylabel="probability", ylim=(-0.02, 1.02))
    canvas.steps_axis(ax, "step")
    ax.legend(frameon=False, fontsize=9)
    ax.grid(alpha=0.3)


def draw(
    path: str | PathLike[str],
    speech: Mapping[str, History],
    memory: Mapping[str, History],
    probabilities: Any,
    truth: int,
) -> None:
    """Write the demo's picture.

    Parameters
    ----------
    path : str or path
        The PNG file.
    speech, memory : mapping of str to History
        Runs of the two tasks.
    probabilities : array_like
        Shape (T, K): the answer after each step.
    truth : int
        The right class.

    Raises
    ------
    MissingError
        If matplotlib is not installed.
    """
    figure = canvas.figure(size=(15, 4.5))
    left, middle, right = figure.subplots(1, 3)
    history(speech, label="cross entropy (training)", ax=left)
    left.set_title("Who speaks?")
    history(memory, label="squared error (training)", ax=middle)
    middle.axhline(1 / 6, color=canvas.GRAY, linestyle=":", linewidth=1)
    middle.set_title("Adding over 100 steps (dotted: always answering 1)", size="medium")
    _answer(right, probabilities, truth)
    right.set_title("A held-out utterance, streamed")
    figure.savefig(path, dpi=110)
