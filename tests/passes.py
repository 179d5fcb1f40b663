"""Everything of one training pass of the engine's own layer, and what must not change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cases import Data, as_state, as_tuple, assert_same_bits
from reference import Array

Change = Callable[[Array, Array], tuple[Array, Array]]  # of x (B, T, I) and lengths (B,)

EVERY_OTHER_BATCH = pytest.mark.parametrize(
    "change",
    [
        lambda x, lengths: (x[:3], lengths[:3]),
        lambda x, lengths: (x[:1], lengths[:1]),
        lambda x, lengths: (np.pad(x, ((0, 0), (0, 7), (0, 0)), constant_values=9), lengths),
        lambda x, lengths: (np.concatenate([x, x]), np.concatenate([lengths, lengths[::-1]])),
        lambda x, lengths: (x, np.concatenate([lengths[:2], [0, 8, 1]])),
    ],
    ids=["fewer", "one", "padded", "more", "other lengths"],
)


def engine(core: Any, d: Data, seed: int = 0, limit: int = 0) -> dict[str, Array]:
    """Outputs, states and gradients of a training pass."""
    y, state, tape = core.forward_train(
        d.x, as_state(d.state), **d.where, seed=seed, memory_limit=limit
    )
    dx, dstate, block = core.backward(tape, d.dy, as_state(d.dstate))
    return {
        "y": y,
        **{f"final{i}": s for i, s in enumerate(as_tuple(state))},
        "x": dx,
        **{f"state{i}": s for i, s in enumerate(as_tuple(dstate))},
        **core.views(block),
    }


def assert_all_bits(found: dict[str, Array], wanted: dict[str, Array], what: str = "") -> None:
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert_same_bits(value, wanted[name], f"{name} {what}")


def assert_other_batch_does_not_show(core: Any, change: Change, dtype: str = "float64") -> None:
    """A sequence at its place gives the same, and draws the same masks, on step 0 to T."""
    x = np.random.default_rng(1).normal(size=(5, 8, 3)).astype(dtype)
    lengths = np.array([3, 8, 5, 0, 8])
    y, dx = _outputs(core, x, lengths)
    changed_x, changed_lengths = change(x, lengths)
    changed_y, changed_dx = _outputs(core, changed_x, changed_lengths)
    for b in range(min(len(x), len(changed_x))):
        if lengths[b] == changed_lengths[b]:
            valid = slice(lengths[b])
            assert_same_bits(changed_y[b, valid].copy(), y[b, valid].copy(), f"y of {b}")
            assert_same_bits(changed_dx[b, valid].copy(), dx[b, valid].copy(), f"dx of {b}")


def _outputs(core: Any, x: Array, lengths: Array) -> tuple[Array, Array]:
    y, _, tape = core.forward_train(x, lengths=lengths, seed=6)
    return y, core.backward(tape, y)[0]
