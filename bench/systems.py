"""Which systems take part, and how each is started and built; knows no job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from process import DeadError, Launch, Process

BENCH = Path(__file__).resolve().parent
BUILD = BENCH.parent / "build"
ONEDNN = BUILD / "bench-onednn" / "onednn_worker"
OURS = "ours"
PEERS = ("torch", "onnxruntime", "openvino", "jax", "onednn")
MODULES = {
    OURS: "workers.ours",
    "torch": "workers.pytorch",
    "onnxruntime": "workers.onnxruntime_",
    "openvino": "workers.openvino_",
    "jax": "workers.jax_",
}
NOT_FROM_PYTHON = ("onednn",)  # left out of "best" where the price of a call from Python matters


def cmake_build(source: Path, build: Path, target: str, options: Sequence[str] = ()) -> str:
    """Configure and build one target; return why that did not work, or nothing."""
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not cmake:
        return "cmake is not installed"
    configure = [cmake, "-S", str(source), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"]
    make = [cmake, "--build", str(build), "--target", target, "--parallel"]
    for command in ([*configure, *options], make):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return first_error(done.stderr or done.stdout)
    return ""


def first_error(text: str) -> str:
    """Return the line that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("CMake Error") and number + 1 < len(lines):
            return lines[number + 1]  # the message stands below where it was raised
        if "error" in line.lower():
            return line
    return lines[-1] if lines else "unknown error"


def command_of(name: str) -> tuple[str, ...]:
    """Return how a system's worker is started."""
    return (str(ONEDNN),) if name == "onednn" else (sys.executable, "-m", MODULES[name])


def environment_of(name: str, threads: int) -> dict[str, str]:
    """Return what a system's worker finds in its environment."""
    path = [str(BENCH), os.environ.get("PYTHONPATH", "")]
    found = {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    if name == "jax":
        found["JAX_PLATFORMS"] = "cpu"
        if threads == 1:  # it also has no one to hand work to, and need not look
            found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return found


def cores_for(threads: int) -> tuple[int, ...]:
    """Return the cores of a run: the last ones, for the first has the most interrupts."""
    return tuple(sorted(os.sched_getaffinity(0))[-threads:])


class Crew:
    """All systems' workers for one number of threads. A worker that died may be started again."""

    def __init__(self, names: Sequence[str], threads: int, folder: Path) -> None:
        self.names = names
        self.threads = threads
        self.folder = folder
        self.live: dict[str, Process] = {}
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}  # name -> why it could not be started

    def launch(self, name: str) -> Launch:
        """Return how a system is started here."""
        environment = environment_of(name, self.threads)
        log = self.folder / f"{name}.log"
        return Launch(name, command_of(name), environment, cores_for(self.threads), log)

    def start(self) -> None:
        """Start all that are not running; those that cannot even start are absent from then on."""
        wanted = [n for n in self.names if n not in self.live and n not in self.absent]
        started = {}
        for name in wanted:
            try:
                started[name] = Process(self.launch(name))
            except OSError as error:
                self.absent[name] = str(error)
        for name, process in started.items():
            try:
                self.versions[name] = process.await_ready()
                self.live[name] = process
            except DeadError as reason:
                self.absent[name] = str(reason)

    def bury(self, name: str) -> None:
        """Forget a worker that died."""
        self.live.pop(name).kill()

    def __enter__(self) -> Crew:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.live.values():
            process.close()
