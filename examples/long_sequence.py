"""Exact gradients through a million steps in 64 MB: ``memory_limit``.

The tape of a plain backward pass grows with every step. Where it would pass the limit, it keeps the
state at some steps only, and backward runs forward again between them: the same gradients to the
last bit, in up to 1.4 times the time. At a million steps the limit is not slower: what running
forward again costs, a third more computing, the plain tape loses with its memory, since the system
gives it 1.3 GB page by page. ``python examples/long_sequence.py`` takes half a minute, and 1.5 GB
for the plain tape, and writes ``long_sequence.png`` (needs matplotlib).
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from multiprocessing import get_context

import numpy as np

import gru


def measure(steps: int, limit: str | None) -> tuple[float, float, str]:
    """Return peak memory (MB) and seconds of one forward and backward, and the gradients' hash."""
    model = gru.Sequential([gru.GRU(8, 64, seed=0), gru.Last(), gru.Linear(64, 1, seed=0)])
    x = np.random.default_rng(0).standard_normal((1, steps, 8), dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    y, tape = model.forward(x, memory_limit=limit)
    gradients = model.backward(tape, np.ones_like(y))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    bits = hashlib.sha256(b"".join(g.tobytes() for g in gradients.values()))
    return peak * 1024 / 1e6, seconds, bits.hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="long_sequence.png", help="where the picture goes")
    parser.add_argument("--quick", action="store_true", help="a hundred times shorter")
    options = parser.parse_args()

    lengths = [1_000, 10_000] if options.quick else [10_000, 30_000, 100_000, 300_000, 1_000_000]
    limits = {"plain tape": None, 'memory_limit="64MB"': "64MB"}
    jobs = [(steps, limit) for steps in lengths for limit in limits.values()]
    # A process for each, as the peak of a process never falls.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = dict(zip(jobs, pool.starmap(measure, jobs, chunksize=1), strict=True))

    print(f"{'steps':>9}", *(f"{name:>28}" for name in limits), "   gradients")
    for steps in lengths:
        cells = [results[steps, limit] for limit in limits.values()]
        same = "the same bits" if cells[0][2] == cells[1][2] else "DIFFERENT"
        shown = (f"{peak:14.1f} MB {seconds:8.2f} s" for peak, seconds, _ in cells)
        print(f"{steps:9,}", *shown, "   ", same)

    figure = gru.plot.figure(size=(9.0, 3.6))
    panels = figure.subplots(1, 2)
    for column, (ax, label) in enumerate(zip(panels, ("peak memory (MB)", "seconds"), strict=True)):
        for name, limit in limits.items():
            values = [results[steps, limit][column] for steps in lengths]
            ax.loglog(lengths, values, "o-", markersize=4, label=name)
        ax.set(xlabel="steps", ylabel=label)
        ax.grid(alpha=0.3)
    panels[0].axhline(64, color="gray", linestyle=":", linewidth=1.2, label="64 MB")
    panels[0].legend(frameon=False, fontsize=9)
    figure.suptitle("Forward and backward of a GRU(8, 64): the same bits", size=10)
    figure.savefig(options.out)
    print(f"wrote {options.out}")
