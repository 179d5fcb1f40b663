"""A reproducible sequence of seeds; does not know what is drawn with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gru import check

__all__ = ["Seeds"]


class Seeds(Iterator[int]):
    """Seeds of 63 bits that follow from one root, for dropout masks that differ call by call.

    Parameters
    ----------
    root : int or None
        Equal roots give equal sequences; ``None`` takes one from the operating system.

    Raises
    ------
    TypeError, ValueError
        If the root is no integer or below 0; it is called ``seed``, as everywhere outside.

    Examples
    --------
    >>> first, second = Seeds(7), Seeds(7)
    >>> next(first) == next(second), next(first) == next(first)
    (True, False)
    """

    def __init__(self, root: int | None = None) -> None:
        self._root: Any = check.seed(root)
        self._drawn = 0

    def __next__(self) -> int:
        """Return the next seed."""
        if self._root is None:  # not before it is needed: numpy.random takes 20 ms to import
            self._root = np.random.SeedSequence().entropy
        from hashlib import blake2b  # 4 ms to import, and a service never draws

        self._drawn += 1
        key = f"{self._root} {self._drawn}".encode()
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "little") >> 1
