"""Asks the service for a whole recording, then streams it frame by frame; the bits are the same."""

from __future__ import annotations

import io
import sys
from urllib.request import Request, urlopen

import numpy as np
from websockets.sync.client import connect

import gru


def predict(url: str, x: np.ndarray) -> np.ndarray:
    """Send one sequence as .npy, and read the answer as .npy."""
    body = io.BytesIO()
    np.save(body, x)
    request = Request(f"{url}/predict", body.getvalue(), {"content-type": "application/x-npy"})
    with urlopen(request) as response:
        return np.load(io.BytesIO(response.read()))


def stream(url: str, x: np.ndarray) -> np.ndarray:
    """Send one frame a message, as little-endian numbers, and read one answer each."""
    answers = []
    with connect(f"ws{url.removeprefix('http')}/stream") as socket:
        for frame in x.astype("<f4"):
            socket.send(frame.tobytes())
            answers.append(np.frombuffer(socket.recv(), "<f4"))
    return np.stack(answers)


def main(url: str = "http://127.0.0.1:8000") -> None:
    """Compare both, and say who speaks."""
    speech = gru.datasets.japanese_vowels()
    x = np.concatenate([speech.X_test[0], speech.X_test[-1]]).astype(np.float32)
    whole, steps = predict(url, x), stream(url, x)
    print(f"{len(x)} frames, the same bits: {np.array_equal(whole, steps)}")
    print("speakers:", *steps.argmax(axis=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
