"""A small language model, letter by letter, on the manual that comes with Python itself.

The text is cut into 32 rows that are read side by side, 64 letters at a time, with the state
carried over (truncated backpropagation through time). Then it writes: a stream takes one letter and
answers with the chances of the next. ``python examples/language.py [TEXT]`` takes about a minute
and writes ``language.png`` (needs matplotlib).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("text", nargs="?", type=Path, help="another text, 100 kB or more")
parser.add_argument("--out", default="language.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()

text = options.text.read_text(encoding="utf-8") if options.text else "\n".join(topics.values())
text = text[: 20_000 if options.quick else 500_000]
letters, codes = np.unique(np.array(list(text)), return_inverse=True)
held_out = len(codes) // 20
X, y = gru.data.streams(codes[: -held_out - 1], codes[1:-held_out], batch_size=32)
X_test, y_test = codes[None, -held_out - 1 : -1], codes[None, -held_out:]


def bits(prediction: np.ndarray, target: np.ndarray, **valid: Any) -> float:
    """Return the cross entropy in bits per letter."""
    return gru.losses.cross_entropy(prediction, target, **valid)[0] / math.log(2)


size = len(letters)
model = gru.Sequential(
    [gru.Embedding(size, 32, seed=0), gru.GRU(32, 128, seed=0), gru.Linear(128, size, seed=0)]
)
history = gru.fit(
    model,
    X,
    y,
    optimizer=gru.Adam(5e-3),
    schedule=gru.schedules.Cosine(),
    epochs=1 if options.quick else 6,
    batch_size=32,
    bptt_steps=64,
    validation=(X_test, y_test),
    metric=bits,
)
print(f"{history.val_metric[-1]:.2f} bits per letter on text that it has not seen")


def write(start: str, count: int, temperature: float, seed: int = 0) -> str:
    """Go on from a start; a low temperature takes the likely letters, a high one dares more."""
    stream, rng, written = model.stream(), np.random.default_rng(seed), list(start)
    for i in range(len(start) + count - 1):
        logits = stream.step(np.searchsorted(letters, [written[i]]))[0].astype(float)
        if i + 1 == len(written):  # adding Gumbel's noise draws from the softmax
            written.append(letters[(logits / temperature + rng.gumbel(size=size)).argmax()])
    return "".join(written)


for temperature in (0.3, 0.7, 1.0):
    print(f"\n--- temperature {temperature}\n{write(text[:20], 300, temperature)}")

figure = gru.plot.history(history, metric=True, label="bits per letter")
figure.savefig(options.out)
print(f"\nwrote {options.out}")
