"""Why a plain RNN fails where GRU and LSTM learn: how far back in time their gradients reach.

The task is to add two marked numbers among 200. Before training no gradient comes back from the
first numbers: every step shrinks it. A gated cell can learn to hand it back unchanged through its
update gate (GRU) or forget gate (LSTM); a plain RNN has no such way, and never finds out what the
first number was for. With one budget for all three, GRU and LSTM must get a mean squared error
below 0.01, and the plain RNN must not; else the script ends with an error (``bench/adding.py`` does
the same with five seeds). ``python examples/gradient_flow.py`` takes two or three minutes and
writes ``gradient_flow.png`` (needs matplotlib).
"""

from __future__ import annotations

import argparse
import time

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="gradient_flow.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()

STEPS, UNITS, SOLVED = 200, 32, 0.01
count, epochs, held_out = (64, 1, 20) if options.quick else (3200, 30, 500)
X, y = gru.datasets.adding(count, STEPS, seed=0)
X_test, y_test = gru.datasets.adding(held_out, STEPS, seed=1)


def build(kind: type[gru.GRU | gru.LSTM | gru.RNN]) -> gru.Sequential:
    """Make a model; an LSTM's forget gate starts open, as Gers et al. 2000 advise."""
    cell = kind(2, UNITS, seed=0)
    if kind is gru.LSTM:
        cell.parameters["bias_ih_l0"][UNITS : 2 * UNITS] = 1.0
    return gru.Sequential([cell, gru.Last(), gru.Linear(UNITS, 1, seed=0)])


def flow(model: gru.Sequential) -> gru.diagnostics.GradientFlow:
    """Trace the gradient of the error on held-out sequences."""
    return gru.diagnostics.gradient_flow(model, X_test, y_test, loss="mse")


before, after = {}, {}
for kind in (gru.GRU, gru.LSTM, gru.RNN):
    name, model = kind.__name__, build(kind)
    before[name] = flow(model)
    start = time.perf_counter()
    gru.fit(model, X, y, loss="mse", optimizer=gru.Adam(0.02), epochs=epochs, verbose=False)
    seconds = time.perf_counter() - start
    after[name] = flow(model)
    print(
        f"{name:<4} after {seconds:.0f} s: mean squared error {after[name].loss:.5f}, "
        f"its gradient reaches back {after[name].memory[0].reach()} of {STEPS - 1} steps "
        f"({before[name].memory[0].reach()} before training)"
    )

print(f"\nThe GRU in numbers:\n{after['GRU']}")
figure = gru.plot.figure(size=(11.4, 7.8))
for part, flows, title in zip(
    figure.subfigures(2, 1), (before, after), ("Before training", "After training"), strict=True
):
    gru.plot.gradient_flow(flows, figure=part)
    part.suptitle(f"{title}: how far back the gradient of the error reaches")
figure.savefig(options.out)
print(f"\nwrote {options.out}")

solved = [name for name, flow in after.items() if flow.loss < SOLVED]
if not options.quick and solved != ["GRU", "LSTM"]:
    errors = ", ".join(f"{name} {flow.loss:.5f}" for name, flow in after.items())
    raise SystemExit(
        f"errors of GRU and LSTM should be below {SOLVED}, the RNN's not, got {errors}"
    )
