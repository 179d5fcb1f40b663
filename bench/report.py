"""The tables, as text while it runs and as Markdown afterwards; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import figures
from systems import OURS

Row = dict[str, Any]
Cells = Sequence[str]

NAMES = {
    OURS: "gru",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "jax": "JAX",
    "onednn": "oneDNN (C++)",
}
FIRST, OTHER = 44, 14  # characters of a line's first cell and of the others


def text(cells: Cells) -> str:
    """Return a line for the terminal; the last cell may have any length."""
    first, *middle, last = cells
    return " ".join([f"{first:<{FIRST}}", *(f"{c:>{OTHER}}" for c in middle), f" {last}"]).rstrip()


def markdown(header: Cells, rows: Iterable[Cells]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return [*lines, *("| " + " | ".join(cells) + " |" for cells in rows)]


# --- each section: the header and the cells of a row ---------------------------------------------


def grid_header(systems: Sequence[str]) -> Cells:
    names = [NAMES.get(name, name) for name in systems]
    return ["µs", *names, "GFLOP/s", "of limit", "best peer / gru [quartiles]; targets"]


def grid_cells(row: Row, systems: Sequence[str]) -> Cells:
    rate, share = row.get("gflops"), row.get("of_limit")
    return [
        row["case"],
        *(figures.system_time(row, name) for name in systems),
        f"{rate:.1f}" if rate else figures.NONE,
        f"{share:.0%}" if share else figures.NONE,
        figures.remarks(row),
    ]


MEMORY_HEADER = ("peak KiB, one forward and backward", "gru", "saved", "a unit", "PyTorch")


def memory_cells(row: Row) -> Cells:
    memory = row["memory"]
    ours, torch = memory.get(OURS, {}), memory.get("torch", {})
    return [
        row["case"],
        figures.kib(ours["peak_bytes"]) if ours else figures.NONE,
        figures.kib(ours["saved_bytes"]) if "saved_bytes" in ours else figures.NONE,
        f"{ours['saved_per_unit']:.2f}" if "saved_per_unit" in ours else figures.NONE,
        figures.kib(torch["peak_bytes"]) if torch else figures.NONE,
    ]


SCALING_HEADER = ("µs", "1 thread", "2 threads", "1 / 2", "target")


def scaling_cells(row: Row) -> Cells:
    return [
        row["case"],
        figures.timing(row["one"]),
        figures.timing(row["two"]),
        f"{row['ratio']['median']:.2f}",
        against_bound(row),
    ]


BUSY_HEADER = (
    "µs, one of two cores taken",
    "1 thread",
    "mean",
    "99 %",
    "2 threads",
    "mean",
    "99 %",
    "1 / 2 of means; target",
)


def busy_cells(row: Row) -> Cells:
    times = [row[n][key] for n in ("one", "two") for key in ("median", "mean", "p99")]
    return [
        row["case"],
        *map(figures.microseconds, times),
        f"{row['ratio_of_means']:.2f}; {against_bound(row)}",
    ]


START_HEADER = ("seconds, a whole process", "median", "quartiles", "target")


def start_cells(row: Row) -> Cells:
    seconds = row["seconds"]
    quartiles = f"{seconds['q1']:.3f} {seconds['q3']:.3f}"
    return [row["case"], f"{seconds['median']:.3f}", quartiles, against_bound(row)]


def against_bound(row: Row) -> str:
    target = row.get("target")
    return f"{target['bound']:g} {figures.verdict(target['met'])}" if target else ""


# --- all of them ---------------------------------------------------------------------------------


def preamble(results: Row) -> list[str]:
    """Return what was measured on, in a few lines."""
    machine, build = results["machine"], results["build"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    versions = ", ".join(
        f"{NAMES.get(key, key)} {value}" for key, value in results["versions"].items()
    )
    dirty = " with changes" if results["dirty"] else ""
    lines = [
        f"{results['date']}, commit {results['commit']}{dirty}, {results['rounds']} rounds",
        f"{machine['cpu']}, {machine['cores']} cores, {caches}, {machine['system']}",
        f"{versions}",
        f"gru: {build['compiler']}, Eigen {build['eigen']}, instruction set {build['isa_active']}",
    ]
    return [*lines, limits_line(results)]


def limits_line(results: Row) -> str:
    report = results.get("limits")
    if not report:
        return f"limits of this machine: not measured ({results.get('no_limits', '')})"
    fma = ", ".join(f"{dtype} {rate:.0f}" for dtype, rate in report["fma_gflops"].items())
    reads = ", ".join(
        f"{at['bytes'] / 1024:,.0f} KiB {at['gbs']:.0f}" for at in report["bandwidth_gbs"]
    )
    return f"limits of one core: FMA {fma} GFLOP/s; reading {reads} GB/s"


def summary(results: Row) -> list[str]:
    """Return how many targets are met, which are not, and who disagreed or was absent."""
    grid = results["grid"]
    asked = [(row, t) for row in grid for t in row.get("targets", [])]
    judged = [(row, target) for row, target in asked if target["met"] is not None]
    open_ = len(asked) - len(judged)  # a peer is missing, or the machine's limits are
    missed = [
        f"{row['case']}, {row['threads']} thread{'s' * (row['threads'] > 1)}: "
        + figures.judgement(target, row.get("twin", {}).get("name", ""))
        for row, target in judged
        if not target["met"]
    ]
    for section in ("scaling", "busy", "start"):
        rows = [row for row in results.get(section, []) if "target" in row]
        judged += [(row, row["target"]) for row in rows]
        missed += [
            f"{section}: {row['case']}: {against_bound(row)}"
            for row in rows
            if not row["target"]["met"]
        ]
    lines = [
        f"targets: {len(judged) - len(missed)} met, {len(missed)} missed, {open_} not measured"
    ]
    return [*lines, *(f"missed: {line}" for line in missed), *troubles(grid)]


def troubles(grid: Sequence[Row]) -> list[str]:
    """Return each reason once, with the number of rows."""
    counts: dict[str, int] = {}
    for row in grid:
        for name, system in row["systems"].items():
            if system["status"] != "ok":
                line = f"{name} {system['status']}: {system['reason']}"
                counts[line] = counts.get(line, 0) + 1
    return [f"{line} ({count} row{'s' * (count > 1)})" for line, count in counts.items()]


def document(results: Row) -> str:
    """Return everything as Markdown."""
    lines = [*(f"{line}  " for line in preamble(results))]
    grid, systems = results["grid"], results["systems"]
    for threads in dict.fromkeys(row["threads"] for row in grid):
        for group in dict.fromkeys(row["group"] for row in grid):
            rows = [r for r in grid if r["threads"] == threads and r["group"] == group]
            if rows:
                lines += ["", f"#### {group}, {threads} thread{'s' * (threads > 1)}", ""]
                lines += markdown(grid_header(systems), (grid_cells(r, systems) for r in rows))
    for name, header, cells, rows in sections(results):
        if rows:
            lines += ["", f"#### {name}", "", *markdown(header, map(cells, rows))]
    lines += ["", "#### Summary", "", *(f"- {line}" for line in summary(results))]
    return "\n".join(lines) + "\n"


def sections(results: Row) -> list[Any]:
    """Return title, header, cells and rows of what stands beside the grid."""
    memory = [row for row in results["grid"] if row.get("memory")]
    return [
        ("Memory", MEMORY_HEADER, memory_cells, memory),
        ("Two threads", SCALING_HEADER, scaling_cells, results.get("scaling", [])),
        ("A busy core", BUSY_HEADER, busy_cells, results.get("busy", [])),
        ("Start", START_HEADER, start_cells, results.get("start", [])),
    ]
