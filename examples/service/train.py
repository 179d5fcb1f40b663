"""Trains a small model worth streaming: at every frame of speech, which of nine speakers it is."""

from __future__ import annotations

import argparse

import numpy as np

import gru

Arrays = list[np.ndarray]


def conversations(recordings: Arrays, speakers: np.ndarray, count: int) -> tuple[Arrays, Arrays]:
    """Put six recordings end to end; the target of every frame is its speaker."""
    rng = np.random.default_rng(0)
    X, y = [], []
    for order in rng.integers(0, len(recordings), (count, 6)):
        X.append(np.concatenate([recordings[i] for i in order]))
        y.append(np.repeat(speakers[order], [len(recordings[i]) for i in order]))
    return X, y


def main() -> None:
    """Train for ten seconds, say how often it is right, and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="speakers.safetensors")
    parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
    options = parser.parse_args()
    speech = gru.datasets.japanese_vowels()
    X, y = conversations(speech.X_train, speech.y_train, 300)
    model = gru.Sequential([gru.GRU(12, 64, seed=0), gru.Linear(64, 9, seed=1)])
    epochs = 1 if options.quick else 25
    gru.fit(
        model, X, y, optimizer=gru.Adam(3e-3), epochs=epochs, batch_size=16, seed=0, verbose=False
    )
    X, y = conversations(speech.X_test, speech.y_test, 100)
    right = [(p.argmax(axis=1) == t).mean() for p, t in zip(model.predict(X), y, strict=True)]
    print(f"right at {np.mean(right):.0%} of the frames of held-out recordings")
    model.save(options.out)


if __name__ == "__main__":
    main()
