"""The layers without a state: what they compute, options and defaults; no math runs here."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from gru import _core, check
from gru._types import Array
from gru.layer import Layer, SpecField, dtype_name

__all__ = [
    "Activation",
    "Affine",
    "Dropout",
    "Embedding",
    "Last",
    "Linear",
    "Masking",
    "Max",
    "Mean",
    "Reverse",
    "StatelessLayer",
]


class StatelessLayer(Layer):
    """A layer whose output at a step depends on no earlier call."""

    def __call__(self, x: Array, *, lengths: Any = None, mask: Any = None) -> Array:
        """Compute the output for inference.

        Parameters
        ----------
        x : ndarray
            Shape (B, T, I); without a time axis (B, F) where steps do not matter.
        lengths : array_like of int, optional
            Shape (B,): the steps of each sequence that count.
        mask : array_like of bool, optional
            Shape (B, T): the steps that count.

        Returns
        -------
        ndarray
            Of the layer's dtype; 0 at steps that do not count.
        """
        y, _ = self._core_for(x).forward(x, None, lengths, mask)
        return cast(Array, y)

    def forward(
        self, x: Array, *, lengths: Any = None, mask: Any = None
    ) -> tuple[Array, _core.Tape]:
        """Compute the output for training: ``(y, tape)``; arguments as in a plain call."""
        y, _, tape = self._core_for(x).forward_train(x, None, lengths, mask, self._seed())
        return y, tape

    def backward(self, tape: _core.Tape, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        """Return the gradients of the input and of the parameters.

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`; it may be used many times.
        dy : ndarray
            Gradient of the output, of its shape and dtype.

        Returns
        -------
        dx : ndarray or None
            Gradient of the input; ``None`` where the input is integers.
        gradients : dict of str to ndarray
            By the names of :attr:`parameters`.

        Raises
        ------
        TypeError, ValueError
            If the tape is another layer's or none, or ``dy`` does not fit.
        """
        check.instance("tape", tape, _core.Tape, "one that forward of this layer returned")
        core = self._core_for(dy)
        dx, _, gradient = core.backward(tape, dy)
        return dx, {} if self._dtype is None else core.views(gradient)


class Embedding(StatelessLayer):
    """A table with one row a symbol: integers (B, T) become vectors (B, T, E).

    Parameters
    ----------
    num_embeddings : int
        Symbols; inputs lie in 0 .. num_embeddings - 1.
    embedding_dim : int
        Width of a vector (E).
    dtype, seed
        As in :class:`gru.GRU`. The table is drawn from N(0, 1), as in PyTorch.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.Embedding(10, 4, seed=0)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    num_embeddings = SpecField[int]("Symbols in the table.", "input_size")
    embedding_dim = SpecField[int]("Width of a vector, E.", "hidden_size")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
    ) -> None:
        spec = {
            "kind": "embedding",
            "input_size": check.integer("num_embeddings", num_embeddings, 1, check.LARGEST_SIZE),
            "hidden_size": check.integer("embedding_dim", embedding_dim, 1, check.LARGEST_SIZE),
        }
        self._setup(spec, dtype_name(dtype), seed)
        rng = np.random.default_rng(seed)
        for table in self.parameters.values():
            table[...] = rng.standard_normal(table.shape)


class Linear(StatelessLayer):
    """``y = x W' + b`` at every step of (B, T, I), or on (B, I).

    Parameters
    ----------
    in_features, out_features : int
        Widths of input and output (I, O); ``weight`` has shape (O, I), ``bias`` (O,).
    bias : bool
        Whether b exists.
    dtype, seed, init
        As in :class:`gru.GRU`; ``uniform`` is U(-1/sqrt(I), 1/sqrt(I)), as in PyTorch.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.Linear(4, 2, seed=0)
    >>> layer(np.zeros((3, 4), np.float32)).shape, layer(np.zeros((3, 5, 4), np.float32)).shape
    ((3, 2), (3, 5, 2))
    """

    in_features = SpecField[int]("Width of the input.", "input_size")
    out_features = SpecField[int]("Width of the output.", "hidden_size")
    bias = SpecField[bool]("Whether there is a bias.")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "uniform",
    ) -> None:
        spec = {
            "kind": "linear",
            "input_size": check.integer("in_features", in_features, 1, check.LARGEST_SIZE),
            "hidden_size": check.integer("out_features", out_features, 1, check.LARGEST_SIZE),
            "bias": check.flag("bias", bias),
        }
        self._setup(spec, dtype_name(dtype), seed)
        self._initialise(seed, init, self.in_features**-0.5, None)


class Activation(StatelessLayer):
    """A function of each number, or softmax over the last axis.

    Parameters
    ----------
    nonlinearity : {"relu", "tanh", "sigmoid", "softmax"}
        The function. The losses of :mod:`gru.losses` take logits: train without a final
        softmax or sigmoid.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.Activation("relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    nonlinearity = SpecField[str]('"relu", "tanh", "sigmoid" or "softmax".')

    def __init__(self, nonlinearity: str) -> None:
        self._setup({"kind": "activation", "nonlinearity": nonlinearity}, None, None)


class Affine(StatelessLayer):
    """One factor and one offset for each feature: ``y = x * weight + bias``.

    Batch normalisation is one in inference: ``weight = gamma / sqrt(variance + epsilon)`` and
    ``bias = beta - mean * weight``.

    Parameters
    ----------
    features : int
        Features of x (F). ``weight`` (F,) starts at 1 and ``bias`` (F,) at 0.
    dtype : {"float32", "float64"} or a NumPy dtype
        Of parameters, inputs and outputs.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.Affine(2, dtype="float64")
    >>> layer.parameters["weight"][:] = [2, 3]
    >>> layer.parameters["bias"][:] = [0, 1]
    >>> layer(np.array([[1.0, 2.0]])).tolist()
    [[2.0, 7.0]]
    """

    features = SpecField[int]("Features of x.", "input_size")

    def __init__(self, features: int, *, dtype: DTypeLike = "float32") -> None:
        size = check.integer("features", features, 1, check.LARGEST_SIZE)
        self._setup({"kind": "affine", "input_size": size}, dtype_name(dtype), None)
        self.parameters["weight"][...] = 1


class Dropout(StatelessLayer):
    """In training, sets numbers to 0 at random and scales the rest by 1 / (1 - rate).

    Srivastava et al. 2014. A plain call (inference) changes nothing. Each ``forward`` draws a
    fresh mask; the sequence of masks follows from ``seed``.

    Parameters
    ----------
    rate : float
        Share of the numbers that are set to 0, from 0 to 1.
    seed : int, optional
        Of the masks, when the layer is used alone; a model has a seed of its own.

    Examples
    --------
    >>> import numpy as np, gru
    >>> layer = gru.Dropout(0.5, seed=0)
    >>> y, tape = layer.forward(np.ones((1, 1000), np.float32))
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    """

    rate = SpecField[float]("Share of the numbers that are set to 0.", "dropout")

    def __init__(self, rate: float = 0.5, *, seed: int | None = None) -> None:
        if not 0 <= check.number("rate", rate) <= 1:
            raise ValueError(f"rate must be from 0 to 1, got {rate}")
        self._setup({"kind": "dropout", "dropout": rate}, None, seed)


class Last(StatelessLayer):
    """The features of the last step that counts: (B, T, F) becomes (B, F).

    Parameters
    ----------
    bidirectional : bool
        Take the second half of the features at the first step that counts instead, where the
        backward direction of a bidirectional layer has read the whole sequence.

    Examples
    --------
    >>> import numpy as np, gru
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> gru.Last()(x, lengths=[2]).tolist()
    [[2.0, 3.0]]
    """

    bidirectional = SpecField[bool]("Whether the second half is taken at the first step.")

    def __init__(self, *, bidirectional: bool = False) -> None:
        both = check.flag("bidirectional", bidirectional)
        self._setup({"kind": "pool", "pool": "last", "bidirectional": both}, None, None)


class Mean(StatelessLayer):
    """The mean over the steps that count: (B, T, F) becomes (B, F).

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.Mean()(np.arange(6.0).reshape(1, 3, 2), lengths=[2]).tolist()
    [[1.0, 2.0]]
    """

    def __init__(self) -> None:
        self._setup({"kind": "pool", "pool": "mean"}, None, None)


class Max(StatelessLayer):
    """The maximum over the steps that count: (B, T, F) becomes (B, F).

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.Max()(np.arange(6.0).reshape(1, 3, 2), lengths=[2]).tolist()
    [[2.0, 3.0]]
    """

    def __init__(self) -> None:
        self._setup({"kind": "pool", "pool": "max"}, None, None)


class Reverse(StatelessLayer):
    """The steps that count the other way round in time; those that do not stay where they are.

    Examples
    --------
    >>> import numpy as np, gru
    >>> gru.Reverse()(np.array([[[1.0], [2.0], [3.0], [9.0]]]), lengths=[3]).ravel().tolist()
    [3.0, 2.0, 1.0, 0.0]
    """

    def __init__(self) -> None:
        self._setup({"kind": "reverse"}, None, None)


class Masking(StatelessLayer):
    """Steps whose features (or whose token) all equal ``value`` do not count.

    The first layer of a model or none: the layers after it skip those steps as if the call's
    ``mask`` had named them. A call's own ``lengths`` or ``mask`` leave out further ones.

    Parameters
    ----------
    value : float
        What marks a step that does not count.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.Masking(), gru.Last()])
    >>> model(np.array([[[1.0, 0.0], [3.0, 0.0], [0.0, 0.0]]], np.float32)).tolist()
    [[3.0, 0.0]]
    """

    value = SpecField[float]("What marks a step that does not count.", "mask_value")

    def __init__(self, value: float = 0.0) -> None:
        value = check.number("value", value)
        self._setup({"kind": "masking", "mask_value": value}, None, None)
