"""A trained Keras model runs here without Keras: its file is opened, whole or in parts, and run.

``python examples/convert_keras.py`` needs keras and torch, which it runs on, to have a model to
open and to compare with. Opening takes neither of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

import gru

os.environ.setdefault("KERAS_BACKEND", "torch")
warnings.filterwarnings("ignore", "__array__", DeprecationWarning)  # of Keras's way to NumPy
import keras  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="as all examples have; this one is quick")
parser.parse_args()

layers = keras.layers
net = keras.Sequential(
    [
        layers.Input((None,), dtype="int32"),
        layers.Embedding(30, 16, mask_zero=True),  # 0 fills up the shorter words
        layers.Bidirectional(layers.GRU(32, return_sequences=True), name="reader"),
        layers.BatchNormalization(),
        layers.LSTM(24, name="whole_word"),
        layers.Dense(5, activation="softmax"),
    ]
)
words = np.random.default_rng(0).integers(1, 30, (8, 12))
words[:4, 7:] = 0
wanted = net.predict(words, verbose=0)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tagger.keras"
    net.save(path)
    model = gru.load_keras(path)  # the whole chain, with the same masks
    parts = gru.load_keras_layers(path)  # its recurrent layers, whatever else a model holds
    net.save_weights(Path(folder) / "tagger.weights.h5")
    # Weights alone do not say that the gates are sigmoid and the candidate is tanh.
    numbers = gru.load_keras_layers(Path(folder) / "tagger.weights.h5", standard=True)

print("the model:", model)
print("its parts:", parts)
print("from weights alone:", list(numbers))
print(f"largest difference from Keras: {np.abs(model(words) - wanted).max():.1e}")
