"""The cells as plain functions of NumPy arrays: one layer, one direction; no math runs here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gru import _core, check
from gru._types import Array, State
from gru.layer import core_class
from gru.parameters import assign

__all__ = [
    "FunctionTape",
    "gru_backward",
    "gru_forward",
    "gru_forward_train",
    "lstm_backward",
    "lstm_forward",
    "lstm_forward_train",
    "rnn_backward",
    "rnn_forward",
    "rnn_forward_train",
]

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # the order of the parameter block


@dataclass(frozen=True)
class FunctionTape:
    """What a ``*_forward_train`` keeps for its ``*_backward``; opaque, may be used many times."""

    kind: str
    core: Any
    tape: _core.Tape


def _layer(kind: str, x: Array, arrays: tuple[Array | None, ...], **options: Any) -> Any:
    """Make an engine's layer with the dtype of x and the given parameters."""
    dtype = getattr(x, "dtype", None)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be a float32 or float64 array, got {dtype or type(x).__name__}")
    given = {
        name: check.array(name, value)
        for name, value in zip(NAMES, arrays, strict=True)
        if value is not None
    }
    for name in NAMES[:2]:
        if name not in given:
            raise TypeError(f"{name} must be a NumPy array, got None")
        if given[name].ndim != 2:
            raise ValueError(f"{name} must have two axes, got shape {given[name].shape}")
    if len(given) == 3:
        raise ValueError("bias_ih and bias_hh must be given together, or neither")
    spec: dict[str, Any] = {
        "kind": kind,
        "input_size": given["weight_ih"].shape[1],
        "hidden_size": given["weight_hh"].shape[1],
        "num_layers": 1,
        "direction": "reverse" if check.flag("reverse", options.pop("reverse")) else "forward",
        "bias": len(given) == 4,
        "dropout": 0.0,
        **options,
    }
    core = core_class(str(dtype))(cast("_core.LayerSpec", spec))
    for (name, value), view in zip(given.items(), core.parameters().values(), strict=True):
        assign(name, view, value)
    return core


def _forward(
    kind: str,
    x: Array,
    arrays: tuple[Array | None, ...],
    run: Mapping[str, Any],
    **options: Any,
) -> tuple[Array, State]:
    return cast(tuple[Array, State], _layer(kind, x, arrays, **options).forward(x, **run))


def _forward_train(
    kind: str,
    x: Array,
    arrays: tuple[Array | None, ...],
    run: Mapping[str, Any],
    **options: Any,
) -> tuple[Array, State, FunctionTape]:
    core = _layer(kind, x, arrays, **options)
    y, state, tape = core.forward_train(x, **run)
    return y, state, FunctionTape(kind, core, tape)


def _backward(
    kind: str, tape: FunctionTape, dy: Array | None, dstate: State | None
) -> dict[str, Any]:
    check.instance("tape", tape, FunctionTape, f"one of {kind}_forward_train")
    if tape.kind != kind:
        raise ValueError(f"tape must come from {kind}_forward_train, got one of {tape.kind}")
    dx, dstate, gradient = tape.core.backward(tape.tape, dy, dstate)
    return {
        "x": dx,
        "state": dstate,
        **dict(zip(NAMES, tape.core.views(gradient).values(), strict=False)),
    }


def gru_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: Array | None = None,
    lengths: Any = None,
    mask: Any = None,
    reset_after: bool = True,
    update_gate: str = "keep",
    reverse: bool = False,
) -> tuple[Array, Array]:
    """Run a GRU over whole sequences, for inference.

    The equations of the four forms and their sources stand in :class:`gru.GRU`. Weights are
    packed at every call: to serve many calls, use a frozen :class:`gru.GRU`.

    Parameters
    ----------
    x : ndarray
        Inputs (B, T, I), float32 or float64; all other arrays have its dtype.
    weight_ih, weight_hh : ndarray
        Shapes (3H, I) and (3H, H), rows in the order r, z, n.
    bias_ih, bias_hh : ndarray, optional
        Shape (3H,), both or neither.
    state : ndarray, optional
        Initial state (B, 1, H); zero if not given.
    lengths : array_like of int, optional
        Shape (B,): how many steps each sequence has.
    mask : array_like of bool, optional
        Shape (B, T): steps where it is False are skipped: the state is carried on, ``y`` is 0.
    reset_after, update_gate : bool, {"keep", "new"}
        The form of the cell.
    reverse : bool
        Read each sequence from its end.

    Returns
    -------
    y : ndarray
        The state after each step, (B, T, H).
    state : ndarray
        The final state, (B, 1, H).

    Raises
    ------
    TypeError
        If dtypes differ or are not float32 or float64.
    ValueError
        If a shape, a length or the mask does not fit.

    Examples
    --------
    >>> import numpy as np, gru
    >>> x = np.ones((2, 5, 3))
    >>> y, state = gru.gru_forward(x, np.full((12, 3), 0.1), np.full((12, 4), 0.1))
    >>> y.shape, state.shape
    ((2, 5, 4), (2, 1, 4))
    """
    y, final = _forward(
        "gru",
        x,
        (weight_ih, weight_hh, bias_ih, bias_hh),
        {"state": state, "lengths": lengths, "mask": mask},
        reset_after=reset_after,
        update_gate=update_gate,
        reverse=reverse,
    )
    return y, cast(Array, final)


def gru_forward_train(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: Array | None = None,
    lengths: Any = None,
    mask: Any = None,
    reset_after: bool = True,
    update_gate: str = "keep",
    reverse: bool = False,
) -> tuple[Array, Array, FunctionTape]:
    """Run a GRU as :func:`gru_forward` does and keep a tape: ``(y, state, tape)``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> y, state, tape = gru.gru_forward_train(
    ...     np.ones((2, 5, 3)), np.full((12, 3), 0.1), np.full((12, 4), 0.1))
    >>> sorted(gru.gru_backward(tape, np.ones_like(y)))
    ['state', 'weight_hh', 'weight_ih', 'x']
    """
    y, final, tape = _forward_train(
        "gru",
        x,
        (weight_ih, weight_hh, bias_ih, bias_hh),
        {"state": state, "lengths": lengths, "mask": mask},
        reset_after=reset_after,
        update_gate=update_gate,
        reverse=reverse,
    )
    return y, cast(Array, final), tape


def gru_backward(
    tape: FunctionTape, dy: Array | None, dstate: Array | None = None
) -> dict[str, Array]:
    """Return the gradients of a GRU's inputs.

    Parameters
    ----------
    tape : FunctionTape
        From :func:`gru_forward_train`.
    dy : ndarray or None
        Gradient of ``y``, (B, T, H); ``None`` is zero.
    dstate : ndarray, optional
        Gradient of the final state, (B, 1, H); zero if not given.

    Returns
    -------
    dict of str to ndarray
        Gradients of ``x``, ``state``, ``weight_ih``, ``weight_hh`` and, if there are biases,
        ``bias_ih`` and ``bias_hh``.

    Raises
    ------
    TypeError
        If the tape is no tape, or a dtype differs.
    ValueError
        If the tape is another cell's, or a shape does not fit.

    Examples
    --------
    See :func:`gru_forward_train`.
    """
    return _backward("gru", tape, dy, dstate)


def lstm_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: tuple[Array, Array] | None = None,
    lengths: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> tuple[Array, tuple[Array, Array]]:
    """Run an LSTM over whole sequences: ``(y, (h, c))``.

    As :func:`gru_forward`, with 4H rows in the order i, f, g, o and a pair of states (B, 1, H).
    The equations stand in :class:`gru.LSTM`.

    Examples
    --------
    >>> import numpy as np, gru
    >>> x = np.ones((2, 5, 3))
    >>> y, (h, c) = gru.lstm_forward(x, np.full((16, 3), 0.1), np.full((16, 4), 0.1))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 1, 4), (2, 1, 4))
    """
    run = {"state": state, "lengths": lengths, "mask": mask}
    arrays = (weight_ih, weight_hh, bias_ih, bias_hh)
    y, final = _forward("lstm", x, arrays, run, reverse=reverse)
    return y, cast(tuple[Array, Array], final)


def lstm_forward_train(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: tuple[Array, Array] | None = None,
    lengths: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> tuple[Array, tuple[Array, Array], FunctionTape]:
    """Run an LSTM as :func:`lstm_forward` does and keep a tape: ``(y, (h, c), tape)``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> y, state, tape = gru.lstm_forward_train(
    ...     np.ones((2, 5, 3)), np.full((16, 3), 0.1), np.full((16, 4), 0.1))
    >>> gru.lstm_backward(tape, np.ones_like(y))["weight_ih"].shape
    (16, 3)
    """
    run = {"state": state, "lengths": lengths, "mask": mask}
    arrays = (weight_ih, weight_hh, bias_ih, bias_hh)
    y, final, tape = _forward_train("lstm", x, arrays, run, reverse=reverse)
    return y, cast(tuple[Array, Array], final), tape


def lstm_backward(
    tape: FunctionTape, dy: Array | None, dstate: tuple[Array, Array] | None = None
) -> dict[str, Any]:
    """Return the gradients of an LSTM's inputs, as :func:`gru_backward` does.

    ``dstate`` and the entry ``state`` of the result are pairs (of h and c).

    Examples
    --------
    See :func:`lstm_forward_train`.
    """
    return _backward("lstm", tape, dy, dstate)


def rnn_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: Array | None = None,
    lengths: Any = None,
    mask: Any = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[Array, Array]:
    """Run a plain RNN over whole sequences: ``(y, state)``.

    As :func:`gru_forward`, with H rows; ``nonlinearity`` is "tanh" or "relu".

    Examples
    --------
    >>> import numpy as np, gru
    >>> x = np.ones((2, 5, 3))
    >>> y, state = gru.rnn_forward(x, np.full((4, 3), 0.1), np.full((4, 4), 0.1))
    >>> y.shape, state.shape
    ((2, 5, 4), (2, 1, 4))
    """
    run = {"state": state, "lengths": lengths, "mask": mask}
    arrays = (weight_ih, weight_hh, bias_ih, bias_hh)
    y, final = _forward("rnn", x, arrays, run, nonlinearity=nonlinearity, reverse=reverse)
    return y, cast(Array, final)


def rnn_forward_train(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    state: Array | None = None,
    lengths: Any = None,
    mask: Any = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> tuple[Array, Array, FunctionTape]:
    """Run a plain RNN as :func:`rnn_forward` does and keep a tape: ``(y, state, tape)``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> y, state, tape = gru.rnn_forward_train(
    ...     np.ones((2, 5, 3)), np.full((4, 3), 0.1), np.full((4, 4), 0.1))
    >>> gru.rnn_backward(tape, np.ones_like(y))["state"].shape
    (2, 1, 4)
    """
    run = {"state": state, "lengths": lengths, "mask": mask}
    arrays = (weight_ih, weight_hh, bias_ih, bias_hh)
    y, final, tape = _forward_train(
        "rnn", x, arrays, run, nonlinearity=nonlinearity, reverse=reverse
    )
    return y, cast(Array, final), tape


def rnn_backward(
    tape: FunctionTape, dy: Array | None, dstate: Array | None = None
) -> dict[str, Array]:
    """Return the gradients of a plain RNN's inputs, as :func:`gru_backward` does.

    Examples
    --------
    See :func:`rnn_forward_train`.
    """
    return _backward("rnn", tape, dy, dstate)
