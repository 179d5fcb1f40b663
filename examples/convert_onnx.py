"""A GRU goes to ONNX, where onnxruntime runs it, and comes back with the same bits.

``python examples/convert_onnx.py`` takes some seconds and writes ``convert_onnx.png``: who speaks,
as the model hears more of a recording (needs matplotlib; onnxruntime too if it is to be compared).
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import gru
from gru.convert.onnx_graph import load_onnx
from gru.convert.onnx_nodes import load_onnx_node
from gru.convert.onnx_write import to_onnx

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="convert_onnx.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()

speech = gru.datasets.japanese_vowels()
layers = [gru.GRU(12, 32, seed=0), gru.Linear(32, 9, seed=1)]
trained = gru.Sequential([layers[0], gru.Last(), layers[1]])
epochs = 1 if options.quick else 30
gru.fit(trained, speech.X_train, speech.y_train, epochs=epochs, verbose=False)
model = gru.Sequential([*layers, gru.Activation("softmax")])  # the answer after every step

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "speaker.onnx"
    path.write_bytes(to_onnx(model))  # opset=, lengths= and states= say more
    back = load_onnx(path)  # a whole chain of layers
    alone = load_onnx_node(path)  # or one recurrent node of any graph
    content = path.read_bytes()

x = speech.X_test[0][None].astype(np.float32)
y = model(x)
print(f"{back}\nhas the same bits: {np.array_equal(back(x), y)}; its recurrent node: {alone}")

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(y[0])
axes.set(xlabel="step", ylabel="probability of each speaker", title="gru")
if find_spec("onnxruntime"):
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x})[0]
    print(f"onnxruntime differs by at most {np.abs(theirs - y).max():.1e}")
    axes.set_prop_cycle(None)
    axes.plot(theirs[0], "o", markersize=3)
    axes.set_title("gru (lines) and onnxruntime (dots) run one file")
figure.savefig(options.out)
print(f"wrote {options.out}")
