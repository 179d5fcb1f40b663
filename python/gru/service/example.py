"""A recording that fits a model's inputs, for the page; knows no route."""

from __future__ import annotations

from typing import Any

import numpy as np

from gru._types import Array
from gru.service.engine import Interface

__all__ = ["example"]

STEPS = 240
SPEECH_WIDTH = 12  # of the recordings that come with gru


def example(interface: Interface) -> dict[str, Any]:
    """Return a name and the steps ``x``: recorded speech where it fits, else waves or tokens.

    Examples
    --------
    >>> found = example(Interface("float32", 3, False, 1, True))
    >>> found["name"], len(found["x"]), len(found["x"][0])
    ('waves', 240, 3)
    """
    if interface.tokens:
        rng = np.random.default_rng(0)
        return {"name": "random tokens", "x": rng.integers(0, interface.width, STEPS).tolist()}
    if interface.width == SPEECH_WIDTH:
        return {"name": "nine speakers say a vowel each", "x": _speech().tolist()}
    return {"name": "waves", "x": _waves(interface.width).tolist()}


def _speech() -> Array:
    """Return one test recording of every speaker, one after the other."""
    from gru import datasets

    speech = datasets.japanese_vowels()
    firsts = [int(np.flatnonzero(speech.y_test == speaker)[0]) for speaker in range(9)]
    return np.concatenate([speech.X_test[i] for i in firsts]).astype(np.float64).round(6)


def _waves(width: int) -> Array:
    """Return two sines a channel, of its own periods."""
    t = np.arange(STEPS)[:, None]
    channel = np.arange(1, width + 1)
    slow = np.sin(2 * np.pi * t / (90 / (1 + channel % 4)) + channel)
    fast = np.sin(2 * np.pi * t / (17 + 3 * (channel % 5)) + 2 * channel)
    return (0.7 * slow + 0.3 * fast).round(6)
