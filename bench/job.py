"""What one system is asked to run and which arrays belong to it; knows no system."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

GATES = {"gru": 3, "lstm": 4, "rnn": 1}
ROTATION_BYTES = 32 << 20  # of all inputs together: bounded, and at most LONGEST_ROTATION inputs
SHORTEST, LONGEST_ROTATION = 3, 8


@dataclass(frozen=True)
class Job:
    """One network, one shape, one kind of call. Travels to the workers as ``key=value`` words."""

    cell: str  # "gru" | "lstm" | "rnn"
    mode: str  # "forward" | "train" (forward and backward) | "step" (one step, the state fed back)
    steps: int
    batch: int
    inputs: int
    hidden: int
    form: str = "after"  # gru: "after" | "before": where the reset gate acts
    layers: int = 1
    directions: int = 1
    dtype: str = "float32"  # in which the system computes
    stored: str = "float32"  # in which the arrays lie in their files
    ragged: bool = False
    via: str = "layer"  # ours: "layer" | "stream"
    threads: int = 1
    path: str = ""  # the directory of the arrays

    def line(self) -> str:
        """Return the job as words without spaces."""
        values = asdict(self)
        plain = {key: int(v) if isinstance(v, bool) else v for key, v in values.items()}
        return " ".join(f"{key}={value}" for key, value in plain.items())

    @classmethod
    def parse(cls, words: list[str]) -> Job:
        """Read what :meth:`line` wrote."""
        kinds = {"int": int, "bool": lambda text: text == "1", "str": str}
        types = {field.name: kinds[str(field.type)] for field in fields(cls)}
        pairs = (word.split("=", 1) for word in words)
        return cls(**{key: types[key](value) for key, value in pairs})

    @property
    def rotation(self) -> int:
        """How many different inputs take turns."""
        one = self.batch * self.steps * self.inputs * np.dtype(self.stored).itemsize
        return max(SHORTEST, min(LONGEST_ROTATION, ROTATION_BYTES // one))

    def suffixes(self) -> list[tuple[int, str]]:
        """Return (number of the layer, end of its parameters' names) for each direction."""
        ends = ["", "_reverse"][: self.directions]
        return [(layer, f"_l{layer}{end}") for layer in range(self.layers) for end in ends]

    def width(self, layer: int) -> int:
        """Return the features that a layer reads."""
        return self.inputs if layer == 0 else self.directions * self.hidden

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of the parameters: PyTorch's."""
        rows, shapes = GATES[self.cell] * self.hidden, {}
        for layer, end in self.suffixes():
            shapes["weight_ih" + end] = (rows, self.width(layer))
            shapes["weight_hh" + end] = (rows, self.hidden)
            shapes["bias_ih" + end] = (rows,)
            shapes["bias_hh" + end] = (rows,)
        return shapes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of all arrays: batch first, the states (N*D, B, H)."""
        state = (self.layers * self.directions, self.batch, self.hidden)
        shapes = self.weight_shapes()
        for k in range(self.rotation):
            shapes[f"x{k}"] = (self.batch, self.steps, self.inputs)
        shapes["h0"] = state
        if self.cell == "lstm":
            shapes["c0"] = state
        if self.mode == "train":
            shapes["dy"] = (self.batch, self.steps, self.directions * self.hidden)
        return shapes

    def lengths(self) -> Array:
        """Return the valid steps of each sequence."""
        if not self.ragged:
            return np.full(self.batch, self.steps, np.int64)
        rng = np.random.default_rng(self.batch)
        return rng.integers(self.steps // 10, self.steps, self.batch, np.int64, endpoint=True)

    def valid(self) -> Array:
        """Return which steps are valid, (B, T)."""
        return np.arange(self.steps) < self.lengths()[:, None]

    def seed(self) -> int:
        """Return a seed that follows from what is computed alone."""
        same = replace(self, path="", threads=1, via="layer", dtype=self.stored)
        return crc32(same.line().encode())


def write_arrays(job: Job) -> None:
    """Fill the job's directory: random weights, **biases and states that are not zero**, inputs."""
    rng = np.random.default_rng(job.seed())
    bound = job.hidden**-0.5
    folder = Path(job.path)
    folder.mkdir(parents=True, exist_ok=True)
    weights = job.weight_shapes()
    for name, shape in job.shapes().items():
        if name in weights:
            array = rng.uniform(-bound, bound, shape)
        elif name in ("h0", "c0"):
            array = rng.uniform(-0.8, 0.8, shape)
        else:
            array = rng.standard_normal(shape)
        if name == "dy":
            array *= job.valid()[..., None]
        array.astype(job.stored).tofile(folder / f"{name}.bin")


def read_arrays(job: Job) -> dict[str, Array]:
    """Read the job's arrays, in the dtype that the system computes in."""
    found = {}
    for name, shape in job.shapes().items():
        array = np.fromfile(Path(job.path) / f"{name}.bin", job.stored)
        found[name] = array.reshape(shape).astype(job.dtype, copy=False)
    return found
