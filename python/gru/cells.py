"""GRU, LSTM and RNN layers: what they compute, their options and defaults; no math runs here."""

from __future__ import annotations

from numpy.typing import DTypeLike

from gru.layer import SpecField
from gru.recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN"]


class GRU(Recurrent):
    r"""Gated recurrent unit, in the four forms that papers and frameworks use.

    With inputs :math:`x`, state :math:`h` and the elementwise product ``*``::

        r = sigmoid(W_r x + b_ir + U_r h + b_hr)                    reset gate
        z = sigmoid(W_z x + b_iz + U_z h + b_hz)                    update gate

        reset_after=True     n = tanh(W_n x + b_in + r * (U_n h + b_hn))
        reset_after=False    n = tanh(W_n x + b_in + U_n (r * h) + b_hn)

        update_gate="keep"   h' = (1 - z) * n + z * h     z near 1 keeps the old state
        update_gate="new"    h' = (1 - z) * h + z * n     z near 1 takes the new information

    ================ =============== ==================================================
    ``reset_after``  ``update_gate`` used by
    ================ =============== ==================================================
    True (default)   keep (default)  PyTorch, cuDNN, Keras, ONNX linear_before_reset=1
    False            keep            Cho et al. 2014 [1]_, ONNX's default, Keras
                                     reset_after=False
    False            new             Chung et al. 2014 [2]_ and most articles that teach
                                     the GRU
    True             new             the reset-after form in the articles' convention
    ================ =============== ==================================================

    The two conventions of z are one function with the z rows of weights and biases negated. The
    two places of the reset gate are different functions: no weights turn one into the other.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of an input step (I) and hidden units (H).
    num_layers : int
        Layers stacked on each other (N).
    bidirectional : bool
        Add cells that read each sequence from its end (D = 2).
    reverse : bool
        Read each sequence from its last valid step to its first; ``y`` stays in the order of
        ``x``, and the final state is that after the first step. Not with ``bidirectional``.
    bias : bool
        Whether the cells have biases, two each as in PyTorch.
    reset_after, update_gate : bool, {"keep", "new"}
        The form, see above.
    layer_norm : bool
        Normalise inside the cell [5]_: of each gate's H numbers, the input side ``a = W x`` and
        the hidden side ``a = U h`` (``U (r * h)``) apart, ``gain * (a - mean(a)) / sqrt(var(a) +
        1e-5) + b``, with the mean and variance over the units, the gains ``norm_ih_l0`` and
        ``norm_hh_l0`` (3H,), which start at 1, and the cell's own two biases.
    dropout : float
        Rate of dropout between stacked layers, in training only: fresh masks for every step. With
        one layer there is nothing to drop, and a ``UserWarning`` says so.
    input_dropout : float
        Rate of dropout of each stacked layer's input, in training only: one mask for all steps of
        a sequence [3]_.
    recurrent_dropout : float
        Rate of dropout of h where U multiplies it, in training only: one mask for all steps of a
        sequence [3]_. The h that the update gate carries on is not dropped.
    zoneout : float
        Rate of units that keep their old state at a step, drawn anew for each step in training
        [4]_; an LSTM draws for h and for c. A plain call takes the mean: of what a step would
        change, ``1 - zoneout`` of it.
    dtype : {"float32", "float64"} or a NumPy dtype
        Of parameters, inputs and outputs.
    seed : int, optional
        Of the first parameters and of dropout.
    init : {"uniform", "orthogonal", "glorot"}
        First parameters; ``uniform`` is U(-1/sqrt(H), 1/sqrt(H)) as in PyTorch. See
        :func:`gru.init.initialise`.

    Notes
    -----
    Parameters have PyTorch's names, shapes and row order (r, z, n): ``weight_ih_l0`` (3H, I),
    ``weight_hh_l0`` (3H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (3H,), and so on with ``_l1`` and
    ``_reverse``.

    What is dropped follows from the call's seed and from a number's place alone: its sequence in
    the batch, step, unit, layer and direction. Neither threads nor the rest of the batch show.
    A rate is drawn as the nearest multiple of 2^-16, and what is kept is scaled by 1 / (1 - rate).
    Rates of one have a meaning: ``input_dropout`` hides the input, ``recurrent_dropout`` the state
    from U, and with ``zoneout`` a state never changes, in a plain call either.

    References
    ----------
    .. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
       statistical machine translation", EMNLP 2014.
    .. [2] J. Chung et al., "Empirical evaluation of gated recurrent neural networks on sequence
       modeling", 2014, arXiv:1412.3555.
    .. [3] Y. Gal and Z. Ghahramani, "A theoretically grounded application of dropout in recurrent
       neural networks", NIPS 2016.
    .. [4] D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden
       activations", ICLR 2017.
    .. [5] J. Ba, J. Kiros and G. Hinton, "Layer normalization", 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.GRU(12, 64, reset_after=False, update_gate="new", seed=0)
    >>> y, state = layer(np.zeros((2, 10, 12), np.float32), lengths=[10, 7])
    >>> y.shape, state.shape
    ((2, 10, 64), (2, 1, 64))
    >>> y, state, tape = layer.forward(np.ones((2, 10, 12), np.float32))
    >>> dx, dstate, gradients = layer.backward(tape, np.ones_like(y))
    >>> gradients["weight_ih_l0"].shape
    (192, 12)
    >>> layer
    GRU(12, 64, reset_after=False, update_gate='new')
    """

    layer_norm = SpecField[bool]("Whether each gate's two sides are normalised inside the cell.")
    reset_after = SpecField[bool]("Whether r multiplies U_n h + b_hn (True) or h (False).")
    update_gate = SpecField[str]('"keep": z near 1 keeps the old state; "new": takes the new one.')

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        reverse: bool = False,
        bias: bool = True,
        reset_after: bool = True,
        update_gate: str = "keep",
        layer_norm: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        spec = {
            "kind": "gru",
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "reset_after": reset_after,
            "update_gate": update_gate,
            "layer_norm": layer_norm,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "recurrent_dropout": recurrent_dropout,
            "zoneout": zoneout,
        }
        self._make(spec, bidirectional, reverse, dtype, seed, init)


class LSTM(Recurrent):
    """Long short-term memory, without peepholes, as in PyTorch.

    With inputs x, state (h, c) and the elementwise product ``*``::

        i = sigmoid(W_i x + b_ii + U_i h + b_hi)        f, o alike
        g = tanh(W_g x + b_ig + U_g h + b_hg)
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000. Parameters as in
    :class:`GRU`, but with 4H rows in the order i, f, g, o. The state is the pair ``(h, c)``.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of an input step (I) and hidden units (H).
    num_layers, bidirectional, reverse, bias
        As in :class:`GRU`.
    dropout, input_dropout, recurrent_dropout, zoneout
        As in :class:`GRU`.
    dtype, seed, init
        As in :class:`GRU`.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.LSTM(3, 5, num_layers=2, seed=0)
    >>> y, (h, c) = layer(np.zeros((2, 10, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((2, 10, 5), (2, 2, 5), (2, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        reverse: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        spec = {
            "kind": "lstm",
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "recurrent_dropout": recurrent_dropout,
            "zoneout": zoneout,
        }
        self._make(spec, bidirectional, reverse, dtype, seed, init)


class RNN(Recurrent):
    """Plain recurrent layer (Elman 1990): ``h' = f(W x + b_ih + U h + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of an input step (I) and hidden units (H).
    num_layers, bidirectional, reverse, bias
        As in :class:`GRU`.
    dropout, input_dropout, recurrent_dropout, zoneout
        As in :class:`GRU`.
    dtype, seed, init
        As in :class:`GRU`; matrices have H rows.
    nonlinearity : {"tanh", "relu"}
        The function f.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.RNN(3, 5, nonlinearity="relu", bidirectional=True, seed=0)
    >>> y, state = layer(np.zeros((2, 10, 3), np.float32))
    >>> y.shape, state.shape
    ((2, 10, 10), (2, 2, 5))
    """

    nonlinearity = SpecField[str]('"tanh" or "relu".')

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        reverse: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        spec = {
            "kind": "rnn",
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "nonlinearity": nonlinearity,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "recurrent_dropout": recurrent_dropout,
            "zoneout": zoneout,
        }
        self._make(spec, bidirectional, reverse, dtype, seed, init)
