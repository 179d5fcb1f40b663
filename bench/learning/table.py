"""The figures of one task and their tables; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import figures
from learning.task import Task
from measure import quartiles, ratio
from report import NAMES, Row, markdown, text
from systems import OURS

TORCH = "torch"
FASTER = 2.0  # PyTorch's time over ours that is asked of every task
NEAR_BITS = 0.02  # by how much our bits per character may be above PyTorch's
NEAR_LOSS = 1e-3  # relative difference of the first epoch's loss that rounding explains

HEADER = ("seconds", "gru", "PyTorch", "PyTorch / gru [quartiles]", "score gru", "PyTorch", "asked")


def row_of(task: Task, threads: int, runs: dict[str, list[Row]], notes: dict[str, str]) -> Row:
    """Put the runs of all seeds together."""
    row: Row = {"case": task.name, "threads": threads, "notes": notes, "runs": runs}
    times = {name: [run["seconds"] for run in found] for name, found in runs.items()}
    scores = {name: [run["score"] for run in found] for name, found in runs.items()}
    row["seconds"] = {name: quartiles(found) for name, found in times.items()}
    row["score"] = {name: float(np.median(found)) for name, found in scores.items()}
    ours = row["score"][OURS]
    if task.least:
        row["targets"] = [target(f"accuracy at least {task.least:g}", ours >= task.least)]
    else:
        row["targets"] = []
    if TORCH in runs:
        row["ratio"] = ratio(times[TORCH], times[OURS])
        fast = row["ratio"]["median"] >= FASTER
        row["targets"].append(target(f"at least {FASTER:g} times as fast", fast))
        if not task.least:
            near = ours <= row["score"][TORCH] * (1 + NEAR_BITS)
            row["targets"].append(target(f"bits within {NEAR_BITS:.0%}", near))
        row["differs"] = difference(runs)
    return row


def target(words: str, met: bool) -> Row:
    return {"words": words, "met": bool(met)}


def difference(runs: dict[str, list[Row]]) -> float:
    """Return by how much the losses of the first epoch differ at most, relatively."""
    pairs = zip(runs[OURS], runs[TORCH], strict=True)
    return max(abs(a["first"] - b["first"]) / b["first"] for a, b in pairs)


def seconds(row: Row, name: str) -> str:
    found = row["seconds"].get(name)
    if not found:
        return figures.NONE
    spread = (found["q3"] - found["q1"]) / 2 / found["median"]
    return f"{found['median']:.2f} ±{spread:.0%}"


def score(row: Row, name: str) -> str:
    found = row["score"].get(name)
    return figures.NONE if found is None else f"{found:.3f}"


def cells(row: Row) -> Sequence[str]:
    found = row.get("ratio")
    times = f"{found['median']:.2f} [{found['q1']:.2f}, {found['q3']:.2f}]" if found else "-"
    asked = "; ".join(f"{t['words']}: {figures.verdict(t['met'])}" for t in row["targets"])
    return [
        row["case"],
        *(seconds(row, name) for name in (OURS, TORCH)),
        times,
        *(score(row, name) for name in (OURS, TORCH)),
        asked,
    ]


def details(row: Row) -> list[str]:
    """Return every seed's score, and how PyTorch trained."""
    lines = []
    for name, runs in row["runs"].items():
        scores = " ".join(f"{run['score']:.3f}" for run in runs)
        lines.append(f"{NAMES[name]}: {row['notes'][name]}; scores {scores}")
    if "differs" in row:
        lines.append(f"losses of the first epoch differ by {row['differs']:.0e}")
    return lines


def wrong(row: Row) -> str:
    """Return why the two did not train the same, or nothing."""
    if row.get("differs", 0.0) <= NEAR_LOSS:
        return ""
    return f"{row['case']}: the two do not train the same: first epoch {row['differs']:.1e} apart"


def preamble(results: Row) -> list[str]:
    """Return what was measured on, in a few lines."""
    machine, build = results["machine"], results["build"]
    versions = ", ".join(f"{NAMES.get(k, k)} {v}" for k, v in results["versions"].items())
    dirty = " with changes" if results["dirty"] else ""
    return [
        f"{results['date']}, commit {results['commit']}{dirty}, {results['seeds']} seeds in turns",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"{versions}; gru: {build['compiler']}, instruction set {build['isa_active']}",
    ]


def summary(results: Row) -> list[str]:
    """Return how many targets are met, which are not, and what was left out."""
    judged = [(row, one) for row in results["rows"] for one in row["targets"]]
    missed = [
        f"missed: {row['case']}, threads {row['threads']}: {one['words']}"
        for row, one in judged
        if not one["met"]
    ]
    met = len(judged) - len(missed)
    left = [f"{name}: {reason}" for name, reason in results["missing"].items()]
    return [f"targets: {met} met, {len(missed)} missed", *missed, *left]


def document(results: Row) -> str:
    """Return everything as Markdown."""
    lines = [f"{line}  " for line in preamble(results)]
    for threads in dict.fromkeys(row["threads"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["threads"] == threads]
        lines += ["", f"#### {threads} thread{'s' * (threads > 1)}", ""]
        lines += [*markdown(HEADER, map(cells, rows)), ""]
        lines += [f"- {row['case']}: {'; '.join(details(row))}" for row in rows]
    lines += ["", "#### Summary", "", *(f"- {line}" for line in summary(results))]
    return "\n".join(lines) + "\n"


def line(found: Sequence[str]) -> str:
    return text(found)
