"""A trained PyTorch net runs here without PyTorch: its file is opened, run, and given back.

``python examples/convert_torch.py`` needs torch, to have a net to open and to compare with.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="as all examples have; this one is quick")
parser.parse_args()


class Tagger(torch.nn.Module):
    """Letters in, the class of the whole word out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(30, 16)
        self.encoder = torch.nn.GRU(16, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = torch.nn.Linear(64, 5)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """Return the logits of each word."""
        steps, _ = self.encoder(self.embedding(letters))
        return self.fc(steps.mean(dim=1))


net = Tagger().eval()
letters = np.random.default_rng(0).integers(0, 30, (8, 12))
with torch.no_grad():
    wanted = net(torch.from_numpy(letters)).numpy()

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tagger.pt"
    torch.save({"epoch": 7, "state_dict": net.state_dict()}, path)

    encoder = gru.load_torch(path, "encoder")  # one layer; its file says all but the order of parts
    print("one layer:", encoder)
    model = gru.load_torch(path, ["embedding", "encoder", gru.Mean(), "fc"])
    print("the model:", model)

print(f"largest difference from PyTorch: {np.abs(model(letters) - wanted).max():.1e}")

state = gru.to_torch(model, ["embedding", "encoder", "fc"])  # NumPy arrays by PyTorch's names
net.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
print(f"{len(state)} tensors went back, strict=True")
