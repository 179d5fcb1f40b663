"""Opens damaged files until one does harm: a process of its own, which may be killed by it.

``python hostile.py FOLDER SEED EACH SAMPLE...``: each sample is cut at every byte and damaged
EACH times more. The file that is opened lies in FOLDER, ``case`` names it; what the process prints
is a JSON object of counts, or one line on the first case that ended in neither a model nor a
ValueError or OSError with the file's name.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gru
from gru.convert.formats import kind
from mutations import mutated

MORE_MEMORY = 256 << 20  # of addresses, for files of a few KB
LARGEST_GROWTH = 64 << 20  # of what was ever resident


def opens(path: Path, reader: Callable[[Path], Any]) -> str:
    """What became of a file: "model", "refused", or a sentence on the harm."""
    try:
        reader(path)
    except (ValueError, OSError) as error:
        text = str(error)
        if str(path) not in text:
            return f"{type(error).__name__} without the file's name: {text!r}"
        return "refused" if text.isprintable() else f"no plain text: {text!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "model"


def reader_of(sample: Path) -> Callable[[Path], Any]:
    """Weights alone are no model; they are read as layers."""
    layers = partial(gru.load_keras_layers, standard=True)
    return layers if sample.name.endswith(".weights.h5") else gru.load


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    """Allow some more addresses than are taken now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fuzz(folder: Path, seed: int, each: int, samples: list[Path]) -> dict[str, dict[str, float]]:
    for sample in samples:
        found = opens(sample, reader_of(sample))  # which imports it
        assert found == "model", f"{sample}: {found}"
    limit_memory()
    before, counts = resident(), {}
    path, progress = folder / "damaged", os.open(folder / "case", os.O_WRONLY | os.O_CREAT)
    for sample in samples:
        data, format, start = sample.read_bytes(), kind(sample), time.process_time()
        count, reader = {"model": 0, "refused": 0}, reader_of(sample)
        for number in range(len(data) + each):
            os.pwrite(progress, f"{sample.name} seed {seed} number {number:<12}\n".encode(), 0)
            path.write_bytes(mutated(data, format, seed, number))
            found = opens(path, reader)
            if found not in count:
                sys.exit(f"{sample.name}, seed {seed}, number {number}: {found}")
            count[found] += 1
        counts[sample.name] = {**count, "seconds": round(time.process_time() - start, 2)}
    growth = resident() - before
    if growth > LARGEST_GROWTH:
        sys.exit(f"{growth} bytes more than before were taken for files of a few KB")
    return counts


if __name__ == "__main__":
    warnings.simplefilter("error")
    where, seed, each, *names = sys.argv[1:]
    print(json.dumps(fuzz(Path(where), int(seed), int(each), [Path(name) for name in names])))
