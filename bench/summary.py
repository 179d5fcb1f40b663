"""Print two runs of compare.py side by side, as the table of README.md.

    python bench/summary.py bench/results/FIRST.json bench/results/SECOND.json

Both runs' ratios to the best peer, and what is asked of them: a row is met where both runs meet it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
import report
from systems import OURS

NAMES = {
    "best": "best peer",
    "limit": "time / limit",
    "twin": "time / twin",
    "gflops": "GFLOP/s",
    "seconds": "a call",
    "call": "above C++",
}
Row = dict[str, Any]
Runs = Sequence[Row]


def rows_of(runs: Runs, threads: int) -> list[list[Row | None]]:
    """Return each case's row in every run, in the first run's order."""
    found = [{row["case"]: row for row in run["grid"] if row["threads"] == threads} for run in runs]
    return [[run.get(case) for run in found] for case in found[0]]


def ratio(row: Row | None) -> str:
    """Return the best peer's time divided by ours, and which peer that is."""
    if not row or not row["ratio"]:
        return figures.NONE
    name = report.NAMES[row["best"]].removesuffix(" (C++)")
    return f"{row['ratio']['median']:.2f} {name}"


def verdicts(rows: Sequence[Row | None]) -> str:
    """Return every target with both runs' figures; what a run misses is in capitals."""
    words = []
    for targets in zip(*(row["targets"] for row in rows if row), strict=True):
        values = [figures.number(t, t["value"]) if t["value"] is not None else "?" for t in targets]
        first = targets[0]
        bound = f"{'≤' if first['most'] else '≥'} {figures.number(first, first['bound'])}"
        met = all(target["met"] is not False for target in targets)
        against = NAMES.get(first["against"]) or report.NAMES[first["against"]]
        words.append(f"{against} {bound}: {' and '.join(values)}{'' if met else ' MISSED'}")
    return "; ".join(words)


def cells(rows: Sequence[Row | None]) -> list[str]:
    first = rows[0]
    assert first is not None
    times = [figures.system_time(row, OURS) if row else figures.NONE for row in rows]
    return [first["case"], *times, *map(ratio, rows), verdicts(rows)]


def main() -> None:
    runs = [json.loads(Path(path).read_text()) for path in sys.argv[1:]]
    header = ["case"]
    header += [f"gru, µs, run {i + 1}" for i in range(len(runs))]
    header += [f"best peer / gru, run {i + 1}" for i in range(len(runs))]
    header += ["asked"]
    for threads in dict.fromkeys(row["threads"] for row in runs[0]["grid"]):
        print(f"\n**{threads} thread{'s' * (threads > 1)}**\n")
        print("\n".join(report.markdown(header, map(cells, rows_of(runs, threads)))))


if __name__ == "__main__":
    main()
