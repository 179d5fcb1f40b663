#!/usr/bin/env python3
"""Train GRU, LSTM and plain RNN on the adding problem of length 200, seed by seed, on one budget.

Prints a Markdown table of errors on held-out sequences; nothing is timed. The settings are those of
examples/gradient_flow.py, whose seed is the first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import gru
from report import markdown

STEPS, UNITS = 200, 32
SOLVED = 0.01  # mean squared error; to answer 1 always gives 0.167
Kind = type[gru.GRU | gru.LSTM | gru.RNN]
KINDS: tuple[Kind, ...] = (gru.GRU, gru.LSTM, gru.RNN)
LEARN = ("GRU", "LSTM")  # the others are to fail


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=3200, help="to train on")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0.02, help="Adam's, for every cell")
    parser.add_argument("--threads", type=int, help="the bits do not depend on it")
    parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.sequences, options.epochs = 1, 64, 1
    return options


def build(kind: Kind, seed: int) -> gru.Sequential:
    """Make a model; an LSTM's forget gate starts open, as in the example."""
    cell = kind(2, UNITS, seed=seed)
    if kind is gru.LSTM:
        cell.parameters["bias_ih_l0"][UNITS : 2 * UNITS] = 1.0
    return gru.Sequential([cell, gru.Last(), gru.Linear(UNITS, 1, seed=seed)])


def error(kind: Kind, seed: int, options: argparse.Namespace) -> float:
    """Train one cell; return its mean squared error on 500 sequences that it has not seen."""
    X, y = gru.datasets.adding(options.sequences, STEPS, seed=2 * seed)
    X_test, y_test = gru.datasets.adding(500, STEPS, seed=2 * seed + 1)
    model = build(kind, seed)
    gru.fit(
        model,
        X,
        y,
        loss="mse",
        optimizer=gru.Adam(options.rate),
        epochs=options.epochs,
        seed=seed,
        verbose=False,
    )
    return gru.losses.mse(model.predict(X_test), y_test)[0]


def wrong(name: str, errors: Sequence[float]) -> str:
    """Return how many seeds did not do what is asked of this cell, or nothing."""
    count = sum((found < SOLVED) != (name in LEARN) for found in errors)
    asked = f"{'below' if name in LEARN else 'at least'} {SOLVED}"
    return f"{name}: {count} of {len(errors)} seeds are not {asked}" if count else ""


def main() -> int:
    options = parse_arguments()
    if options.threads:
        gru.set_num_threads(options.threads)
    errors: dict[str, list[float]] = {kind.__name__: [] for kind in KINDS}
    rows = []
    for seed in range(options.seeds):
        for kind in KINDS:
            errors[kind.__name__].append(error(kind, seed, options))
            print(f"seed {seed}, {kind.__name__}: {errors[kind.__name__][-1]:.5f}", file=sys.stderr)
        rows.append([str(seed), *(f"{found[-1]:.5f}" for found in errors.values())])
    print("\n".join(markdown(["seed", *errors], rows)))
    problems = list(filter(None, (wrong(*found) for found in errors.items())))
    print(*problems or ["as asked in all seeds"], sep="\n")
    return 1 if problems and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
