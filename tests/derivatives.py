"""Compares gradients with slopes of the reference, along directions that no wrong entry escapes."""

from __future__ import annotations

import numpy as np

import reference
from reference import Array, Problem

FULL_BELOW = 40
UNITS_PER_GATE = 4
TOLERANCE = 1e-10  # of the largest entry

Slopes = dict[str, tuple[Array, Array]]


def directions(name: str, shape: tuple[int, ...], count: int, seed: int) -> Array:
    """Directions (P, *shape): every entry of a small array; of a larger one, for each gate's block
    of rows, a few entries and one random direction, which no wrong entry of the block escapes."""
    size = int(np.prod(shape))
    if size <= FULL_BELOW:
        return np.eye(size).reshape(size, *shape)
    rng = np.random.default_rng(seed)
    blocks = np.array_split(
        np.arange(size), count if name.startswith(("weight", "bias", "norm")) else 2
    )
    found = np.zeros((len(blocks), UNITS_PER_GATE + 1, size))
    for rows, block in zip(found, blocks, strict=True):
        chosen = rng.choice(block, UNITS_PER_GATE, replace=False)
        rows[np.arange(UNITS_PER_GATE), chosen] = 1
        rows[UNITS_PER_GATE, block] = rng.normal(size=block.size)
    return found.reshape(-1, *shape)


def slopes_of(p: Problem, seed: int) -> Slopes:
    """For every input of a problem: the directions, and the reference's slope along each."""
    found = {}
    for i, (name, value) in enumerate(p.inputs.items()):
        along = directions(name, value.shape, reference.GATES[p.spec.cell], seed + 7919 * i)
        found[name] = (along, p.slopes(name, along))
    return found


def assert_slopes(found: dict[str, Array], slopes: Slopes, tolerance: float = TOLERANCE) -> None:
    for name, (along, wanted) in slopes.items():
        grad = found[name]
        assert grad.dtype == np.float64
        assert grad.shape == along.shape[1:], name
        terms = grad[None] * along
        axes = tuple(range(1, terms.ndim))
        scale = np.maximum(np.abs(terms).sum(axis=axes), np.abs(grad).max(initial=0))
        scale = np.maximum(scale, np.abs(wanted))
        error = np.abs(terms.sum(axis=axes) - wanted)
        worst = (error / np.where(scale > 0, scale, 1)).max(initial=0)
        assert worst <= tolerance, f"{name}: {worst} relative"
