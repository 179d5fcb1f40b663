"""Runs a file in the framework that wrote it, to compare; the only place that imports them."""

from __future__ import annotations

from gru._types import Array
from gru.model import Sequential

__all__ = ["NotRunError", "outputs"]


class NotRunError(Exception):
    """The source could not be run; the message says why."""


def outputs(model: Sequential, path: str, kind: str) -> tuple[str, Array, Array]:
    """Run the source of a model on its example input.

    Parameters
    ----------
    model : Sequential
        What was read from the file.
    path, kind : str
        The file and its format.

    Returns
    -------
    by : str
        The framework and its version.
    x, y : ndarray
        The input as the model takes it, and the output as the model gives it.

    Raises
    ------
    NotRunError
        If the framework is not installed or cannot run the file.
    """
    raise NotRunError(f"nothing runs {kind}")
