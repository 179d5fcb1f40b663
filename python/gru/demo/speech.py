"""The recordings as the demo's models see them; knows no model but its notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gru._types import Array
from gru.datasets import JapaneseVowels, japanese_vowels

__all__ = ["Scale", "scaled"]

KEY = "input_scale"


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each channel over the frames of the training data."""

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, utterances: list[Array]) -> Scale:
        """Measure the channels of a list of utterances (T_i, 12)."""
        frames = np.concatenate(utterances).astype(np.float64)
        return cls(frames.mean(axis=0), frames.std(axis=0))

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Scale:
        """Read what a model's file says about its inputs."""
        notes = json.loads(metadata[KEY])
        return cls(np.array(notes["mean"]), np.array(notes["deviation"]))

    def notes(self) -> dict[str, str]:
        """Return the entry of a model's metadata that says how its inputs were scaled."""
        notes = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        return {KEY: json.dumps(notes)}

    def apply(self, utterances: list[Array]) -> list[Array]:
        """Give every channel mean 0 and deviation 1, in float32."""
        return [((x - self.mean) / self.deviation).astype(np.float32) for x in utterances]


def scaled(scale: Scale | None = None) -> tuple[JapaneseVowels, Scale]:
    """Return the recordings, each channel scaled by the training data, and the scale."""
    data = japanese_vowels()
    scale = Scale.of(data.X_train) if scale is None else scale
    train, test = scale.apply(data.X_train), scale.apply(data.X_test)
    return JapaneseVowels(train, data.y_train, test, data.y_test), scale
