"""What the gates of a GRU do: it learns to add two marked numbers, and its gates are drawn.

The update gate lets a number in where the mark is and keeps the state everywhere else.
``python examples/gates.py`` takes some seconds and writes ``gates.png`` (needs matplotlib).
"""

from __future__ import annotations

import argparse

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="gates.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()

X, y = gru.datasets.adding(320 if options.quick else 4000, 60, seed=0)
layer = gru.GRU(2, 16, update_gate="new", seed=0)  # as in most articles: z near 1 takes the new
model = gru.Sequential([layer, gru.Last(), gru.Linear(16, 1, seed=0)])
history = gru.fit(
    model,
    X,
    y,
    loss="mse",
    optimizer=gru.Adam(0.02),
    epochs=1 if options.quick else 12,
    verbose=False,
)

X_test, y_test = gru.datasets.adding(500, 60, seed=1)
error, _ = gru.losses.mse(model.predict(X_test), y_test)
print(f"mean squared error {error:.5f} on held-out sequences; to answer 1 always gives 0.16667")

(report,) = gru.diagnostics.units(layer, X_test)
print("half-life of each unit's state in steps, the longest first:")
print("  ", *(f"{steps:.3g}" for steps in sorted(report.half_life, reverse=True)))

figure = gru.plot.gates(model, X_test[0], names=["number", "mark"])
figure.savefig(options.out)
print(f"wrote {options.out}")
