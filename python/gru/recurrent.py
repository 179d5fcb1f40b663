"""What layers with a state share: calls that take and return it; knows no cell."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from numpy.typing import DTypeLike

from gru import _core, check
from gru._types import Array, State
from gru.layer import Layer, SpecField, dtype_name

__all__ = ["Plan", "Recurrent"]

SIZES = {
    "input_size": check.LARGEST_SIZE,
    "hidden_size": check.LARGEST_SIZE,
    "num_layers": check.MOST_LAYERS,
}
FLAGS = {"bias", "reset_after", "layer_norm"}
MOST_THREADS = 1024


def _direction(bidirectional: bool, reverse: bool) -> str:
    if bidirectional and reverse:
        raise ValueError("reverse must be False for a bidirectional layer: it has both")
    return "both" if bidirectional else "reverse" if reverse else "forward"


class Plan(NamedTuple):
    """How a call is spread over threads. None of it shows in the results.

    Attributes
    ----------
    threads : int
        Threads that run the steps.
    slices : int
        Parts the batch is cut into; slices and directions are independent of each other.
    members : int
        Threads that share the hidden units of one slice and meet at every step.
    available : int
        Threads the call may use.
    reason : str
        Why, in a sentence.

    Examples
    --------
    >>> import gru
    >>> gru.GRU(8, 8).plan(batch=1, steps=1, threads=4).reason
    'too little work: a second thread would cost more than it saves'
    """

    threads: int
    slices: int
    members: int
    available: int
    reason: str


class Recurrent(Layer):
    """What the three recurrent layers share: calls that take and return a state."""

    input_size = SpecField[int]("Features of one input step, I.")
    hidden_size = SpecField[int]("Hidden units of one direction, H.")
    num_layers = SpecField[int]("Layers stacked on each other, N.")
    bias = SpecField[bool]("Whether the cells have biases.")
    dropout = SpecField[float]("Rate of dropout between stacked layers while training.")
    input_dropout = SpecField[float]("Rate of dropout of the input, one mask a sequence.")
    recurrent_dropout = SpecField[float]("Rate of dropout of U's operand, one mask a sequence.")
    zoneout = SpecField[float]("Rate of units that keep their old state at a step.")

    def _make(
        self,
        spec: dict[str, Any],
        bidirectional: bool,
        reverse: bool,
        dtype: DTypeLike,
        seed: int | None,
        init: str,
    ) -> None:
        for name, high in SIZES.items():
            spec[name] = check.integer(name, spec[name], 1, high)
        for name in FLAGS & spec.keys():
            spec[name] = check.flag(name, spec[name])
        spec["direction"] = _direction(
            check.flag("bidirectional", bidirectional), check.flag("reverse", reverse)
        )
        self._setup(spec, dtype_name(dtype), seed)
        self._initialise(seed, init, self.hidden_size**-0.5, self.hidden_size)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"dropout acts between stacked layers and num_layers is 1: "
                f"dropout={self.dropout} drops nothing",
                UserWarning,
                stacklevel=3,
            )

    @property
    def bidirectional(self) -> bool:
        """Whether a second set of cells reads each sequence from its end."""
        return bool(self._spec["direction"] == "both")

    @property
    def reverse(self) -> bool:
        """Whether each sequence is read from its last valid step to its first."""
        return bool(self._spec["direction"] == "reverse")

    def __call__(
        self, x: Array, state: State | None = None, *, lengths: Any = None, mask: Any = None
    ) -> tuple[Array, State]:
        """Run over whole sequences, for inference.

        Parameters
        ----------
        x : ndarray
            Shape (B, T, I), of the layer's dtype.
        state : ndarray or pair of ndarray, optional
            The initial state, shape (B, N*D, H); an LSTM's is the pair ``(h, c)``. Zero if not
            given. PyTorch has the first two axes the other way round, (N*D, B, H): such a state
            is refused, except where B equals N*D. There both orders have one shape, nothing tells
            them apart, and the state is read as (B, N*D, H): swap the axes yourself.
        lengths : array_like of int, optional
            Shape (B,): how many steps each sequence has; the rest is skipped.
        mask : array_like of bool, optional
            Shape (B, T): steps where it is False are skipped: the state is carried on, ``y`` is 0.

        Returns
        -------
        y : ndarray
            Shape (B, T, D*H): the hidden state after each step, directions side by side.
        state : ndarray or pair of ndarray
            The final state, shape (B, N*D, H).

        Raises
        ------
        TypeError
            If an array has another dtype than the layer.
        ValueError
            If a shape, a length or the mask does not fit.
        """
        return self._forward(x, state, lengths, mask)  # type: ignore[no-any-return]

    def plan(
        self,
        batch: int,
        steps: int = 1,
        *,
        lengths: Any = None,
        mask: Any = None,
        training: bool = False,
        threads: int | None = None,
    ) -> Plan:
        """Say how a call would be spread over threads, and why.

        Parameters
        ----------
        batch, steps : int
            The call's B and T.
        lengths, mask : array_like, optional
            As in a call.
        training : bool
            Whether :meth:`forward` is meant, or a plain call, which uses one thread unless told
            otherwise; :meth:`backward` is spread like forward.
        threads : int, optional
            Threads that may be used; what the call would use if not given.

        Examples
        --------
        >>> import gru
        >>> gru.GRU(64, 128).plan(32, 50, threads=2).slices
        2
        """
        return Plan(
            **self._own.plan(
                check.integer("batch", batch, 1, check.LARGEST_SIZE),
                check.integer("steps", steps, 1, check.LARGEST_SIZE),
                lengths,
                mask,
                check.flag("training", training),
                0 if threads is None else check.integer("threads", threads, 1, MOST_THREADS),
            )
        )

    def forward(
        self,
        x: Array,
        state: State | None = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        memory_limit: int | str | None = None,
    ) -> tuple[Array, State, _core.Tape]:
        """Run for training: ``(y, state, tape)``; arguments as in a plain call.

        The tape keeps all that :meth:`backward` needs, so parameters may change in between.
        With dropout, each call draws a fresh mask; the sequence of masks follows from ``seed``.

        Parameters
        ----------
        memory_limit : int or str, optional
            Bytes, or text such as ``"64MB"``, that the tape and the working memory of forward and
            backward may take; ``x``, ``y`` and gradients of the caller do not count. Where the
            whole tape would take more, it keeps the states at some steps only, and backward runs
            forward again between them: the gradients have the same bits and cost a third more
            time. Outputs between stacked layers are kept whole all the same. Such a tape points to
            ``x``, which must not change before :meth:`backward`.

        Raises
        ------
        TypeError
            If an array has another dtype than the layer.
        ValueError
            If a shape, a length or the mask does not fit, or no tape is small enough for the
            limit; the message names the least.
        """
        limit = check.memory("memory_limit", memory_limit)
        y, state, tape = self._own.forward_train(x, state, lengths, mask, self._seed(), limit)
        return y, state, tape

    def trace(
        self, x: Array, state: State | None = None, *, lengths: Any = None, mask: Any = None
    ) -> dict[str, Array]:
        """Show what happens inside at every step of a plain call; arguments as there.

        Returns
        -------
        dict of str to ndarray
            Each (B, T, N*D, H), layer by layer, then direction; 0 at steps that are skipped. A GRU
            gives ``r``, ``z``, ``n`` and ``h``, with z in the meaning of the layer's own
            ``update_gate``; an LSTM ``i``, ``f``, ``g``, ``o``, ``c`` and ``h``; an RNN ``n`` and
            ``h``. ``h`` and ``c`` are the states after the step.

        Raises
        ------
        TypeError, ValueError
            As in a plain call.

        Examples
        --------
        >>> import numpy as np, gru
        >>> layer = gru.GRU(3, 4, update_gate="new", seed=0)
        >>> x = np.ones((1, 2, 3), np.float32)
        >>> seen = layer.trace(x)
        >>> h, z, n = seen["h"], seen["z"], seen["n"]
        >>> bool(np.allclose(h[:, 1], (1 - z[:, 1]) * h[:, 0] + z[:, 1] * n[:, 1]))
        True
        """
        return self._own.trace(x, state, lengths, mask)  # type: ignore[no-any-return]

    def backward(
        self, tape: _core.Tape, dy: Array | None, dstate: State | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """Return the gradients of input, initial state and parameters.

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`; it may be used many times.
        dy : ndarray or None
            Gradient of ``y``, shape (B, T, D*H); ``None`` is zero.
        dstate : ndarray or pair of ndarray, optional
            Gradient of the final state; zero if not given.

        Returns
        -------
        dx : ndarray
            Shape (B, T, I).
        dstate : ndarray or pair of ndarray
            Gradient of the initial state, shape (B, N*D, H).
        gradients : dict of str to ndarray
            By the names of :attr:`parameters`; views of one contiguous block.

        Raises
        ------
        TypeError, ValueError
            If the tape is another layer's or none, or a dtype or shape does not fit.
        """
        check.instance("tape", tape, _core.Tape, "one that forward of this layer returned")
        dx, dstate, gradient = self._own.backward(tape, dy, dstate)
        return dx, dstate, self._own.views(gradient)

    def backward_traced(
        self, tape: _core.Tape, dy: Array | None, dstate: State | None = None
    ) -> tuple[Array, State, dict[str, Array], dict[str, Array]]:
        """Return what :meth:`backward` does, and the way of the gradient through time.

        Returns
        -------
        dx, dstate, gradients
            As from :meth:`backward`.
        flow : dict of str to ndarray
            Each (B, T, N*D, H), layer by layer, then direction; 0 at steps that are skipped.
            ``dh``: the gradient of the state after the step. Of it the step hands back to the
            state before ``carried``, by its update gate and without change, and ``through``, by
            way of the gates and the candidate. So in a forward direction ``dh[:, t - 1]`` is
            ``carried[:, t] + through[:, t]`` and the gradient of the output at t - 1. An LSTM has
            ``dc`` and ``carried_c`` as well: c, and what the forget gate hands back of it.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`backward`.

        Examples
        --------
        >>> import numpy as np, gru
        >>> layer = gru.GRU(3, 4, seed=0)
        >>> y, state, tape = layer.forward(np.ones((1, 5, 3), np.float32))
        >>> dx, dstate, gradients, flow = layer.backward_traced(tape, None, np.ones_like(state))
        >>> flow["dh"][0, 4, 0].tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        check.instance("tape", tape, _core.Tape, "one that forward of this layer returned")
        dx, dstate, gradient, flow = self._own.backward(tape, dy, dstate, True)
        return dx, dstate, self._own.views(gradient), flow
