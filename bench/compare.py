#!/usr/bin/env python3
"""Compare gru with every peer that is present: agreement first, then speed, in turns.

Writes a table, a JSON file and a plot. README.md beside this file says how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import gru
import limits
import machine
import measure
import memory
import report
import startup
import threads
from cases import Case, all_cases
from systems import BENCH, ONEDNN, OURS, PEERS, Crew, cmake_build
from targets import evaluate

ROUNDS, QUICK_ROUNDS = 15, 5
QUICK_SECONDS = 100  # after which a quick run starts no further case
SECTIONS = ("scaling", "busy", "start")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few cases and rounds: 2 minutes")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 2, where there are two")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--only", metavar="REGEX", default="", help="cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}; {QUICK_ROUNDS} if quick")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which systems work")
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR")
    parser.add_argument("--all", action="store_true", help="the grid and the sections below")
    parser.add_argument("--scaling", action="store_true", help="only our two threads against one")
    parser.add_argument("--busy", action="store_true", help="only that, with one core kept busy")
    parser.add_argument("--start", action="store_true", help="only how long processes take")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    cores = len(os.sched_getaffinity(0))
    options.threads = [n for n in options.threads or (1, 2) if n <= cores]
    options.sections = [name for name in SECTIONS if options.all or getattr(options, name)]
    options.grid = options.all or not options.sections
    return options


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


class Run:
    """One run of the command: what was asked, and what is known so far."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.systems = [OURS, *options.peers]
        self.began = time.monotonic()  # once all is built
        self.unbuilt = ""  # why oneDNN's worker could not be built
        self.machine_limits: limits.Limits | None = None
        self.results: dict[str, Any] = {
            **machine.describe(),
            "build": gru.build_info(),
            "rounds": options.rounds,
            "systems": self.systems,
            "grid": [],
        }

    def chosen(self, name: str) -> bool:
        return bool(re.search(self.options.only, name))

    def build(self) -> None:
        """Build the C++ programs, and measure the machine's limits with one of them."""
        busy = self.results["machine"]["busy_before"]
        if busy > machine.BUSY:
            say(f"WARNING: others keep {busy:.0%} of the cores busy: these figures will mislead")
        if self.options.grid and "onednn" in self.systems:
            say("building the oneDNN program")
            self.unbuilt = cmake_build(BENCH / "onednn", ONEDNN.parent, "onednn_worker")
        found, problem = limits.measure() if self.options.grid else ({}, "not asked for")
        self.results |= {"limits": found, "no_limits": problem}
        self.machine_limits = limits.parse(found) if found else None

    def crew(self, number: int) -> Crew:
        crew = Crew(self.systems, number, self.folder)
        if self.unbuilt:
            crew.absent["onednn"] = self.unbuilt
        return crew

    def grid(self) -> None:
        """Measure every case, for every number of threads."""
        cases = [case for case in all_cases() if self.chosen(case.name)]
        if self.options.quick:
            cases = [case for case in cases if case.quick]
        for number in self.options.threads:
            with self.crew(number) as crew:
                self.introduce(crew)
                group = ""
                for case in cases:
                    if self.out_of_time():
                        say(f"out of time: {case.name} left out")
                        continue
                    if case.group != group:
                        group = case.group
                        say("", f"{group}, {number} thread{'s' * (number > 1)}")
                        say(report.text(report.grid_header(self.systems)))
                    self.case(case, crew)

    def out_of_time(self) -> bool:
        return self.options.quick and time.monotonic() - self.began > QUICK_SECONDS

    def introduce(self, crew: Crew) -> None:
        self.results["versions"] |= crew.versions
        if not self.results["grid"]:
            say("", *report.preamble(self.results))
        say(*(f"absent: {name}: {reason}" for name, reason in crew.absent.items()))
        if OURS not in crew.live:
            raise SystemExit(f"gru itself does not start: {crew.absent[OURS]}")

    def case(self, case: Case, crew: Crew) -> None:
        options = self.options
        row = measure.Measurement(case, crew, self.folder, options.rounds, options.seed).run()
        self.judge(row, case, crew.threads)
        self.results["grid"].append(row)
        say(report.text(report.grid_cells(row, self.systems)))
        for name, system in row["systems"].items():
            if system["status"] in ("disagrees", "died", "failed"):
                say(f"  !!! {name} {system['status']}: {system['reason']}")
        if case.job.mode == "train" and crew.threads == options.threads[0]:
            row["memory"] = memory.measure(case.job, crew, self.folder)

    def judge(self, row: dict[str, Any], case: Case, number: int) -> None:
        """Add the rate, the nearness to the limit and the targets."""
        row["job"] = asdict(case.job)
        ours = row["systems"][OURS]
        seconds = ours.get("seconds") if ours["status"] == "ok" else None
        if seconds:
            row["gflops"] = limits.flops(case.job) / seconds["median"] * 1e-9
        if seconds and self.machine_limits:
            least = limits.limit_seconds(case.job, self.machine_limits, number)
            row |= {"limit_seconds": least, "of_limit": least / seconds["median"]}
            inside = limits.step_seconds(case.job, self.machine_limits)
            if inside is not None and case.job.via == "stream" and case.job.mode == "step":
                row["call_seconds"] = seconds["median"] - inside
        asked = [t for t in case.targets if number == 1 or not t.one_thread]
        row["targets"] = [evaluate(target, row) for target in asked]

    def section(self, name: str) -> None:
        """Measure one of the sections beside the grid."""
        rows = self.results.setdefault(name, [])
        title, header, cells, _ = next(s for s in report.sections(self.results) if s[3] is rows)

        def show(row: dict[str, Any]) -> None:
            rows.append(row)
            say(report.text(cells(row)))

        say("", title, report.text(header))
        options = self.options
        if name == "start":
            startup.start(self.folder, options.rounds, options.seed, show)
            return
        if len(os.sched_getaffinity(0)) < threads.THREADS:
            say("this machine has one core")
            return
        measured = {"scaling": threads.scaling, "busy": threads.busy}[name]
        measured(self.folder, options.rounds, options.seed, self.chosen, show)

    def everything(self) -> None:
        self.build()
        self.began = time.monotonic()
        if self.options.grid:
            self.grid()
        for name in self.options.sections:
            self.section(name)

    def file_stem(self) -> str:
        """Return a name that no earlier run has; what is not a whole run says so."""
        results, options = self.results, self.options
        words = [results["date"], results["commit"]]
        words += ["dirty"] * results["dirty"] + ["quick"] * options.quick
        words += [] if options.grid else options.sections
        words += ["part"] * bool(options.only or set(options.peers) != set(PEERS))
        stem = "-".join(words)
        taken = {path.stem for path in options.out.glob(f"{stem}*.json")}
        names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        return next(name for name in names if name not in taken)

    def write(self) -> None:
        """Print the summary; write JSON, Markdown and the plot."""
        results, options = self.results, self.options
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"{self.file_stem()}.json"
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        path.with_suffix(".md").write_text(report.document(results))
        rows = [row for row in results["grid"] if row.get("memory")]
        if rows:
            say("", report.text(report.MEMORY_HEADER))
            say(*(report.text(report.memory_cells(row)) for row in rows))
        say("", *report.summary(results), "", f"written: {path} and .md")
        if results["grid"]:
            self.draw(path.with_suffix(".png"))

    def draw(self, path: Path) -> None:
        try:
            import plot
        except ImportError as reason:
            say(f"no plot: {reason}")
            return
        say(f"written: {plot.draw(self.results, path)}")


def main() -> int:
    options = parse_arguments()
    if options.list:
        say(*(f"{'quick ' if case.quick else '      '}{case.name}" for case in all_cases()))
        return 0
    with tempfile.TemporaryDirectory(prefix="gru-bench-") as folder:
        run = Run(options, Path(folder))
        try:
            run.everything()
        except KeyboardInterrupt:
            say("", "stopped; what is known so far:")
        finally:
            run.write()
    grid = run.results["grid"]
    if options.grid and not grid:
        say("no case was measured")
        return 1
    return int(any(measure.ours_is_off(row) for row in grid))


if __name__ == "__main__":
    sys.exit(main())
