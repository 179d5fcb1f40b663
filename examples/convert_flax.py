"""A Flax GRU runs here without JAX: its parameters are a nested dict, and that is all it takes.

``python examples/convert_flax.py`` needs flax, to have parameters to take and to compare with.
"""

from __future__ import annotations

import argparse

import jax
import numpy as np
from flax import linen

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="as all examples have; this one is quick")
parser.parse_args()

net = linen.Bidirectional(linen.RNN(linen.GRUCell(16)), linen.RNN(linen.GRUCell(16)))
x = np.random.default_rng(0).normal(size=(4, 20, 8)).astype(np.float32)
params = net.init(jax.random.PRNGKey(0), x)

layer = gru.from_flax(params)
y, state = layer(x)
print("the layer:", layer)
print(f"largest difference from Flax: {np.abs(y - net.apply(params, x)).max():.1e}")

stream = gru.from_flax(params["params"]["forward_rnn"]).stream(batch=4)  # one direction, live
for step in range(20):
    h = stream.step(x[:, step])
print(f"and step by step: {np.abs(h - y[:, -1, :16]).max():.1e}")
