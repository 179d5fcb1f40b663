"""``python -m gru demo``: trains, compares, saves, loads in a fresh process, streams."""

from __future__ import annotations

from gru.demo.run import run

__all__ = ["run"]
