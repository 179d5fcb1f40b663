"""How the gradient of a loss travels back through time, and by which way; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.diagnostics.units import Units, report
from gru.diagnostics.walk import Cell, as_model, cells_of, forward, one_batch, valid_steps
from gru.losses import Loss
from gru.objective import Objective
from gru.recurrent import Recurrent

__all__ = ["PARTS", "GradientFlow", "StateFlow", "gradient_flow"]

PARTS = ("total", "carried", "through", "direct")


@dataclass(frozen=True)
class StateFlow:
    """The gradient of the loss with respect to one state of one cell, after every step.

    ``total = carried + through + direct``, up to rounding. All four have shape (B, T, H) and are
    0 at steps that do not count. The index t is that of the step after which the state is
    taken; *later* steps are those that the cell reads later, so a backward direction has them at
    smaller t.

    Attributes
    ----------
    name : str
        The cell: the layer's number in the model and the end of its parameters' names, as in
        ``"0.l0_reverse"``.
    cell : str
        ``"gru"``, ``"lstm"`` or ``"rnn"``.
    state : str
        ``"h"``, or ``"c"`` for an LSTM's memory.
    total : ndarray
        dL/dh_t (or dL/dc_t): what all later steps and the output at t give.
    carried : ndarray
        What the next step hands back directly: GRU the share that the update gate keeps, an
        LSTM's c the forget gate's share, 0 for a plain RNN and for an LSTM's h. With zoneout, what
        it leaves as it was is carried too, in every cell.
    through : ndarray
        What the next step hands back through its gates and its candidate: all that it hands back
        without what is carried, and so in float32 right to 1e-7 of what is carried. Where it is
        a thousandth of that four digits are left, where a millionth one; a model in float64 has
        nine digits more.
    direct : ndarray
        What comes from the output at step t: of the loss, or of layers above.
    valid : ndarray of bool
        Shape (B, T): the steps that count.
    reverse : bool
        Whether the cell reads from the last step to the first.
    """

    name: str
    cell: str
    state: str
    total: Array
    carried: Array
    through: Array
    direct: Array
    valid: Array
    reverse: bool = False

    def norm(self, part: str = "total", *, per_sequence: bool = False) -> Array:
        """Return the norm of a part for every step back in time.

        Parameters
        ----------
        part : {"total", "carried", "through", "direct"}
            Which gradient.
        per_sequence : bool
            Whether to give each sequence its own norms.

        Returns
        -------
        ndarray of float64
            Shape (S,), or (B, S): entry k is the norm k steps before the last step that counts,
            in the order in which the cell reads; S is the number of steps of the longest
            sequence. The norm is the root of the sum of squares over units. Without
            ``per_sequence`` it is the root mean square over the sequences that have such a
            step; with it, nan where a sequence has none.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        if part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}")
        squares = (getattr(self, part).astype(np.float64) ** 2).sum(axis=2)
        back = _steps_back(self.valid, self.reverse)
        rows, _ = np.nonzero(self.valid)
        aligned = np.full(self.valid.shape, np.nan)
        aligned[rows, back[self.valid]] = squares[self.valid]
        aligned = aligned[:, : int(self.valid.sum(axis=1).max())]
        return np.asarray(np.sqrt(aligned if per_sequence else np.nanmean(aligned, axis=0)))

    def reach(self, floor: float = 1e-10) -> int:
        """Return how many steps back in time the gradient reaches.

        Parameters
        ----------
        floor : float
            What counts: this share of the largest norm, between 0 and 1.

        Returns
        -------
        int
            The most steps before the last one at which the norm is that large; 0 if the gradient
            is 0.

        Raises
        ------
        TypeError, ValueError
            If ``floor`` is no number between 0 and 1.
        """
        if not 0 < check.number("floor", floor) <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {floor}")
        norms = self.norm()
        return int(np.flatnonzero(norms >= floor * norms.max())[-1]) if norms.any() else 0


@dataclass(frozen=True)
class GradientFlow:
    """What :func:`gradient_flow` found; printing it gives a table.

    Attributes
    ----------
    loss : float
        Of the batch.
    states : tuple of StateFlow
        One for each direction of each stacked layer, in the order of the states; an LSTM's cell
        has two, h and c.
    units : tuple of Units
        The same cells' units: half-life, dead, saturated.
    """

    loss: float
    states: tuple[StateFlow, ...]
    units: tuple[Units, ...]

    @property
    def memory(self) -> tuple[StateFlow, ...]:
        """The states that each cell keeps its memory in: h, for an LSTM c."""
        return tuple(s for s in self.states if s.state == "c" or s.cell != "lstm")

    def __str__(self) -> str:
        """Show one line a cell."""
        lines = [
            f"loss {self.loss:.4g}",
            f"{'cell':<18} {'state':<5} {'last step':>10} {'first step':>10} "
            f"{'half-life':>10} {'dead':>7}  saturated",
        ]
        for state, unit in zip(self.memory, self.units, strict=True):
            norms, size = state.norm(), len(unit.half_life)
            shut = ", ".join(f"{g} {s.sum()}/{size}" for g, s in unit.saturated.items())
            lines.append(
                f"{state.name + ' ' + state.cell:<18} {state.state:<5} {norms[0]:>10.2e} "
                f"{norms[-1]:>10.2e} {np.median(unit.half_life):>10.3g} "
                f"{f'{unit.dead.sum()}/{size}':>7}  {shut}"
            )
        return "\n".join(lines)


def _steps_back(valid: Array, reverse: bool) -> Array:
    """For every step, how many steps that count the cell reads after it."""
    counts = np.cumsum(valid if reverse else valid[:, ::-1], axis=1) - 1
    return np.asarray(counts if reverse else counts[:, ::-1])


def _at_state(handed_back: Array, valid: Array, reverse: bool) -> Array:
    """Move what step t hands back to the state before step t, the one it belongs to."""
    if reverse:
        return _at_state(handed_back[:, ::-1], valid[:, ::-1], False)[:, ::-1]
    steps = valid.shape[1]
    number = np.where(valid, np.arange(steps), steps)
    after = np.full((len(valid), steps + 1), steps)  # after[:, t]: the next valid step from t on
    after[:, :steps] = np.minimum.accumulate(number[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([handed_back, np.zeros_like(handed_back[:, :1])], axis=1)
    moved = np.take_along_axis(padded, after[:, 1:, None], axis=1)
    return np.where(valid[..., None], moved, 0)


def _rest(total: Array, *parts: Array) -> Array:
    """Return what the parts leave of the total; what is within rounding of 0 is 0."""
    rest, size = total.copy(), np.abs(total)
    for part in parts:
        rest -= part
        size = size + np.abs(part)
    return np.where(np.abs(rest) <= 4 * np.finfo(total.dtype).eps * size, 0, rest)


def _states(cell: Cell, flow: dict[str, Array], valid: Array) -> list[StateFlow]:
    """Sort what the engine traced of one cell by the state that it belongs to."""

    def of(part: str) -> Array:
        values = flow[part][:, :, cell.row]
        return np.where(valid[..., None], values, 0)

    def moved(part: str) -> Array:
        return _at_state(of(part), valid, cell.reverse)

    def state(name: str, total: Array, carried: Array, through: Array, direct: Array) -> StateFlow:
        parts = {"total": total, "carried": carried, "through": through, "direct": direct}
        return StateFlow(cell.name, cell.kind, name, **parts, valid=valid, reverse=cell.reverse)

    h, carried, through = of("dh"), moved("carried"), moved("through")
    direct = _rest(h, carried, through)
    found = [state("h", h, carried, through, direct)]
    if cell.kind == "lstm":
        c, carried_c = of("dc"), moved("carried_c")
        # The rest of dL/dc_t comes by way of h_t, in the shares in which dL/dh_t does.
        rest = c - carried_c
        share = np.divide(direct, h, out=np.zeros_like(h), where=h != 0)
        found.append(state("c", c, carried_c, rest * (1 - share), rest * share))
    return found


def gradient_flow(
    model: Any,
    X: Any,
    y: Any,
    *,
    loss: str | Loss = "cross_entropy",
    lengths: Any = None,
    mask: Any = None,
) -> GradientFlow:
    r"""Trace the gradient of a loss back through the time of every recurrent layer.

    In a GRU that keeps the share :math:`k_t` of its state (z, or 1 - z with
    ``update_gate="new"``), :math:`h_t = k_t h_{t-1} + (1 - k_t) n_t` gives

    .. math:: \frac{dL}{dh_{t-1}} = \underbrace{k_t \frac{dL}{dh_t}}_{carried}
       + \underbrace{(\ldots)}_{through\ gates\ and\ candidate}
       + \underbrace{\frac{\partial L}{\partial y_{t-1}}}_{direct}

    In float32 numbers below about 1e-38 are 0, and norms that small mean nothing.

    What a plain RNN hands back goes through its candidate only, and vanishes or explodes (Bengio
    et al. 1994 [1]_); the carried part is what a gated cell adds.

    Parameters
    ----------
    model : Sequential or Recurrent
        A model with recurrent layers, or one such layer. Its layers run one by one as in
        training, dropout included: the masks are the layers' own next ones.
    X : array_like or sequence of array_like
        An array (B, T, I) or a list of arrays (T_i, I), as in :func:`gru.fit`: one batch.
    y : array_like
        Targets, as in :func:`gru.fit`.
    loss : str or callable
        A name in :data:`gru.losses.LOSSES`, or a function with their arguments and results.
    lengths, mask : array_like, optional
        Which steps of an array count; one or neither.

    Returns
    -------
    GradientFlow
        ``states`` with the gradients and their norms, ``units`` with half-lives, dead and
        saturated units.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or no step counts.

    References
    ----------
    .. [1] Y. Bengio, P. Simard and P. Frasconi, "Learning long-term dependencies with gradient
       descent is difficult", IEEE Transactions on Neural Networks 5 (1994) 157-166.

    Examples
    --------
    >>> import gru
    >>> X, y = gru.datasets.adding(16, 50, seed=0)
    >>> model = gru.Sequential([gru.RNN(2, 8, seed=0), gru.Last(), gru.Linear(8, 1, seed=0)])
    >>> flow = gru.diagnostics.gradient_flow(model, X, y, loss="mse")
    >>> norms = flow.states[0].norm()  # norms[k]: k steps before the last
    >>> norms.shape, bool(norms[49] < 1e-6 * norms[0])
    ((50,), True)
    """
    model = as_model(model)
    objective = Objective.of(loss)
    batch = one_batch(model, X, y, lengths, mask)
    valid = valid_steps(batch)
    prediction, tapes = forward(model, batch)
    measured = objective.measure(prediction, batch)
    gradient = measured.gradient
    states: list[StateFlow] = []
    for i, layer in reversed(list(enumerate(model.layers))):
        if isinstance(layer, Recurrent):
            gradient, _, _, flow = layer.backward_traced(tapes[i], gradient)
            cells = cells_of(i, layer)
            states[:0] = [state for cell in cells for state in _states(cell, flow, valid)]
        else:
            gradient, _ = layer.backward(tapes[i], gradient)
    return GradientFlow(measured.loss, tuple(states), report(model, batch))
