"""The fresh process of the demo: loads a saved model and streams recordings through it."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gru._types import Array
from gru.demo.speech import Scale, scaled
from gru.files import load

__all__ = ["stream_saved"]


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def stream_saved(path: Path, utterance: int, result: Path) -> None:
    """Show how the answer on one held-out utterance forms, then time all of them.

    Parameters
    ----------
    path : Path
        A model that the demo saved.
    utterance : int
        Which of the held-out utterances to show.
    result : Path
        Where the numbers go as JSON.
    """
    model = load(path)
    data, _ = scaled(Scale.read(model.metadata))
    stream = model.stream()
    logits = np.concatenate([stream.step(frame[None]) for frame in data.X_test[utterance]])
    shown = _softmax(logits.astype(np.float64))
    truth = int(data.y_test[utterance])
    print(f"  utterance {utterance}, spoken by speaker {truth + 1}:")
    for step, row in enumerate(shown):
        best = int(row.argmax())
        mark = "" if best == truth else "  (wrong so far)"
        bar = "#" * round(20 * row[best])
        print(f"    step {step + 1:2d}  speaker {best + 1}  {row[best]:.2f} {bar:<20}{mark}")
    whole = model(data.X_test[utterance][None])[0]
    numbers = {
        "utterance": utterance,
        "truth": truth,
        "probabilities": shown.tolist(),
        "same_bits_as_whole": bool(np.array_equal(whole, logits[-1])),
        **_time_all(stream, data.X_test, data.y_test),
    }
    result.write_text(json.dumps(numbers), encoding="utf-8")


def _time_all(stream: Any, utterances: list[Array], truth: Array) -> dict[str, float]:
    """Stream all utterances one after the other, one frame a call."""
    out = stream.step(utterances[0][:1])
    each, right = [], 0
    for frames, speaker in zip(utterances, truth, strict=True):
        steps = [frame[None] for frame in frames]
        stream.reset()
        start = time.perf_counter()
        for step in steps:
            stream.step(step, out)
        each.append((time.perf_counter() - start) / len(steps) * 1e6)
        right += int(out[0].argmax() == speaker)
    return {"microseconds_per_step": statistics.median(each), "accuracy": right / len(truth)}


if __name__ == "__main__":
    stream_saved(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
