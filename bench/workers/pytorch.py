"""PyTorch: its recurrent modules in inference mode, autograd for training.

How it is called: time-major, the layout its CPU code works in; inputs made with ``from_numpy``
beforehand; ``set_num_threads`` as given. Inference runs under ``inference_mode``. Training is the
module and then ``torch.autograd.grad`` of input, initial state and all parameters, so no ``.grad``
is accumulated. Ragged batches are ``PackedSequence`` objects, sorted and packed beforehand, and the
output stays packed: the caller is charged for neither. One step is the fastest of ``GRU``,
``GRUCell`` and a traced ``GRUCell``. PyTorch has no GRU that resets before the product.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from job import Array, Job
from workers.protocol import AbsentError, Task, fastest, serve


def make_module(job: Job, arrays: dict[str, Array]) -> Any:
    """Build the module; its parameters already have the names of the arrays."""
    kind = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[job.cell]
    module = kind(job.inputs, job.hidden, job.layers, bidirectional=job.directions == 2)
    module = module.to(getattr(torch, job.dtype)).train(job.mode == "train")
    weights = {name: torch.from_numpy(arrays[name]) for name in job.weight_shapes()}
    module.load_state_dict(weights)
    return module


def order(job: Job) -> Array:
    """Return the sequences, longest first, as a packed sequence wants them."""
    return np.argsort(-job.lengths(), kind="stable")


def make_input(job: Job, x: Array) -> Any:
    dense = torch.from_numpy(np.ascontiguousarray(x[order(job)].swapaxes(0, 1)))
    lengths = sorted(job.lengths().tolist(), reverse=True)
    return pack_padded_sequence(dense, lengths) if job.ragged else dense


def make_state(job: Job, arrays: dict[str, Array]) -> Any:
    names = ["h0", "c0"] if job.cell == "lstm" else ["h0"]
    parts = [torch.from_numpy(np.ascontiguousarray(arrays[n][:, order(job)])) for n in names]
    return tuple(parts) if job.cell == "lstm" else parts[0]


def parts(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def flat(value: Any) -> Any:
    """Return the tensor that a packed sequence holds."""
    return value.data if isinstance(value, PackedSequence) else value


def to_sequences(job: Job, value: Any, like: Any) -> Array:
    """Return an output, packed as ``like`` is, as (B, T, F) in the order that the arrays have."""
    if isinstance(like, PackedSequence):
        value = pad_packed_sequence(like._replace(data=value), total_length=job.steps)[0]
    return value.numpy()[:, np.argsort(order(job))].swapaxes(0, 1)


def to_state(job: Job, values: Any, names: tuple[str, ...]) -> dict[str, Array]:
    back = np.argsort(order(job))
    return {n: v.numpy()[:, back] for n, v in zip(names, values, strict=False)}


class PyTorch:
    """torch.nn on the CPU."""

    def __init__(self) -> None:
        self.inference: Any = None

    def version(self) -> str:
        return torch.__version__

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        if job.cell == "gru" and job.form == "before":
            raise AbsentError("PyTorch has no GRU that resets before the product")
        torch.set_num_threads(job.threads)
        self.switch(job.mode != "train")
        make = {"forward": self.forward, "train": self.train, "step": self.step}[job.mode]
        return make(job, arrays)

    def switch(self, inference: bool) -> None:
        """Enter inference mode once and stay in it: entering at each call would cost time."""
        if self.inference:
            self.inference.__exit__(None, None, None)
        self.inference = torch.inference_mode() if inference else None
        if self.inference:
            self.inference.__enter__()

    def forward(self, job: Job, arrays: dict[str, Array]) -> Task:
        module, state = make_module(job, arrays), make_state(job, arrays)
        rotation = [(make_input(job, arrays[f"x{k}"]), state) for k in range(job.rotation)]

        def outputs() -> dict[str, Array]:
            y, final = module(*rotation[0])
            named = {"y": to_sequences(job, flat(y), y)}
            return named | to_state(job, parts(final), ("h", "c"))

        return Task(module, rotation, outputs)

    def train(self, job: Job, arrays: dict[str, Array]) -> Task:
        module = make_module(job, arrays)
        weights = dict(module.named_parameters())
        initial = [h.requires_grad_() for h in parts(make_state(job, arrays))]
        state = tuple(initial) if job.cell == "lstm" else initial[0]
        dy = flat(make_input(job, arrays["dy"]))

        def call(x: Any, leaf: Any) -> Any:
            y, final = module(x, state)
            wanted = [leaf, *initial, *weights.values()]
            return y, final, torch.autograd.grad(flat(y), wanted, dy)

        rotation = []
        for k in range(job.rotation):
            x = make_input(job, arrays[f"x{k}"])
            rotation.append((x, flat(x).requires_grad_()))

        def outputs() -> dict[str, Array]:
            y, final, (dx, *rest) = call(*rotation[0])
            named = {"y": to_sequences(job, flat(y).detach(), y), "dx": to_sequences(job, dx, y)}
            named |= to_state(job, [h.detach() for h in parts(final)], ("h", "c"))
            named |= to_state(job, rest[: len(initial)], ("dh0", "dc0"))
            gradients = zip(weights, rest[len(initial) :], strict=True)
            return named | {f"d_{name}": array.numpy() for name, array in gradients}

        return Task(call, rotation, outputs)

    def step(self, job: Job, arrays: dict[str, Array]) -> Task:
        """Return the fastest of GRU, GRUCell and a traced, frozen GRUCell."""
        xs = [make_input(job, arrays[f"x{k}"]) for k in range(job.rotation)]
        state = make_state(job, arrays)
        module = make_module(job, arrays)
        cell = torch.nn.GRUCell(job.inputs, job.hidden, dtype=getattr(torch, job.dtype)).eval()
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in module.state_dict().items()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is to go, and not yet gone
            traced = torch.jit.freeze(torch.jit.trace(cell, (xs[0][0], state[0])))

        def run_cell(function: Any, note: str) -> Task:
            def outputs() -> dict[str, Array]:
                h, rows = state[0], []
                for x in xs:
                    h = function(x[0], h)
                    rows.append(h.numpy())
                return {"y": np.stack(rows, axis=1)}

            return Task(function, [(x[0], state[0]) for x in xs], outputs, note)

        def run_module() -> dict[str, Array]:
            y, _ = module(torch.cat(xs), state)
            return {"y": y.numpy().swapaxes(0, 1)}

        whole = Task(module, [(x, state) for x in xs], run_module, "GRU")
        return fastest([whole, run_cell(cell, "GRUCell"), run_cell(traced, "traced GRUCell")])


if __name__ == "__main__":
    serve(PyTorch())
