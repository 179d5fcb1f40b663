"""How long each unit remembers, and which units do nothing; knows no gradient and no picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Batch
from gru.diagnostics.walk import Cell, as_model, cells_of, one_batch, traces, valid_steps
from gru.model import Sequential

__all__ = ["Units", "half_life", "keep_gate", "report", "units"]

# The gates whose saturation says something, by cell; the RNN's candidate takes their place.
GATES = {"gru": ("r", "z"), "lstm": ("i", "f", "o"), "rnn": ("n",)}
NEAR = 0.1  # a gate below this or above 1 minus this is saturated, as in Karpathy et al. 2015


@dataclass(frozen=True)
class Units:
    """What the H units of one cell did over all steps that count.

    Attributes
    ----------
    name : str
        The cell: the layer's number in the model and the end of its parameters' names, as in
        ``"0.l0_reverse"``.
    cell : str
        ``"gru"``, ``"lstm"`` or ``"rnn"``.
    half_life : ndarray
        Shape (H,), in steps; see :func:`half_life`. 0 for a plain RNN, which carries nothing.
    deviation : ndarray
        Shape (H,): standard deviation of h over sequences and steps.
    saturation : dict of str to ndarray
        For each gate, shape (H,): the share of steps at which it lies below 0.1 or above 0.9.
        A GRU has r and z, an LSTM i, f and o. A plain tanh RNN has n = h itself, which counts as
        saturated below -0.8 and above 0.8; one with ReLU has none.
    dead_below, saturated_above : float
        The limits of :attr:`dead` and :attr:`saturated`.
    """

    name: str
    cell: str
    half_life: Array
    deviation: Array
    saturation: dict[str, Array]
    dead_below: float
    saturated_above: float

    @property
    def dead(self) -> Array:
        """Which units hardly vary: deviation below ``dead_below``; bool (H,)."""
        return np.asarray(self.deviation < self.dead_below)

    @property
    def saturated(self) -> dict[str, Array]:
        """For each gate, the units saturated in more than that share of steps; bool (H,)."""
        return {gate: share > self.saturated_above for gate, share in self.saturation.items()}


def half_life(keep: Any, valid: Any = None) -> Array:
    r"""Return the steps after which half of a unit's state is left, if only the gate acts.

    A gate that keeps the share :math:`k_t` of the state in step t leaves :math:`\prod k_t`. Over n
    steps that is the geometric mean to the power n, so the half-life is
    :math:`\log(1/2) / \overline{\log k}`.

    Parameters
    ----------
    keep : array_like
        Shape (B, T, H), from 0 to 1: for a GRU with ``update_gate="keep"`` z, with ``"new"``
        1 - z; for an LSTM the forget gate.
    valid : array_like of bool, optional
        Shape (B, T): the steps that count; all if not given.

    Returns
    -------
    ndarray of float64
        Shape (H,), in steps: 0 where a gate was once shut, infinite where it was always wide
        open, nan if no step counts.

    Raises
    ------
    TypeError, ValueError
        If an array holds something else, or the shapes do not fit.

    Examples
    --------
    >>> import numpy as np, gru
    >>> half_life = gru.diagnostics.half_life(np.full((2, 5, 1), 0.5 ** (1 / 20)))
    >>> round(float(half_life[0]), 6)
    20.0
    """
    keep = check.numbers("keep", keep).astype(np.float64)
    if keep.ndim != 3:
        raise ValueError(f"keep must have shape (B, T, H), got {keep.shape}")
    if not ((keep >= 0) & (keep <= 1)).all():
        raise ValueError("keep must lie in [0, 1]")
    there = np.ones(keep.shape[:2], bool) if valid is None else check.array("valid", valid)
    if there.dtype != bool or there.shape != keep.shape[:2]:
        raise ValueError(
            f"valid must be bool of shape (B, T) = {keep.shape[:2]}, "
            f"got {there.dtype} of shape {there.shape}"
        )
    if not there.any():
        return np.full(keep.shape[2], np.nan)
    with np.errstate(divide="ignore"):  # a shut gate keeps nothing, an open one all
        return np.asarray(np.log(2.0) / np.abs(np.log(keep[there]).mean(axis=0)))


def keep_gate(cell: Cell, trace: dict[str, Array]) -> Array:
    """Return the share of its state that each unit carries over, (B, T, H).

    Examples
    --------
    >>> import numpy as np, gru
    >>> from gru.diagnostics.walk import cells_of
    >>> layer = gru.GRU(2, 3, update_gate="new", seed=0)
    >>> trace = layer.trace(np.zeros((1, 4, 2), np.float32))
    >>> bool(np.allclose(keep_gate(cells_of(0, layer)[0], trace), 1 - trace["z"][:, :, 0]))
    True
    """
    if cell.kind == "lstm":
        return np.asarray(trace["f"][:, :, cell.row])
    if cell.kind == "rnn":
        return np.zeros_like(trace["h"][:, :, cell.row])
    z = trace["z"][:, :, cell.row]
    return np.asarray(z if cell.layer.spec["update_gate"] == "keep" else 1 - z)


def _saturation(cell: Cell, trace: dict[str, Array], valid: Array) -> dict[str, Array]:
    """For each gate the share of steps at which it is near 0 or 1."""
    shares = {}
    if cell.layer.spec.get("nonlinearity") == "relu":
        return {}
    for gate in GATES[cell.kind]:
        values = trace[gate][:, :, cell.row][valid]
        if cell.kind == "rnn":
            values = (values + 1) / 2
        shares[gate] = ((values < NEAR) | (values > 1 - NEAR)).mean(axis=0)
    return shares


def units(
    model: Any,
    X: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    dead_below: float = 1e-3,
    saturated_above: float = 0.9,
) -> tuple[Units, ...]:
    """Run a model over sequences and report how long its units remember and which are idle.

    Parameters
    ----------
    model : Sequential or Recurrent
        A model with recurrent layers, or one such layer. It runs as in inference.
    X : array_like or sequence of array_like
        An array (B, T, I) or a list of arrays (T_i, I), as in :func:`gru.fit`.
    lengths, mask : array_like, optional
        Which steps of an array count; one or neither.
    dead_below : float
        A unit is dead if the standard deviation of its h over all steps lies below this.
    saturated_above : float
        A gate of a unit is saturated if it lies below 0.1 or above 0.9 (Karpathy et al. 2015
        [1]_) in more than this share of the steps.

    Returns
    -------
    tuple of Units
        One for each direction of each stacked layer, in the order of the states.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or no step counts.

    References
    ----------
    .. [1] A. Karpathy, J. Johnson and L. Fei-Fei, "Visualizing and understanding recurrent
       networks", 2015, arXiv:1506.02078.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.GRU(2, 3, seed=0)
    >>> layer.parameters["bias_ih_l0"][3:6] = [0, 3, 6]  # z near 1 keeps
    >>> (report,) = gru.diagnostics.units(layer, np.zeros((1, 50, 2)))
    >>> bool((np.diff(report.half_life) > 5).all()), report.saturated["z"].tolist()
    (True, [False, True, True])
    """
    model = as_model(model)
    limits = (
        check.number("dead_below", dead_below),
        check.number("saturated_above", saturated_above),
    )
    return report(model, one_batch(model, X, None, lengths, mask), *limits)


def report(
    model: Sequential,
    batch: Batch,
    dead_below: float = 1e-3,
    saturated_above: float = 0.9,
) -> tuple[Units, ...]:
    """Do the work of :func:`units` on one batch that is checked."""
    valid = valid_steps(batch)
    return tuple(
        Units(
            cell.name,
            cell.kind,
            half_life(keep_gate(cell, trace), valid),
            trace["h"][:, :, cell.row][valid].std(axis=0, dtype=np.float64),
            _saturation(cell, trace, valid),
            dead_below,
            saturated_above,
        )
        for i, layer, trace in traces(model, batch)
        for cell in cells_of(i, layer)
    )
