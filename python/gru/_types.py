"""Names for the array types that signatures share; knows nothing else."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Array", "State"]

Array: TypeAlias = NDArray[Any]
# A GRU or RNN state is one array (B, N*D, H); an LSTM's is the pair (h, c).
State: TypeAlias = Array | tuple[Array, Array]
