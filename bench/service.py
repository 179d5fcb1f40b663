#!/usr/bin/env python3
"""Load the service on loopback, with gru, PyTorch and ONNX Runtime behind the same routes.

Writes a table and a JSON file. README.md beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import gru
import machine
from measure import quartiles
from process import DeadError, Launch, Process, RefusedError
from report import NAMES, markdown
from systems import BENCH, OURS

ONNX = "onnxruntime"
ENGINES = (OURS, "torch", ONNX)
BARE = "bare"  # a server with nothing behind it, for what is the machine's doing
TITLES = {**NAMES, BARE: "bare server"}
INPUTS, OUTPUTS, STEPS = 32, 8, 50
SIZES = (64, 256, 512)
SEQUENCES, SAME = 8, 2e-5  # inputs that take turns; how far answers may be apart
TRIAL = 300  # requests that warm up and tell how many make a burst
ENGINE_SHARE, TAIL = 0.6, 5.0  # asked: of ONNX Runtime's engine time; p99 / p50 at half load


@dataclass(frozen=True)
class Case:
    """A model, and how it is asked."""

    kind: str  # predict or stream
    hidden: int

    @property
    def name(self) -> str:
        return f"{self.kind} H{self.hidden}" + (f" T{STEPS}" if self.kind == "predict" else " T1")


CASES = [Case(kind, hidden) for kind in ("predict", "stream") for hidden in SIZES]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.15, help="of a burst, about")
    parser.add_argument("--tails", type=int, default=8, help="bursts at half load")
    parser.add_argument("--tail-seconds", type=float, default=1.5, help="of one, about")
    parser.add_argument("--most", type=int, default=20_000, help="requests of a burst at most")
    parser.add_argument("--connections", type=int, default=16, help="that ask for predictions")
    parser.add_argument("--sessions", type=int, default=64, help="that stream")
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="far too few requests: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.most = 2, 0.1, 300
        options.tails, options.tail_seconds = 2, 0.1
        options.only = [case.name for case in CASES if case.hidden == SIZES[0]]
    return options


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


# --- processes -----------------------------------------------------------------------------------


def cores() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the cores of the services and that of the one who asks: the last one."""
    found = sorted(os.sched_getaffinity(0))
    return tuple(found[:-1] or found), tuple(found[-1:])


def start(folder: Path, name: str, *command: str, cores: tuple[int, ...]) -> tuple[Process, str]:
    """Start a worker on one thread; returns it and what it says when it is ready."""
    environment = {"PYTHONPATH": os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])}
    environment |= {f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL", "GRU")}
    words = (sys.executable, "-m", *command)
    process = Process(Launch(name, words, environment, cores, folder / f"{name}.log"))
    return process, process.await_ready()


class Service:
    """The app with one engine, in its own process."""

    def __init__(self, name: str, folder: Path) -> None:
        model = str(folder / "model.safetensors")
        self.name = name
        module = "workers.bare" if name == BARE else "workers.service"
        self.process, said = start(folder, name, module, name, model, cores=cores()[0])
        self.version, port = said.split()
        self.port = int(port)

    def figures(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self.process.ask("figures"))
        return found


class Loader:
    """The one who asks, in its own process."""

    def __init__(self, case: Case, options: argparse.Namespace, folder: Path) -> None:
        self.case = case
        self.bodies = str(folder / "inputs.npy")
        streams = case.kind == "stream"
        self.connections = options.sessions if streams else options.connections
        self.process, _ = start(folder, "load", "workers.load", cores=cores()[1])

    def burst(self, service: Service, count: int, rate: float = 0, seed: int = 0) -> dict[str, Any]:
        """Return seconds and latencies, and what the service did meanwhile."""
        load = {
            "port": service.port,
            "kind": self.case.kind,
            "bodies": self.bodies,
            "connections": self.connections,
            "count": count,
            "rate": rate,
            "seed": seed,
        }
        before = service.figures()
        found: dict[str, Any] = json.loads(self.process.ask("run", json.dumps(load)))
        after = service.figures()
        done = {key: after[key] - before[key] for key in ("calls", "rows", "engine", "cpu")}
        service.process.settle()
        return {**found, **done, "count": count}


# --- one case ------------------------------------------------------------------------------------


def make(case: Case, folder: Path) -> gru.Sequential:
    """Write the model and the inputs; biases are not zero."""
    rng = np.random.default_rng(case.hidden)
    layers = [gru.GRU(INPUTS, case.hidden, seed=0), gru.Last(), gru.Linear(case.hidden, OUTPUTS)]
    model = gru.Sequential(layers)
    for array in model.parameters.values():
        array[...] = rng.uniform(-1, 1, array.shape) * case.hidden**-0.5
    model.save(folder / "model.safetensors")
    shape = (SEQUENCES, STEPS, INPUTS) if case.kind == "predict" else (SEQUENCES, INPUTS)
    np.save(folder / "inputs.npy", rng.standard_normal(shape).astype(np.float32))
    return model


def answers(case: Case, service: Service, x: np.ndarray) -> np.ndarray:
    """Ask for all inputs, one after the other."""
    if case.kind == "stream":
        from websockets.sync.client import connect

        found = []
        with connect(f"ws://127.0.0.1:{service.port}/stream", compression=None) as client:
            for step in x:
                client.send(step.tobytes())
                found.append(np.frombuffer(client.recv(60), np.float32))
        return np.array(found)
    from urllib.request import Request, urlopen

    from gru.service.wire import NPY, as_npy, parse_npy

    interface = gru.service.Interface("float32", INPUTS, False, OUTPUTS, False)
    url = f"http://127.0.0.1:{service.port}/predict"
    with urlopen(Request(url, as_npy(x), {"content-type": NPY}), timeout=60) as answer:
        return parse_npy(answer.read(), interface)


def disagreement(case: Case, service: Service, model: gru.Sequential, x: np.ndarray) -> float:
    """Return how far a service's answers are from the model's own."""
    if case.kind == "predict":
        wanted = model(x)
    else:
        stream = model.stream()
        wanted = np.concatenate([stream.step(step[None]) for step in x])
    return float(np.abs(answers(case, service, x) - wanted).max())


def measure(case: Case, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return a row: all engines in turns at full load, then each at half of what it has reached.

    Just now reached, as half of what the machine could do minutes ago may be all it can do now.
    """
    model = make(case, folder)
    x = np.load(folder / "inputs.npy")
    rng = random.Random(case.name)
    names = (*ENGINES, BARE) if case.kind == "stream" else ENGINES
    services = {name: Service(name, folder) for name in names}
    loader = Loader(case, options, folder)
    row: dict[str, Any] = {"case": case.name, "engines": {}, "connections": loader.connections}
    try:
        full: dict[str, list[dict[str, Any]]] = {name: [] for name in services}
        half: dict[str, list[dict[str, Any]]] = {name: [] for name in services}
        off = {name: disagreement(case, services[name], model, x) for name in ENGINES}
        counts = {}
        for name, service in services.items():
            trial = loader.burst(service, TRIAL)
            counts[name] = min(options.most, int(TRIAL * options.seconds / trial["seconds"]) + 1)
        for _ in range(options.rounds):
            for name in rng.sample(names, len(names)):
                full[name].append(loader.burst(services[name], counts[name]))
        for turn in range(options.tails):
            for name in rng.sample(names, len(names)):
                wanted = rate(loader.burst(services[name], counts[name])) / 2
                number = min(options.most, int(wanted * options.tail_seconds) + 1)
                half[name].append(loader.burst(services[name], number, wanted, turn))
        for name, service in services.items():
            row["engines"][name] = {
                "version": service.version,
                "difference": off.get(name),
                **summary(full[name], half[name]),
            }
    finally:
        for process in (loader.process, *(service.process for service in services.values())):
            process.close()
    return judged(row)


def rate(burst: dict[str, Any]) -> float:
    return burst["count"] / burst["seconds"]


def percentiles(bursts: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return microseconds over all requests of all rounds."""
    all_of_them = np.concatenate([burst["latencies"] for burst in bursts])
    values = np.percentile(all_of_them, [50, 99, 99.9, 100])
    names = ("p50", "p99", "p99.9", "max")
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def summary(full: list[dict[str, Any]], half: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is reported of one engine."""
    return {
        "rates": [round(rate(b), 1) for b in full],
        "engines": [round(1e6 * b["engine"] / b["rows"], 3) for b in full],
        "rate": quartiles([rate(b) for b in full]),
        "engine": quartiles([1e6 * b["engine"] / b["rows"] for b in full]),
        "rest": quartiles([1e6 * (b["cpu"] - b["engine"]) / b["rows"] for b in full]),
        "batch": float(np.mean([b["rows"] / b["calls"] for b in full])),
        "full": percentiles(full),
        "half": percentiles(half),
        "tails": [burst["p99"] / burst["p50"] for burst in (percentiles([b]) for b in half)],
        "half_busy": float(np.mean([b["cpu"] / b["seconds"] for b in half])),
        "requests": sum(b["count"] for b in (*full, *half)),
    }


def paired(ones: list[float], others: list[float]) -> tuple[float, float]:
    """Return the median of ratios, each of one round, and about how far off it is by chance.

    Of one round, as the machine changes from round to round. The second is the standard error of
    a median: 1.25 standard deviations of one ratio over the root of their number, the deviation
    taken from the quartiles. Another run may differ by more.
    """
    ratios = np.divide(ones, others)
    q1, median, q3 = np.percentile(ratios, [25, 50, 75])
    return float(median), float(1.25 * (q3 - q1) / 1.35 / np.sqrt(len(ratios)))


def verdict(value: float, error: float, most: float) -> str:
    """Return met or MISSED, and whether chance may have decided."""
    found = "met" if value <= most else "MISSED"
    return f"{found}, within chance" if abs(value - most) < 2 * error else found


def judged(row: dict[str, Any]) -> dict[str, Any]:
    """Add what was asked, and whether it is so."""
    engines = row["engines"]
    ours, onnx = engines[OURS], engines[ONNX]
    peers = [paired(engines[name]["rates"], ours["rates"]) for name in ENGINES if name != OURS]
    best = max(peers, key=lambda peer: peer[0])
    values = {
        "engine / ONNX Runtime's": (*paired(ours["engines"], onnx["engines"]), ENGINE_SHARE),
        "best peer's requests/s / ours": (*best, 1.0),
        "p99 / p50 at half load": (ours["half"]["p99"] / ours["half"]["p50"], 0.0, TAIL),
    }
    row["asked"] = {
        name: {"value": value, "error": error, "most": most, "verdict": verdict(value, error, most)}
        for name, (value, error, most) in values.items()
    }
    row["disagree"] = [name for name in ENGINES if not engines[name]["difference"] <= SAME]
    return row


# --- the tables ----------------------------------------------------------------------------------

HEADER = (
    "µs of a request",
    "requests/s",
    "engine",
    "all else",
    "batch",
    "p50",
    "p99",
    "p99.9",
    "half load: busy",
    "p50",
    "p99",
    "p99.9",
    "p99 / p50",
    "of one burst",
)


def cells(name: str, row: dict[str, Any]) -> list[str]:
    found = row["engines"][name]
    spread = (found["rate"]["q3"] - found["rate"]["q1"]) / 2 / found["rate"]["median"]
    return [
        f"{row['case']}, {TITLES[name]}",
        f"{found['rate']['median']:,.0f} ±{spread:.0%}",
        f"{found['engine']['median']:,.1f}",
        f"{found['rest']['median']:,.0f}",
        f"{found['batch']:.1f}",
        *(f"{found['full'][key]:,.0f}" for key in ("p50", "p99", "p99.9")),
        f"{found['half_busy']:.0%}",
        *(f"{found['half'][key]:,.0f}" for key in ("p50", "p99", "p99.9")),
        f"{found['half']['p99'] / found['half']['p50']:.1f}",
        f"{np.median(found['tails']):.1f}",
    ]


def verdicts(row: dict[str, Any]) -> list[str]:
    lines = []
    for name, one in row["asked"].items():
        error = f" (standard error {one['error']:.2f})" if one["error"] else ""
        value = f"{one['value']:.2f}{error}, at most {one['most']:g} asked"
        lines.append(f"{row['case']}: {name} {value}: {one['verdict']}")
    return lines + [f"{row['case']}: {TITLES[name]} DISAGREES" for name in row["disagree"]]


def document(results: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    about = results["machine"]
    lines = [
        f"{results['date']}, commit {results['commit']}{' with changes' * results['dirty']}  ",
        f"{about['cpu']}, {about['cores']} cores; {results['rounds']} rounds  ",
        "",
    ]
    rows = [cells(name, row) for row in results["rows"] for name in row["engines"]]
    lines += markdown(HEADER, rows)
    lines += ["", *(f"- {line}" for row in results["rows"] for line in verdicts(row))]
    return "\n".join(lines) + "\n"


def write(results: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    words = [results["date"], results["commit"], *["dirty"] * results["dirty"], "service"]
    stem = "-".join([*words, *["quick"] * results["quick"]])
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    path = folder / next(f"{n}.json" for n in names if not (folder / f"{n}.json").exists())
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(document(results))
    return path


def main() -> int:
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="gru-service-") as name:
        folder = Path(name)
        results: dict[str, Any] = {
            **machine.describe(),
            "build": gru.build_info(),
            "rounds": options.rounds,
            "quick": options.quick,
            "rows": [],
        }
        busy = results["machine"]["busy_before"]
        if busy > machine.BUSY:
            say(f"WARNING: others keep {busy:.0%} of the cores busy: these figures will mislead")
        for case in (case for case in CASES if case.name in options.only):
            try:
                row = measure(case, options, folder)
            except (DeadError, RefusedError) as reason:
                say(f"{case.name}: stopped: {reason}")
                continue
            results["rows"].append(row)
            for engine in row["engines"]:
                words = zip(HEADER[1:], cells(engine, row)[1:], strict=True)
                told = "; ".join(f"{name} {value}" for name, value in words)
                say(f"{cells(engine, row)[0]}: {told}")
            say(*verdicts(row), "")
        say(f"written: {write(results, options.out)} and .md")
    complete = len(results["rows"]) == len(options.only)
    return 0 if complete and not any(OURS in row["disagree"] for row in results["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
