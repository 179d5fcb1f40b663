"""JAX: cells of our own writing, compiled by XLA.

How it is called: everything under ``jit``; the input product of all steps is one product before the
``lax.scan``; the gates' weights are one matrix; biases that may be added up are. For inference the
weights are constants of the compiled function, for training its arguments, and one compiled
function returns the outputs and all gradients (``jax.vjp``). The scan is unrolled by 1, 4 or, for
inference, 8, whichever is the fastest when the task is made. Ragged batches are masked inside the
scan. ``block_until_ready`` ends a call. On one thread XLA's own pool is switched off by a flag. A
float64 job switches ``jax_enable_x64`` on, and only that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from job import Array, Job
from workers.protocol import Task, fastest, serve

# Tried when a task is made. In training 8 never won, and takes XLA ten seconds to compile.
UNROLLS = {"forward": (1, 4, 8), "train": (1, 4)}

Weights = dict[str, Any]  # one layer and direction: w (I, GH), u (H, GH), bi and bh (GH,)
State = tuple[Any, ...]


# --- cells: (weights, state, what the input product gave) -> state ------------------------------


def gru_after(p: Weights, state: State, gx: Any) -> State:
    (h,) = state
    size = h.shape[-1]
    gh = h @ p["u"]
    rz = jax.nn.sigmoid(gx[:, : 2 * size] + gh[:, : 2 * size])
    r, z = rz[:, :size], rz[:, size:]
    n = jnp.tanh(gx[:, 2 * size :] + r * (gh[:, 2 * size :] + p["bh"][2 * size :]))
    return (n + z * (h - n),)


def gru_before(p: Weights, state: State, gx: Any) -> State:
    (h,) = state
    size = h.shape[-1]
    rz = jax.nn.sigmoid(gx[:, : 2 * size] + h @ p["u"][:, : 2 * size])
    r, z = rz[:, :size], rz[:, size:]
    n = jnp.tanh(gx[:, 2 * size :] + (r * h) @ p["u"][:, 2 * size :])
    return (n + z * (h - n),)


def lstm(p: Weights, state: State, gx: Any) -> State:
    h, c = state
    i, f, g, o = jnp.split(gx + h @ p["u"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def rnn(p: Weights, state: State, gx: Any) -> State:
    return (jnp.tanh(gx + state[0] @ p["u"]),)


def cell_of(job: Job) -> Callable[[Weights, State, Any], State]:
    if job.cell == "gru":
        return gru_after if job.form == "after" else gru_before
    return {"lstm": lstm, "rnn": rnn}[job.cell]


def input_product(job: Job, p: Weights, x: Any) -> Any:
    """W x and all biases, but the one that the reset gate multiplies."""
    bias = p["bi"] + p["bh"]
    if job.cell == "gru" and job.form == "after":
        bias = bias.at[2 * job.hidden :].set(p["bi"][2 * job.hidden :])
    return x @ p["w"] + bias


# --- time, directions, layers -------------------------------------------------------------------


def sweep(job: Job, unroll: int, valid: Any, p: Weights, x: Any, state: State, back: bool) -> Any:
    """Run one direction of one layer: x (T, B, I) -> the final state and y (T, B, H)."""
    cell = cell_of(job)

    def step(state: State, at: Any) -> tuple[State, Any]:
        gx, there = at
        new = cell(p, state, gx)
        if job.ragged:
            new = tuple(jnp.where(there, n, s) for n, s in zip(new, state, strict=True))
        return new, new[0]

    gx = input_product(job, p, x)
    return lax.scan(step, state, (gx, valid), reverse=back, unroll=unroll)


def run(job: Job, unroll: int, valid: Any, weights: list[Weights], x: Any, state: State) -> Any:
    """Run all layers: x (T, B, I) -> y (T, B, D*H) and the final state, parts (N*D, B, H)."""
    finals = []
    for layer in range(job.layers):
        ys = []
        for direction in range(job.directions):
            k = layer * job.directions + direction
            own = tuple(part[k] for part in state)
            back = direction == 1
            final, y = sweep(job, unroll, valid, weights[k], x, own, back)
            finals.append(final)
            ys.append(y)
        x = ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=-1)
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def make_weights(job: Job, arrays: dict[str, Array]) -> list[Weights]:
    found = []
    for _, end in job.suffixes():
        w, u = arrays["weight_ih" + end].T, arrays["weight_hh" + end].T
        biases = {"bi": arrays["bias_ih" + end], "bh": arrays["bias_hh" + end]}
        found.append({k: jnp.asarray(v) for k, v in {"w": w, "u": u, **biases}.items()})
    return found


def as_arrays(job: Job, arrays: dict[str, Array]) -> tuple[list[Any], State]:
    """Return inputs (T, B, I) and the initial state, on the device."""
    xs = [jnp.asarray(arrays[f"x{k}"].swapaxes(0, 1)) for k in range(job.rotation)]
    return xs, tuple(jnp.asarray(arrays[n]) for n in ("h0", "c0") if n in arrays)


def batch_first(y: Any) -> Array:
    return np.asarray(y).swapaxes(0, 1)


def valid_steps(job: Job) -> Any:
    return jnp.asarray(job.valid().T[..., None]) if job.ragged else None


def unrolls(job: Job) -> list[int]:
    return [n for n in UNROLLS[job.mode] if n <= job.steps]


class Jax:
    """XLA on the CPU."""

    def version(self) -> str:
        return str(jax.__version__)

    def prepare(self, job: Job, arrays: dict[str, Array]) -> Task:
        jax.clear_caches()
        jax.config.update("jax_enable_x64", job.dtype == "float64")
        if job.mode == "step":
            return self.step(job, arrays)
        make = {"forward": self.forward, "train": self.train}[job.mode]
        return fastest([make(job, arrays, unroll) for unroll in unrolls(job)])

    def forward(self, job: Job, arrays: dict[str, Array], unroll: int) -> Task:
        xs, state = as_arrays(job, arrays)
        weights = make_weights(job, arrays)
        function = jax.jit(partial(run, job, unroll, valid_steps(job), weights))

        def call(x: Any) -> Any:
            return jax.block_until_ready(function(x, state))

        def outputs() -> dict[str, Array]:
            y, final = call(xs[0])
            return {"y": batch_first(y), **dict(zip("hc", map(np.asarray, final), strict=False))}

        return Task(call, [(x,) for x in xs], outputs, f"unroll {unroll}")

    def train(self, job: Job, arrays: dict[str, Array], unroll: int) -> Task:
        xs, state = as_arrays(job, arrays)
        weights, valid = make_weights(job, arrays), valid_steps(job)
        dy = jnp.asarray(arrays["dy"].swapaxes(0, 1))

        @jax.jit
        def both(weights: Any, x: Any, state: State, dy: Any) -> Any:
            forward = partial(run, job, unroll, valid)
            (y, final), backward = jax.vjp(forward, weights, x, state)
            return y, final, backward((dy, tuple(map(jnp.zeros_like, final))))

        def call(x: Any) -> Any:
            return jax.block_until_ready(both(weights, x, state, dy))

        def outputs() -> dict[str, Array]:
            y, final, (gradients, dx, dstate) = call(xs[0])
            named = {"y": batch_first(y), "dx": batch_first(dx)}
            named |= dict(zip("hc", map(np.asarray, final), strict=False))
            named |= dict(zip(("dh0", "dc0"), map(np.asarray, dstate), strict=False))
            for (_, end), p in zip(job.suffixes(), gradients, strict=True):
                named |= {f"d_weight_ih{end}": np.asarray(p["w"]).T}
                named |= {f"d_weight_hh{end}": np.asarray(p["u"]).T}
                named |= {f"d_bias_ih{end}": np.asarray(p["bi"])}
                named |= {f"d_bias_hh{end}": np.asarray(p["bh"])}
            return named

        return Task(call, [(x,) for x in xs], outputs, f"unroll {unroll}")

    def step(self, job: Job, arrays: dict[str, Array]) -> Task:
        """Return (x, state) -> state, compiled; who calls would pass the state on."""
        xs, first = as_arrays(job, arrays)
        (p,) = make_weights(job, arrays)
        cell = cell_of(job)
        function = jax.jit(lambda x, h: cell(p, (h,), input_product(job, p, x))[0])

        def call(x: Any, h: Any) -> Any:
            return function(x, h).block_until_ready()

        def outputs() -> dict[str, Array]:
            h, rows = first[0][0], []
            for x in xs:
                h = call(x[0], h)
                rows.append(np.asarray(h))
            return {"y": np.stack(rows, axis=1)}

        return Task(call, [(x[0], first[0][0]) for x in xs], outputs)


if __name__ == "__main__":
    serve(Jax())
