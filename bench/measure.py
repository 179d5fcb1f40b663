"""Measures one case: agreement first, then rounds of bursts in a shuffled order."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import agreement
from cases import Case
from job import Job, write_arrays
from process import DeadError, Process, RefusedError
from systems import NOT_FROM_PYTHON, OURS, Crew

BURST_SECONDS = 20e-3
EACH_SECONDS = 20e-6  # calls longer than this are timed one by one
MAIN, TWIN, REFERENCE = "main", "twin", "reference"


@dataclass
class Entry:
    """One task of one worker that takes turns with the others."""

    label: str
    process: Process
    slot: str = MAIN
    calls: int = 1
    each: bool = True
    note: str = ""

    def prepare(self, job: Job) -> None:
        """Have the worker make the task."""
        self.note = self.process.ask("prepare", self.slot, job.line())

    def burst(self) -> list[float]:
        """Return seconds: of each call, or one mean. The worker sleeps again when this returns."""
        words = ("burst", self.slot, str(self.calls), str(int(self.each)))
        times = [float(word) * 1e-9 for word in self.process.ask(*words).split()]
        self.process.settle()
        return times

    def calibrate(self) -> None:
        """Choose the number of calls so that a burst lasts long enough to be timed."""
        self.calls, self.each = 3, True
        one = float(np.median(self.burst()))
        self.each = one > EACH_SECONDS
        self.calls = max(1, round(BURST_SECONDS / one))

    def drop(self) -> None:
        self.process.ask("drop", self.slot)


Bursts = dict[str, list[list[float]]]  # label -> rounds -> seconds of calls


def interleave(
    entries: Sequence[Entry], rounds: int, rng: random.Random
) -> tuple[Bursts, dict[str, str]]:
    """Let the entries take turns, in a new order each round; a dead one is left out from then on.

    Returns the bursts of those who lived, and why the others did not.
    """
    bursts: Bursts = {entry.label: [] for entry in entries}
    dead: dict[str, str] = {}
    for _ in range(rounds):
        for entry in rng.sample(entries, len(entries)):
            if entry.label in dead:
                continue
            try:
                bursts[entry.label].append(entry.burst())
            except (DeadError, RefusedError) as reason:
                dead[entry.label] = str(reason)
                del bursts[entry.label]
    return bursts, dead


def quartiles(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "q1": float(low), "q3": float(high)}


def ratio(above: Sequence[float], below: Sequence[float], scale: float = 1) -> dict[str, float]:
    """Return quartiles of the ratio round by round."""
    return quartiles([scale * a / b for a, b in zip(above, below, strict=True)])


class Measurement:
    """One case on one crew."""

    def __init__(self, case: Case, crew: Crew, folder: Path, rounds: int, seed: int) -> None:
        self.case = case
        self.crew = crew
        self.folder = folder / "case"
        self.rounds = rounds
        self.rng = random.Random(f"{seed} {case.name}")
        self.job = replace(case.job, threads=crew.threads, path=str(self.folder))
        self.systems: dict[str, dict[str, Any]] = {}  # label -> what is reported
        self.entries: list[Entry] = []

    def run(self) -> dict[str, Any]:
        """Return the row."""
        self.crew.start()
        write_arrays(self.job)
        try:
            self._prepare()
            self._check()
            self._add_twin()
            self._time()
            self._drop()
        finally:
            shutil.rmtree(self.folder)
        return self._row()

    def _lose(self, entry: Entry, status: str, reason: str) -> None:
        self.systems[entry.label] = {"status": status, "reason": reason}
        if entry in self.entries:
            self.entries.remove(entry)
        if status == "died" and entry.process in self.crew.live.values():
            self.crew.bury(entry.process.launch.name)

    def _attempt(self, entry: Entry, action: Any) -> Any:
        """Do something that needs the worker; an entry that cannot leaves the case."""
        try:
            return action()
        except RefusedError as refusal:
            self._lose(entry, refusal.status, str(refusal))
        except DeadError as reason:
            self._lose(entry, "died", str(reason))
        return None

    def _prepare(self) -> None:
        for name in self.crew.names:
            if name in self.crew.absent:
                self.systems[name] = {"status": "absent", "reason": self.crew.absent[name]}
                continue
            entry = Entry(name, self.crew.live[name])
            self.entries.append(entry)
            self._attempt(entry, partial(entry.prepare, self.job))

    def _check(self) -> None:
        """Compare every system's outputs with ours in float64."""
        ours = self.crew.live.get(OURS)
        if not ours:
            return
        wanted = str(self.folder / REFERENCE)
        reference = Entry(OURS, ours, REFERENCE)
        if not self._attempt(reference, partial(self._outputs, reference, wanted)):
            return
        for entry in list(self.entries):
            got = str(self.folder / entry.label)
            names = self._attempt(entry, partial(entry.process.ask, "check", entry.slot, got))
            if names:
                errors = agreement.compare(self.job, names.split(), got, wanted)
                self._note_errors(entry, errors)

    def _outputs(self, reference: Entry, prefix: str) -> str:
        """Have our worker write the outputs in float64."""
        reference.prepare(replace(self.job, dtype="float64"))
        names = reference.process.ask("check", REFERENCE, prefix)
        reference.drop()
        return names

    def _note_errors(self, entry: Entry, errors: dict[str, float]) -> None:
        system: dict[str, Any] = {"status": "ok", "note": entry.note, "errors": errors}
        problem = agreement.complaint(self.job, errors)
        if problem:
            system |= {"status": "disagrees", "reason": problem}
        self.systems[entry.label] = system

    def _add_twin(self) -> None:
        if not self.case.twin or OURS not in self.crew.live:
            return
        job = replace(self.case.twin, threads=self.crew.threads, path=str(self.folder / "twin"))
        write_arrays(job)
        entry = Entry(TWIN, self.crew.live[OURS], TWIN)
        self.entries.append(entry)
        self._attempt(entry, partial(entry.prepare, job))

    def _time(self) -> None:
        for entry in list(self.entries):
            self._attempt(entry, entry.calibrate)
        bursts, dead = interleave(self.entries, self.rounds, self.rng)
        for entry in list(self.entries):
            if entry.label in dead:
                self._lose(entry, "died", dead[entry.label])
                continue
            medians = [float(np.median(times)) for times in bursts[entry.label]]
            system = self.systems.setdefault(entry.label, {"status": "ok", "note": entry.note})
            system |= {"seconds": quartiles(medians), "rounds": medians, "calls": entry.calls}

    def _drop(self) -> None:
        for entry in list(self.entries):
            self._attempt(entry, entry.drop)

    def _row(self) -> dict[str, Any]:
        """Put ratios together."""
        ours = self.systems.get(OURS, {})
        row: dict[str, Any] = {
            "case": self.case.name,
            "group": self.case.group,
            "threads": self.crew.threads,
            "systems": self.systems,
            "ratios": {},
            "best": None,
            "ratio": None,
        }
        twin = self.systems.pop(TWIN, {})
        if ours.get("status") != "ok" or "rounds" not in ours:
            return row  # a wrong answer has no speed
        for name, system in self.systems.items():
            if name != OURS and system["status"] == "ok" and "rounds" in system:
                row["ratios"][name] = ratio(system["rounds"], ours["rounds"])
        left_out = NOT_FROM_PYTHON if self.job.mode == "step" else ()
        rivals = [name for name in row["ratios"] if name not in left_out]
        if rivals:
            row["best"] = min(rivals, key=lambda n: self.systems[n]["seconds"]["median"])
            row["ratio"] = row["ratios"][row["best"]]
        if self.case.twin and "rounds" in twin:
            # For each valid step: a ragged batch has fewer of them than its twin.
            valid = self.case.twin.lengths().sum() / self.job.lengths().sum()
            row["twin"] = {
                "name": self.case.twin_name,
                "seconds": twin["seconds"],
                **ratio(ours["rounds"], twin["rounds"], float(valid)),
            }
        return row


def ours_is_off(row: dict[str, Any]) -> bool:
    """Return whether we failed, or disagree: with our own float64, or alone against all peers."""
    if row["systems"][OURS]["status"] != "ok":
        return True
    peers = [s for name, s in row["systems"].items() if name != OURS and "errors" in s]
    return len(peers) > 1 and all(peer["status"] == "disagrees" for peer in peers)
