"""What JSON can hold, out of what other code gives; knows no object and no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["plain", "settled"]


def plain(name: str, value: Any) -> Any:
    """Return a value as JSON has it, NumPy's numbers as Python's and tuples as lists.

    Raises
    ------
    TypeError
        If JSON cannot hold a part of it, which is named.

    Examples
    --------
    >>> import numpy as np
    >>> plain("state", {"best": np.float32(0.5), "at": (1, 2)})
    {'best': 0.5, 'at': [1, 2]}
    >>> plain("state", {"rows": [{3}]})
    Traceback (most recent call last):
    ...
    TypeError: state['rows'][0] must be what JSON can hold, got set
    """
    scalar = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, Mapping):
        for key in scalar:
            if not isinstance(key, str):
                raise TypeError(f"{name} must have strings as keys, as in JSON, got {key!r}")
        return {str(key): plain(f"{name}[{key!r}]", entry) for key, entry in scalar.items()}
    if isinstance(scalar, (list, tuple)):
        return [plain(f"{name}[{i}]", entry) for i, entry in enumerate(scalar)]
    if scalar is None or isinstance(scalar, (bool, int, float, str)):
        return scalar
    raise TypeError(f"{name} must be what JSON can hold, got {type(value).__name__}")


def settled(value: Any) -> str:
    """Return a text that is the same for equal settings: 1, 1.0 and NumPy's 1.

    Examples
    --------
    >>> import numpy as np
    >>> settled({np.int64(3): 1.0, 0: np.float32(0.5)}), settled(True), settled("balanced")
    ('{0: 0.5, 3: 1}', 'True', "'balanced'")
    """
    scalar = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, float) and scalar.is_integer():
        return repr(int(scalar))
    if isinstance(scalar, Mapping):
        shown = sorted(f"{settled(key)}: {settled(entry)}" for key, entry in scalar.items())
        return f"{{{', '.join(shown)}}}"
    return repr(scalar)
