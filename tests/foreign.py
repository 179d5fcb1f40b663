"""Weights of ONNX and Keras rearranged to PyTorch's layout, for tests; see those systems' docs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reference import Array, Spec

# Where the gates r z n, i f g o, n stand in the rows of ONNX (z r h, i o f c) and Keras (z r h).
ONNX_ROWS = {"gru": (1, 0, 2), "lstm": (0, 2, 3, 1), "rnn": (0,)}
KERAS_ROWS = (1, 0, 2)


def reordered(a: Array, rows: tuple[int, ...]) -> Array:
    """Blocks of rows in another order."""
    blocks = np.split(a, len(rows), axis=0)
    return np.concatenate([blocks[row] for row in rows])


def from_onnx(cell: str, w: Array, r: Array, b: Array | None) -> dict[str, Array]:
    """One node's W (D, G*H, I), R (D, G*H, H) and B (D, 2*G*H)."""
    params = {}
    for direction, end in zip(range(len(w)), ("_l0", "_l0_reverse"), strict=False):
        rows = ONNX_ROWS[cell]
        params["weight_ih" + end] = reordered(w[direction], rows)
        params["weight_hh" + end] = reordered(r[direction], rows)
        if b is not None:
            b_i, b_h = np.split(b[direction], 2)
            params["bias_ih" + end] = reordered(b_i, rows)
            params["bias_hh" + end] = reordered(b_h, rows)
    return params


def from_keras(kernel: Array, recurrent_kernel: Array, bias: Array) -> dict[str, Array]:
    """A GRU with reset_after=True: kernel (I, 3H), recurrent_kernel (H, 3H), bias (2, 3H)."""
    return {
        "weight_ih_l0": reordered(kernel.T, KERAS_ROWS),
        "weight_hh_l0": reordered(recurrent_kernel.T, KERAS_ROWS),
        "bias_ih_l0": reordered(bias[0], KERAS_ROWS),
        "bias_hh_l0": reordered(bias[1], KERAS_ROWS),
    }


def spec_of(cell: str, params: Mapping[str, Array], *, reset_after: bool = True) -> Spec:
    """What a one-layer network with these parameters is."""
    return Spec(
        cell,
        params["weight_ih_l0"].shape[1],
        params["weight_hh_l0"].shape[1],
        direction="both" if "weight_ih_l0_reverse" in params else "forward",
        bias="bias_ih_l0" in params,
        reset_after=reset_after,
    )
