"""A text of 1.6 million characters in the public domain, taken from a Debian package; no model.

It is the Jargon File 4.4.7, whose licence reads: "This document (the Jargon File) is in the public
domain, to be freely used, shared, and modified."
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "jargon-text"
INSIDE = Path("usr/share/doc/jargon-text/jargon.txt.gz")
PLAIN = str.maketrans("\u201c\u201d\u2018\u2019\u2013\u2014", "\"\"''--")  # quotes and dashes


@dataclass(frozen=True)
class Text:
    """Characters as numbers, and the characters that these stand for."""

    symbols: NDArray[np.int64]
    alphabet: str


def download(target: Path) -> str:
    """Get the package and take the text out; return why that did not work, or nothing."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        got = subprocess.run(
            ["apt-get", "download", PACKAGE], cwd=folder, capture_output=True, text=True
        )
        packages = list(Path(folder).glob("*.deb"))
        if got.returncode or not packages:
            last = (got.stderr.strip() or "no file").splitlines()[-1]
            return f"apt-get download {PACKAGE}: {last}"
        subprocess.run(["dpkg-deb", "-x", packages[0], folder], check=True)
        shutil.move(Path(folder) / INSIDE, target)
    return ""


def fold(whole: str) -> Text:
    """Keep the characters of ASCII; typographic quotes and dashes become plain ones."""
    kept = whole.translate(PLAIN).encode("ascii", "ignore")
    alphabet, symbols = np.unique(np.frombuffer(kept, np.uint8), return_inverse=True)
    return Text(symbols.astype(np.int64), alphabet.tobytes().decode("ascii"))


def load(cache: Path) -> tuple[Text | None, str]:
    """Return the text, downloaded once, or why there is none."""
    path = cache / INSIDE.name
    problem = "" if path.is_file() else download(path)
    if problem:
        return None, problem
    return fold(gzip.decompress(path.read_bytes()).decode("utf-8")), ""


def describe(text: Text) -> dict[str, Any]:
    """Return what a report says about it."""
    return {"package": PACKAGE, "characters": len(text.symbols), "alphabet": len(text.alphabet)}
