"""Says what an imported model was read from, and how near it comes; knows no format."""

from __future__ import annotations

from typing import Any

import gru
from gru.convert import outputs, source

__all__ = ["KEYS", "found", "lines"]

KEYS = (source.KEY, outputs.KEY)  # of the metadata: shown here, not as they are


def found(model: gru.Sequential, path: str) -> dict[str, Any]:
    """Return the source of a model and the comparison with it, as JSON has them.

    Raises
    ------
    ValueError
        If the model's metadata hold something else there, or its outputs differ.
    """
    compared = outputs.compare(model, path)
    checked = None if compared is None else compared._asdict()
    return {"source": source.noted(model.metadata), "source_check": checked}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the same for people: nothing for a model that was made here."""
    origin = found["source"]
    if origin is None:
        return []
    return [
        "",
        f"source: {origin['file']}, {origin['format']}, sha256 {origin['sha256'][:16]}...",
        f"convention: {origin['convention']}",
        "found",
        *(f"  {line}" for line in origin["found"]),
        f"source check: {_compared(found['source_check'])}",
    ]


def _compared(check: dict[str, Any] | None) -> str:
    if check is None:
        return "does not apply, the weights are no longer those of the source"
    size = f"largest difference {check['difference']:.2g}, allowed is {check['tolerance']:.2g}"
    if check["by"] is None:
        return f"{check['reason']}; compared with what gru gave when it was read: {size}"
    return f"{check['by']} gives the same outputs; {size}"
