"""Models of Keras with random weights, for tests that compare; needs Keras with PyTorch below."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from reference import Array

os.environ.setdefault("KERAS_BACKEND", "torch")
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend than torch", allow_module_level=True)
L = keras.layers

# Unless it runs on TensorFlow, Keras computes layers of float64 in float32, as JAX does by default.
# This is the table that says so; with it, the other backends compute as on TensorFlow.
keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def filled(model: Any, seed: int = 0) -> Any:
    """The model with random weights: no bias is zero, no variance is one."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("seed_generator_state", "iterations")):
            continue
        low, high = (0.3, 2.0) if "variance" in weight.path else (-0.6, 0.6)
        weight.assign(rng.uniform(low, high, weight.shape).astype(str(weight.dtype)))
    return model


def sequential(layers: Sequence[Any], width: int | None = 3, seed: int = 0) -> Any:
    """A Sequential of inputs (B, T, width), or of tokens (B, T)."""
    shape = (None,) if width is None else (None, width)
    return filled(keras.Sequential([L.Input(shape), *layers]), seed)


def run(model: Any, x: Array) -> Array:
    """What Keras computes in inference."""
    with_torch = model(keras.ops.convert_to_tensor(x), training=False)
    return np.array(keras.ops.convert_to_numpy(with_torch))
