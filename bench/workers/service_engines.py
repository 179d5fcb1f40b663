"""Who computes behind the service's routes: gru, PyTorch, ONNX Runtime; knows no HTTP.

Each takes the same model file, one thread, and the padded batches and sessions of ``gru.service``.

- gru: what ``gru serve`` runs.
- PyTorch: ``nn.GRU`` (batch first) and ``nn.Linear`` in inference mode; sessions are rows of one
  tensor of states, a step is ``nn.GRUCell`` on the rows that step, gathered and put back.
- ONNX Runtime: the graph that ``gru.to_onnx`` writes, weights as initialisers, sequential, all
  optimisations; sessions are rows of one array, a step is the same graph with one step and states
  as inputs and outputs.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import gru
from gru.service import GruEngine

__all__ = ["ENGINES", "Timed"]

Array = np.ndarray


class Rows:
    """Sessions as rows of an array of states; how a batch of rows steps is the engine's."""

    def __init__(self, states: Any, step: Any) -> None:
        self.states = states
        self.free = list(range(len(states)))[::-1]
        self.run = step

    def open(self) -> int:
        id = self.free.pop()
        self.states[id] = 0
        return id

    def close(self, id: int) -> None:
        self.free.append(id)

    def reset(self, ids: Any) -> None:
        self.states[ids] = 0

    def step(self, ids: Array, x: Array) -> Array:
        return self.run(self.states, ids, x)


class TorchEngine:
    """PyTorch."""

    never_waits = True

    def __init__(self, model: gru.Sequential) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.interface = GruEngine(model).interface
        layer, _, head = model.layers
        self.hidden = layer.spec["hidden_size"]
        self.gru = torch.nn.GRU(layer.spec["input_size"], self.hidden, batch_first=True)
        self.cell = torch.nn.GRUCell(layer.spec["input_size"], self.hidden)
        self.linear = torch.nn.Linear(self.hidden, head.spec["hidden_size"])
        weights = {n: torch.from_numpy(a.copy()) for n, a in gru.to_torch(layer).items()}
        self.gru.load_state_dict(weights)
        self.cell.load_state_dict({n.removesuffix("_l0"): a for n, a in weights.items()})
        parts = {n: torch.from_numpy(np.array(a)) for n, a in head.parameters.items()}
        self.linear.load_state_dict(parts)

    @property
    def version(self) -> str:
        return str(self.torch.__version__)

    def predict(self, x: Array, lengths: Array | None) -> Array:
        with self.torch.inference_mode():
            given = self.torch.from_numpy(x)
            if lengths is not None:
                pack = self.torch.nn.utils.rnn.pack_padded_sequence
                given = pack(given, self.torch.from_numpy(lengths), batch_first=True)
            return self.linear(self.gru(given)[1][0]).numpy()

    def pool(self, capacity: int) -> Rows:
        return Rows(self.torch.zeros(capacity, self.hidden), self._step)

    def _step(self, states: Any, ids: Array, x: Array) -> Array:
        with self.torch.inference_mode():
            index = self.torch.from_numpy(ids)
            state = self.cell(self.torch.from_numpy(x), states[index])
            states[index] = state
            return self.linear(state).numpy()

    def describe(self) -> dict[str, Any]:
        return {"layers": ["PyTorch"], "parameters": 0, "classes": []}


class OnnxEngine:
    """ONNX Runtime."""

    never_waits = True

    def __init__(self, model: gru.Sequential) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        self.interface = GruEngine(model).interface
        self.hidden = model.layers[0].spec["hidden_size"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3

        def session(**more: bool) -> Any:
            return onnxruntime.InferenceSession(
                gru.to_onnx(model, **more), options, providers=["CPUExecutionProvider"]
            )

        self.plain, self.ragged = session(), session(lengths=True)
        self.stepping = session(states=True)

    def predict(self, x: Array, lengths: Array | None) -> Array:
        if lengths is None:
            return self.plain.run(None, {"x": x})[0]
        return self.ragged.run(None, {"x": x, "lengths": lengths.astype(np.int32)})[0]

    def pool(self, capacity: int) -> Rows:
        return Rows(np.zeros((capacity, 1, self.hidden), np.float32), self._step)

    def _step(self, states: Array, ids: Array, x: Array) -> Array:
        given = {"x": x[:, None], "initial_h_0": states[ids]}
        y, states[ids] = self.stepping.run(["y", "final_h_0"], given)
        return y

    def describe(self) -> dict[str, Any]:
        return {"layers": ["ONNX Runtime"], "parameters": 0, "classes": []}


class OurEngine(GruEngine):
    """gru."""

    version = gru.__version__


ENGINES = {"ours": OurEngine, "torch": TorchEngine, "onnxruntime": OnnxEngine}


class Timed:
    """An engine whose calls are counted, with the processor time of the thread that made them.

    Not the time on the wall: a call that ends waits for Python's lock, which is the service's
    matter and not the engine's.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.interface = engine.interface
        self.describe = engine.describe
        self.never_waits = engine.never_waits
        self.calls = 0
        self.rows = 0
        self.seconds = 0.0

    def predict(self, x: Array, lengths: Array | None) -> Array:
        return self._timed(len(x), self.engine.predict, x, lengths)

    def pool(self, capacity: int) -> Any:
        pool = self.engine.pool(capacity)
        step = pool.step
        pool.step = lambda ids, x: self._timed(len(ids), step, ids, x)
        return pool

    def _timed(self, rows: int, function: Any, *arguments: Any) -> Array:
        began = time.thread_time()
        y = function(*arguments)
        self.seconds += time.thread_time() - began
        self.calls += 1
        self.rows += rows
        return y
