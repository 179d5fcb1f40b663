#!/usr/bin/env python3
"""Train the same small networks with gru and with PyTorch, in turns: how good, and how long.

Writes a table and a JSON file. README.md beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import gru
import machine
from job import Array
from learning import table, text
from learning.data import LABELLED, LANGUAGE, MissingError, labelled, start, written
from learning.task import Task, write, write_start
from process import DeadError, Launch, RefusedError
from report import NAMES
from systems import BENCH, BUILD, OURS, Crew

WORKERS = {OURS: "learning.ours", table.TORCH: "learning.pytorch"}
TIMEOUT_SECONDS = 1800.0  # of one training
NAMES_OF_TASKS = [*(task.name for task in LABELLED), LANGUAGE.name]


class Trainers(Crew):
    """The workers that train, for one number of threads."""

    def launch(self, name: str) -> Launch:
        found = super().launch(name)
        command = (sys.executable, "-m", WORKERS[name])
        return replace(found, command=command, timeout=TIMEOUT_SECONDS)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES_OF_TASKS, default=NAMES_OF_TASKS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="default: 1")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--language-seeds", type=int, default=3, help="of the language model")
    parser.add_argument("--data", type=Path, metavar="FILE.npz", help="the UCR/UEA sets")
    parser.add_argument(
        "--cache", type=Path, default=BUILD / "bench-text", metavar="DIR", help="of the text"
    )
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR")
    options = parser.parse_args()
    if min(options.seeds, options.language_seeds) < 1:
        parser.error("--seeds and --language-seeds must be at least 1")
    cores = len(os.sched_getaffinity(0))
    options.threads = [n for n in options.threads if 1 <= n <= cores]
    return options


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


class Run:
    """One run of the command: what was asked, and what is known so far."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.results: dict[str, Any] = {
            **machine.describe(),
            "build": gru.build_info(),
            "seeds": options.seeds,
            "rows": [],
            "missing": {},
        }
        self.tasks: list[tuple[Task, dict[str, Array]]] = []

    def read(self) -> None:
        """Read the data of all tasks; say what is not there."""
        for task in (*LABELLED, LANGUAGE):
            if task.name not in self.options.only:
                continue
            try:
                made = self.language(task) if task.window else labelled(task, self.options.data)
                self.tasks.append(made)
            except MissingError as reason:
                self.results["missing"][task.name] = str(reason)
                say(f"{task.name}: {reason}")

    def language(self, task: Task) -> tuple[Task, dict[str, Array]]:
        found, problem = text.load(self.options.cache)
        if found is None:
            raise MissingError(f"not measured: no text: {problem}")
        self.results["text"] = text.describe(found)
        return written(task, found)

    def measure(self) -> None:
        """Train every task on every number of threads."""
        for threads in self.options.threads:
            with Trainers(list(WORKERS), threads, self.folder) as crew:
                self.introduce(crew, threads)
                for task, arrays in self.tasks:
                    self.task(task, arrays, crew)

    def introduce(self, crew: Crew, threads: int) -> None:
        self.results["versions"] |= crew.versions
        if not self.results["rows"]:
            say("", *table.preamble(self.results))
        say(*(f"{NAMES[name]} is absent: {reason}" for name, reason in crew.absent.items()))
        if OURS not in crew.live:
            raise SystemExit(f"gru itself does not start: {crew.absent[OURS]}")
        say("", f"{threads} thread{'s' * (threads > 1)}", table.line(table.HEADER))

    def task(self, task: Task, arrays: dict[str, Array], crew: Crew) -> None:
        """Train with one seed after the other, the systems in turns; who is first changes."""
        write(task, arrays, self.folder / "task")
        words = ("prepare", str(self.folder / "task"), str(crew.threads))
        notes = {name: process.ask(*words) for name, process in crew.live.items()}
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in crew.live}
        seeds = self.options.language_seeds if task.window else self.options.seeds
        for seed in range(seeds):
            path = self.folder / "start.npz"
            write_start(start(task, arrays, seed), path)
            names = list(crew.live)
            for name in names if seed % 2 == 0 else reversed(names):
                crew.live[name].settle()
                runs[name].append(json.loads(crew.live[name].ask("fit", str(path))))
        row = table.row_of(task, crew.threads, runs, notes)
        self.results["rows"].append(row)
        say(table.line(table.cells(row)), *(f"  {line}" for line in table.details(row)))
        if table.wrong(row):
            say(f"  !!! {table.wrong(row)}")

    def file_stem(self) -> str:
        """Return a name that no earlier run has."""
        results, options = self.results, self.options
        words = [results["date"], results["commit"], *["dirty"] * results["dirty"], "training"]
        words += ["part"] * (len(self.tasks) < len(NAMES_OF_TASKS))
        stem = "-".join(words)
        names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        return next(name for name in names if not (options.out / f"{name}.json").exists())

    def write(self) -> None:
        """Print the summary; write JSON and Markdown."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        path = self.options.out / f"{self.file_stem()}.json"
        path.write_text(json.dumps(self.results, indent=1, ensure_ascii=False) + "\n")
        path.with_suffix(".md").write_text(table.document(self.results))
        say("", *table.summary(self.results), "", f"written: {path} and .md")


def main() -> int:
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="gru-training-") as folder:
        run = Run(options, Path(folder))
        busy = run.results["machine"]["busy_before"]
        if busy > machine.BUSY:
            say(f"WARNING: others keep {busy:.0%} of the cores busy: these figures will mislead")
        run.read()
        stopped = ""
        try:
            run.measure()
        except (DeadError, RefusedError) as reason:
            stopped = str(reason)
            run.results["missing"]["the rest"] = f"stopped: {stopped}"
        run.write()
        wrong = any(table.wrong(row) for row in run.results["rows"])
        return 1 if wrong or stopped else 0


if __name__ == "__main__":
    sys.exit(main())
