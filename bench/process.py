"""A worker process and the pipe to it; knows neither jobs nor times."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 300.0  # of one reply: the longest burst and the slowest compilation take seconds
SETTLE_SECONDS = 0.5  # how long a pool may go on spinning before it is left to it
QUIET_SECONDS = 2e-3  # between two looks at a process; one that sleeps twice is asleep
POOLS = ("OMP", "OPENBLAS", "MKL", "GRU")  # each reads NAME_NUM_THREADS


class RefusedError(Exception):
    """A worker answered that it cannot do something: ``status`` is "absent" or "failed"."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class DeadError(Exception):
    """A worker is gone, or does not answer."""


@dataclass(frozen=True)
class Launch:
    """How to start a worker."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    cores: tuple[int, ...]
    log: Path  # what it prints besides its replies
    timeout: float = TIMEOUT_SECONDS


class Process:
    """One worker: asks, and waits for the answer."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.buffer = b""
        threads = {f"{pool}_NUM_THREADS": str(len(launch.cores)) for pool in POOLS}
        with launch.log.open("ab") as log:
            self.process = subprocess.Popen(
                launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **threads, **launch.environment},
                # Before exec, so that every library counts these cores and no others.
                preexec_fn=lambda: os.sched_setaffinity(0, launch.cores),
                start_new_session=True,  # Ctrl-C is for the one who asks
            )

    def await_ready(self) -> str:
        """Return the version that the worker announces when it has imported everything."""
        while True:
            line = self._read_line()
            if line.startswith("ready "):
                return line.removeprefix("ready ")

    def ask(self, *words: str) -> str:
        """Send a request and return what follows ``ok``.

        Raises
        ------
        RefusedError, DeadError
            If the worker says no, or says nothing.
        """
        assert self.process.stdin
        try:
            self.process.stdin.write((" ".join(words) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise DeadError(self._last_words()) from None
        status, _, rest = self._read_line().partition(" ")
        if status != "ok":
            raise RefusedError(status, rest)
        return rest

    def runs(self) -> bool:
        """Return whether any thread runs, or would if a core were free."""
        for stat in Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            try:
                state = stat.read_text().rpartition(")")[2].split()[0]
            except OSError:  # a thread that has just ended
                continue
            if state == "R":
                return True
        return False

    def settle(self) -> None:
        """Wait until all threads sleep: pools spin for a while when their work is done.

        ONNX Runtime's does for tens of milliseconds.
        """
        end, quiet = time.monotonic() + SETTLE_SECONDS, 0
        while quiet < 2 and time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            quiet = 0 if self.runs() else quiet + 1

    def _read_line(self) -> str:
        assert self.process.stdout
        stream = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            if not select.select([stream], [], [], self.launch.timeout)[0]:
                self.kill()
                raise DeadError(f"no answer in {self.launch.timeout:.0f} s")
            chunk = os.read(stream, 1 << 16)
            if not chunk:
                raise DeadError(self._last_words())
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def _last_words(self) -> str:
        code = self.process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        lines = self.launch.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with {code}"

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let the process end by itself: its input is at its end."""
        assert self.process.stdin
        try:
            self.process.stdin.close()
            self.process.wait(5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.kill()
