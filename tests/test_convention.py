"""The sentence that says how a system stores a layer and what the layer computes."""

from __future__ import annotations

import re
from typing import Any

import pytest

import gru
from gru.convert.convention import convention

SAID = [
    ("torch", gru.GRU(2, 3), "PyTorch GRU: gates in the order r z n; the reset gate acts after"),
    ("keras", gru.GRU(2, 3, reset_after=False), "Keras GRU: gates in the order z r h; .* before"),
    ("onnx", gru.GRU(2, 3, update_gate="new"), "ONNX GRU: .*z r h.* near 1 takes the new one"),
    ("torch", gru.LSTM(2, 3), "PyTorch LSTM: gates in the order i f g o"),
    ("keras", gru.LSTM(2, 3), "Keras LSTM: gates in the order i f c o"),
    ("onnx", gru.LSTM(2, 3), "ONNX LSTM: gates in the order i o f c"),
    ("onnx", gru.RNN(2, 3, nonlinearity="relu"), "ONNX RNN: relu, no gates"),
    ("keras", gru.Linear(2, 3), "Keras: no recurrent layer"),
]


@pytest.mark.parametrize(("system", "layer", "said"), SAID)
def test_what_is_said(system: str, layer: Any, said: str) -> None:
    sentence = convention(system, [layer, layer])
    assert sentence.count(".") == 1, "the same thing is said once"
    assert re.match(said, sentence), sentence
