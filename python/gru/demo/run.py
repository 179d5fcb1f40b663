"""What the demo prints and writes, in order; the tasks themselves are elsewhere."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gru import runtime
from gru.demo.picture import draw
from gru.demo.tasks import Row, Settings, memory_rows, speech_rows
from gru.extras import MissingError
from gru.history import History

__all__ = ["run"]

SOLVED = 0.02  # mean squared error; to answer 1 always gives 1/6


def _table(rows: Iterator[Row], heading: str, show: Callable[[Row], str]) -> list[Row]:
    """Print each row as soon as it is there."""
    print(f"  {'cell':<20} {'parameters':>10} {'seconds':>8}  {heading}", flush=True)
    done = []
    for row in rows:
        seconds = statistics.median(row.seconds)
        print(f"  {row.cell:<20} {row.parameters:>10,} {seconds:>8.1f}  {show(row)}", flush=True)
        done.append(row)
    return done


def _spread(row: Row) -> str:
    if len(row.scores) == 1:
        return ""
    low, high = min(row.scores), max(row.scores)
    return f"   median of {len(row.scores)} seeds, {low:.3f} .. {high:.3f}"


def _speech(settings: Settings, seeds: range, verbose: bool) -> list[Row]:
    print(
        f"1. Who speaks? Recordings of nine speakers, 12 channels, 7 to 29 steps: 270 to learn\n"
        f"   from, 370 held out. {settings.speech_units} units, {settings.speech_epochs} epochs; "
        f"channels scaled by the training data."
    )
    rows = speech_rows(settings, seeds, verbose=verbose)
    done = _table(rows, "test accuracy", lambda row: f"{row.score:>13.3f}{_spread(row)}")
    print("  Utterances this short need no long memory: a plain RNN does about as well.\n")
    return done


def _memory(settings: Settings, seeds: range, verbose: bool) -> list[Row]:
    print(
        f"2. Adding (Hochreiter and Schmidhuber 1997): the sum of two marked numbers among\n"
        f"   {settings.memory_steps} steps. {settings.memory_units} units; to answer 1 always "
        f"gives an error of 0.167."
    )
    rows = memory_rows(settings, seeds, verbose=verbose)
    done = _table(rows, "test squared error", lambda row: f"{row.score:>18.4f}{_spread(row)}")
    solved = [row.cell for row in done if row.score < SOLVED]
    failed = [row.cell for row in done if row.score >= SOLVED]
    if solved:
        print(f"  Solved (error below {SOLVED}): {'; '.join(solved)}.")
    if failed:
        print(f"  Not solved: {'; '.join(failed)}.")
    if failed == ["RNN (tanh)"]:
        print("  The gates carry the numbers over the steps between; the plain RNN forgets them.")
    print()
    return done


def _stream(model: Path, utterance: int) -> dict[str, Any]:
    """Load and stream in a fresh process, which prints; return its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "stream.json"
        command = [sys.executable, "-m", "gru.demo.stream", str(model), str(utterance)]
        sys.stdout.flush()
        subprocess.run([*command, str(result)], check=True)
        numbers: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    same = "the same bits as" if numbers["same_bits_as_whole"] else "NOT the same bits as"
    print(f"  The last answer has {same} the whole utterance in one call.")
    print(
        f"  All 370 held-out utterances streamed: accuracy {numbers['accuracy']:.3f}, "
        f"{numbers['microseconds_per_step']:.1f} microseconds a step.\n"
    )
    return numbers


def _picture(path: Path, speech: list[Row], memory: list[Row], stream: dict[str, Any]) -> bool:
    """Draw the picture if matplotlib is there."""

    def losses(rows: list[Row]) -> dict[str, History]:
        return {row.cell: row.histories[0] for row in rows}

    try:
        draw(path, losses(speech), losses(memory), stream["probabilities"], stream["truth"])
    except MissingError as missing:
        print(f"  No picture: {missing}")
        return False
    return True


def run(
    *, seeds: int = 1, seed: int = 0, out: Path = Path("gru-demo"), quick: bool = False
) -> dict[str, Any]:
    """Run the demo.

    Parameters
    ----------
    seeds : int
        Trainings of each cell; the tables show medians.
    seed : int
        The first seed.
    out : Path
        The folder for the model and the picture; made if it is missing.
    quick : bool
        Train far too little, only to see everything run.

    Returns
    -------
    dict
        Every number that was printed.
    """
    start = time.perf_counter()
    settings = Settings.of(quick=quick)
    each = range(seed, seed + seeds)
    verbose = sys.stderr.isatty()
    out.mkdir(parents=True, exist_ok=True)
    isa = runtime.active_isa()
    print(f"gru demo: {isa} kernels" + (", quick: numbers mean nothing" if quick else "") + "\n")

    speech = _speech(settings, each, verbose)
    memory = _memory(settings, each, verbose)

    model = out / "gru.safetensors"
    speech[0].models[0].save(model)
    size = model.stat().st_size
    print(
        f"3. The first model of the {speech[0].cell}, saved ({size:,} bytes), loaded in a fresh\n"
        f"   process and fed one held-out utterance step by step:"
    )
    stream = _stream(model, utterance=seed % 370)

    picture = out / "demo.png"
    drawn = _picture(picture, speech, memory, stream)
    total = time.perf_counter() - start
    print(f"  Wrote {', '.join(str(p) for p in (model, *([picture] if drawn else [])))}.")
    print(f"  The whole demo took {total:.1f} s.")
    return {
        "isa": isa,
        "quick": quick,
        "seeds": list(each),
        "speech": [row.as_dict() for row in speech],
        "memory": [row.as_dict() for row in memory],
        "model": str(model),
        "model_bytes": size,
        "stream": stream,
        "picture": str(picture) if drawn else None,
        "seconds": total,
    }
