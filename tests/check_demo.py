"""Asserts what ``python -m gru demo --seeds 5 --json FILE`` promises, from the file it wrote.

``python tests/check_demo.py FILE [--seconds 60]`` exits with 1 and one line for each promise that
is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ACCURACY = 0.96  # of both forms of the GRU on the speech task
SOLVED = 0.02  # mean squared error on the memory task; to answer 1 always gives 1/6
GATED = ("GRU, article form", "GRU, framework form", "LSTM")


def broken(numbers: dict[str, Any], seconds: float | None = None) -> list[str]:
    """One line for each promise that the numbers break."""
    speech, memory = (
        {row["cell"]: row["median_score"] for row in numbers[task]} for task in ("speech", "memory")
    )
    found = [
        f"speech: {cell} has a median accuracy of {speech[cell]:.3f}, promised are {ACCURACY}"
        for cell in GATED[:2]
        if not speech[cell] >= ACCURACY
    ]
    found += [
        f"memory: {cell} has a median error of {memory[cell]:.4f}, promised is below {SOLVED}"
        for cell in GATED
        if not memory[cell] < SOLVED
    ]
    if not memory["RNN (tanh)"] >= SOLVED:
        found.append(
            f"memory: the plain RNN has a median error of {memory['RNN (tanh)']:.4f}: it solves "
            f"the task, which is to show that it cannot"
        )
    if seconds is not None and not numbers["seconds"] < seconds:
        found.append(f"the demo took {numbers['seconds']:.1f} s, promised are {seconds:g}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, help="the demo's own total must be below")
    options = parser.parse_args()
    numbers = json.loads(options.file.read_text(encoding="utf-8"))
    found = broken(numbers, options.seconds)
    for line in found:
        print(f"{options.file}: {line}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{options.file}: the demo keeps its promises, with seeds {numbers['seeds']}")


if __name__ == "__main__":
    main()
