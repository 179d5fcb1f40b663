"""A model of gru goes to ONNX, where ONNX Runtime runs it, and comes back with the same bits.

``python examples/convert_onnx.py`` takes some seconds and needs ``onnxruntime``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()

speech = gru.datasets.japanese_vowels()
layers = [gru.GRU(12, 32, seed=0), gru.Linear(32, 9, seed=1)]
trained = gru.Sequential([layers[0], gru.Last(), layers[1]])
epochs = 1 if options.quick else 30
gru.fit(trained, speech.X_train, speech.y_train, epochs=epochs, verbose=False)
model = gru.Sequential([*layers, gru.Activation("softmax")])  # who speaks, after every step

x = speech.X_test[0][None].astype(np.float32)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "speaker.onnx"
    gru.export(model, path)  # opset=, lengths= and states= say more
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": x})[0]
    back = gru.load(path)  # a whole chain of layers
    alone = gru.load_onnx_node(path)  # or one recurrent node of any graph

print("the model:", back)
print("its recurrent node:", alone)
print("back with the same bits:", np.array_equal(back(x), model(x)))
print(f"largest difference from ONNX Runtime: {np.abs(wanted - model(x)).max():.1e}")
