"""First values of parameters, drawn from a NumPy generator; knows names and shapes, not layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gru import check
from gru._types import Array

__all__ = ["INITIALISERS", "initialise"]

Initialiser = Callable[["np.random.Generator", tuple[int, int]], Array]


def _glorot(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Draw U(-a, a) with a = sqrt(6 / (rows + columns)) (Glorot and Bengio 2010)."""
    bound = np.sqrt(6.0 / sum(shape))
    return rng.uniform(-bound, bound, shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Draw a matrix with orthonormal rows or columns, uniformly (Saxe et al. 2014)."""
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without the signs q would not be uniform
    return q if rows >= columns else q.T


# name -> (input weights, recurrent weights); "uniform" has one bound for all and is not here.
INITIALISERS: dict[str, tuple[Initialiser, Initialiser]] = {
    "glorot": (_glorot, _glorot),
    "orthogonal": (_glorot, _orthogonal),
}


def initialise(
    parameters: Mapping[str, Array],
    rng: np.random.Generator,
    init: str,
    *,
    bound: float,
    block: int | None = None,
) -> None:
    """Fill parameters in place.

    Parameters
    ----------
    parameters : mapping of str to ndarray
        Writable arrays by name; a name holding ``hh`` is recurrent.
    rng : numpy.random.Generator
        The source of all numbers; they are drawn in float64, so both dtypes start alike.
    init : {"uniform", "orthogonal", "glorot"}
        ``uniform`` draws weights and biases from U(-bound, bound), as PyTorch does.
        ``glorot`` draws weights from U(-a, a), a = sqrt(6 / (in + out)) [1]_; ``orthogonal``
        does so for input weights and draws orthogonal recurrent ones [2]_; both leave biases
        zero. The gains of layer normalisation, ``norm_...``, are 1 in all.
    bound : float
        The half width of ``uniform``.
    block : int, optional
        Rows of one gate: matrices are drawn gate by gate. All rows at once if not given.

    Raises
    ------
    TypeError, ValueError
        If ``init`` is unknown.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010.
    .. [2] A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of
       learning in deep linear neural networks", ICLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> weights = {"weight_hh_l0": np.empty((6, 2))}
    >>> initialise(weights, np.random.default_rng(0), "orthogonal", bound=1.0, block=2)
    >>> gate = weights["weight_hh_l0"][:2]
    >>> bool(np.allclose(gate @ gate.T, np.eye(2)))
    True
    """
    if check.text("init", init) != "uniform" and init not in INITIALISERS:
        known = ", ".join(repr(name) for name in ("uniform", *INITIALISERS))
        raise ValueError(f"init must be one of {known}, got {init!r}")
    for name, array in parameters.items():
        if name.startswith("norm"):
            array[...] = 1.0
        elif init == "uniform":
            array[...] = rng.uniform(-bound, bound, array.shape)
        elif array.ndim == 1:
            array[...] = 0.0
        else:
            draw = INITIALISERS[init]["hh" in name]
            rows = block or array.shape[0]
            for start in range(0, array.shape[0], rows):
                array[start : start + rows] = draw(rng, (rows, array.shape[1]))
