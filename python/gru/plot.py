"""Pictures of training and of a streamed answer; the only file that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from gru.history import History

__all__ = ["MissingError", "curves", "demo"]


class MissingError(ImportError):
    """Matplotlib is not installed; the message says how to get it."""


def _figure(**options: Any) -> Any:
    """Make a figure that needs no display."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingError(
            "pictures need matplotlib; pip install 'gru-engine[plot]' brings it"
        ) from None
    return Figure(layout="constrained", **options)


def curves(axes: Any, histories: Mapping[str, History], label: str) -> None:
    """Draw the training loss of each run over the epochs, on a logarithmic scale.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    histories : mapping of str to History
        By the name that the legend shows.
    label : str
        What the loss is.
    """
    for name, history in histories.items():
        axes.plot(range(1, len(history) + 1), history.loss, label=name)
    axes.set(xlabel="epoch", ylabel=label, yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _answer(axes: Any, probabilities: Any, truth: int) -> None:
    """Draw the probability of every class over the steps of a stream."""
    steps = np.arange(1, len(probabilities) + 1)
    for speaker, line in enumerate(np.asarray(probabilities).T):
        right = speaker == truth
        if right or line.max() > 0.15:  # the others would only fill the legend
            name = f"speaker {speaker + 1}" + (" (who it is)" if right else "")
            axes.plot(steps, line, label=name, linewidth=2.5 if right else 1.2)
    axes.set(xlabel="step", ylabel="probability", ylim=(-0.02, 1.02))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def demo(
    path: str | PathLike[str],
    speech: Mapping[str, History],
    memory: Mapping[str, History],
    probabilities: Any,
    truth: int,
) -> None:
    """Write the demo's picture: two sets of training curves and a streamed answer.

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
    figure = _figure(figsize=(15, 4.5))
    left, middle, right = figure.subplots(1, 3)
    curves(left, speech, "cross entropy (training)")
    left.set_title("Who speaks?")
    curves(middle, memory, "squared error (training)")
    middle.axhline(1 / 6, color="gray", linestyle=":", linewidth=1)
    middle.set_title("Adding two numbers over 100 steps (dotted: always answering 1)")
    middle.title.set_fontsize("medium")
    _answer(right, probabilities, truth)
    right.set_title("A held-out utterance, streamed")
    figure.savefig(path, dpi=110)
