"""The command line, ``python -m gru COMMAND``; the commands themselves are in ``gru.cli``."""

from __future__ import annotations

import sys

from gru.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main(sys.argv[1:])
