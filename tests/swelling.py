"""Opens the files of swollen.py, each in a process of its own, and says how much memory that took.

``python swelling.py FOLDER`` writes them there and prints, as JSON, what became of each, its size
and by how much the memory of its process grew at most, beyond what a file of a few bytes takes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import opens, reader_of
from swollen import COMMITTED, files

# A whole file of each kind, opened beforehand: what its reader itself takes.
WHOLE = (
    "torch.pt",
    "torch.safetensors",
    "gru.safetensors",
    "model.keras",
    "model.weights.h5",
    "model.onnx",
)


def grown(folder: Path, name: str, content: Callable[[], bytes]) -> tuple[str, int, int]:
    """What became of a file, its size, and by how much memory grew in a child of this process.

    Another child makes the content, so that this process keeps no memory that could be used again.
    """
    path = folder / name
    in_child(lambda: path.write_bytes(content()))

    def measure() -> list[Any]:
        Path("/proc/self/clear_refs").write_text("5")  # the most that was resident, from now on
        before = peak()
        return [outcome(path), peak() - before]

    what, most = in_child(measure) or ("died", 0)
    size = path.stat().st_size
    path.unlink()
    return what, size, most


def outcome(path: Path) -> str:
    """The message without the file, "model", or what no reader may raise."""
    try:
        reader_of(path)(path)
    except (ValueError, OSError) as error:
        return str(error).replace(str(path), "")
    except BaseException as error:
        return f"died of {type(error).__name__}: {error}"
    return "model"


def in_child(work: Callable[[], Any]) -> Any:
    """What a function returns in a child that begins as we are; ``None`` if the child died."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def peak() -> int:
    """The most bytes that were resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Open them all."""
    folder = Path(sys.argv[1])
    for name in WHOLE:
        opens(COMMITTED / name, reader_of(COMMITTED / name))
    nothing = grown(folder, "nothing.onnx", lambda: b"nothing")[2]
    found = {}
    for name, content in files():
        what, size, most = grown(folder, name, content)
        found[name] = [what, size, max(most - nothing, 0)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
