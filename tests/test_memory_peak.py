"""Measured peaks: what a memory limit promises is what the system counts, in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

STATUS = """
def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) * 1024
"""

MILLION = (
    STATUS
    + """
import sys
import numpy as np
import gru

limit = None if sys.argv[2] == "None" else sys.argv[2]
model = gru.Sequential([gru.GRU(8, 64, seed=0), gru.Last(), gru.Linear(64, 1, seed=1)])
y, tape = model.forward(np.ones((1, 50, 8), np.float32), memory_limit=limit)  # all code is loaded
model.backward(tape, np.ones_like(y))
x = np.random.default_rng(0).standard_normal((1, int(sys.argv[1]), 8), dtype=np.float32)
before, peak_before = status("VmRSS"), status("VmHWM")
y, tape = model.forward(x, memory_limit=limit)
after_forward = status("VmHWM")
gradients = model.backward(tape, np.ones_like(y))
assert all(np.isfinite(g).all() for g in gradients.values())
print(before, peak_before, after_forward, status("VmHWM"), tape.nbytes)
"""
)


def measure(steps: int, limit: str | None) -> dict[str, int]:
    """Bytes of one training step of a GRU(8, 64) in a process of its own."""
    command = [sys.executable, "-c", MILLION, str(steps), str(limit)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = ("before", "peak before", "after forward", "after backward", "tape")
    return dict(zip(names, map(int, out.split()), strict=True))


def test_a_million_steps_train_within_64_mb() -> None:
    """Peak memory, as the system counts it, above what is in use when x is there."""
    found = measure(1_000_000, "64MB")
    growth = found["after backward"] - found["before"]
    print({name: f"{value / 1e6:.1f} MB" for name, value in found.items()})
    print(f"growth of peak memory: {growth / 1e6:.1f} MB")
    assert found["peak before"] - found["before"] < 8e6, "x was made without a peak of its own"
    assert growth < 64e6
    # The whole tape grows by the step; a tenth of the steps shows that a million take 1 GB.
    assert 10 * measure(100_000, None)["tape"] > 1e9


WIDE = (
    STATUS
    + """
import numpy as np
import gru

layer = gru.{cell}
B, T = {batch}, {steps}
small = np.zeros((2, 2, 8), np.float32)
y, _, tape = layer.forward(small)
layer.backward(tape, y)  # all code is loaded
x = np.random.default_rng(0).standard_normal((B, T, 8), dtype=np.float32)
limit = gru.Sequential([layer]).least_memory(B, T)
dy = np.ones((B, T, y.shape[2]), np.float32)
before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
y, state, tape = layer.forward(x, memory_limit=limit)
dx, dstate, gradients = layer.backward(tape, dy)
peak = status("VmHWM") - before
returned = sum(a.nbytes for a in [y, dx, *gradients.values()])
returned += np.asarray(state).nbytes + np.asarray(dstate).nbytes
print(peak - returned, limit)
"""
)
WIDE_CASES = [
    ("GRU(8, 128)", 4096, 6),
    ("LSTM(8, 64, zoneout=0.1, recurrent_dropout=0.1)", 4096, 12),
    ("GRU(8, 64, reset_after=False, recurrent_dropout=0.1)", 2048, 32),
    ("GRU(8, 64, layer_norm=True)", 512, 64),
    ("GRU(8, 64, 2, bidirectional=True, dropout=0.2)", 512, 64),
    ("RNN(8, 32, input_dropout=0.3)", 1024, 200),
]


@pytest.mark.parametrize(("cell", "batch", "steps"), WIDE_CASES)
def test_wide_batches_keep_their_limit(cell: str, batch: int, steps: int) -> None:
    """The least limit, apart from what the caller gets back."""
    code = WIDE.format(cell=cell, batch=batch, steps=steps)
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    used, limit = map(int, out.stdout.split())
    print(f"{used / 1e6:.1f} MB of {limit / 1e6:.1f} MB")
    assert used < limit
