"""A model is a list of layers; forward and backward of all of them run in the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gru import _core, check
from gru._types import Array
from gru.layer import Layer
from gru.parameters import Parameters
from gru.seeds import Seeds
from gru.stream import Stream

__all__ = ["Sequential"]


def _common_dtype(layers: tuple[Layer, ...]) -> str:
    """Return the one dtype of all layers that have parameters."""
    found = [(i, layer.dtype) for i, layer in enumerate(layers) if layer.dtype is not None]
    for i, dtype in found:
        if dtype != found[0][1]:
            raise ValueError(
                f"all layers of a model must have one dtype, but layer {found[0][0]} is "
                f"{found[0][1]} and layer {i} is {dtype}"
            )
    return found[0][1] or "float32" if found else "float32"


class Sequential:
    """A model: layers in a row, each fed with the output of the one before.

    Parameters
    ----------
    layers : iterable of Layer
        They are shared, not copied: training the model trains them. Layers with parameters have
        one dtype, which is the model's.
    seed : int, optional
        Of the dropout masks that :meth:`forward` draws.

    Attributes
    ----------
    metadata : dict of str to str
        Free notes, saved and loaded with the model.

    Raises
    ------
    TypeError
        If an entry is not a layer.
    ValueError
        If dtypes or widths do not fit, or a layer with parameters occurs twice.

    Examples
    --------
    >>> import numpy as np, gru
    >>> model = gru.Sequential([gru.GRU(12, 8, seed=0), gru.Last(), gru.Linear(8, 9, seed=1)])
    >>> model(np.zeros((2, 20, 12), np.float32), lengths=[20, 7]).shape
    (2, 9)
    >>> model.predict([np.zeros((20, 12)), np.zeros((7, 12))]).shape
    (2, 9)
    >>> model.num_parameters
    609
    """

    def __init__(self, layers: Iterable[Layer], *, seed: int | None = None) -> None:
        self._layers = tuple(check.several("layers", layers, "an iterable of gru layers"))
        for i, layer in enumerate(self._layers):
            check.instance(f"layers[{i}]", layer, Layer, "a gru layer")
            if layer.dtype is not None and any(layer is other for other in self._layers[:i]):
                raise ValueError(f"layers[{i}] occurs twice; a layer with parameters may not")
        self._dtype = _common_dtype(self._layers)
        cores = [layer.core(self._dtype) for layer in self._layers]
        model = _core.Model64 if self._dtype == "float64" else _core.Model32
        self._core: Any = model(cores)
        self._seeds = Seeds(seed)
        self.metadata: dict[str, str] = {}

    @classmethod
    def from_core(cls, core: Any, layers: Iterable[Layer], metadata: dict[str, str]) -> Sequential:
        """Wrap a model that the engine made, with handles of its layers."""
        model = cls.__new__(cls)
        model._layers = tuple(layers)
        model._dtype = _common_dtype(model._layers)
        model._core = core
        model._seeds = Seeds()
        model.metadata = metadata
        return model

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return self._layers

    @property
    def dtype(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return self._dtype

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What ``x`` must hold: integers if the model starts with an embedding."""
        return np.dtype(np.int64 if self._core.takes_tokens else self._dtype)

    def __call__(self, x: Array, *, lengths: Any = None, mask: Any = None) -> Array:
        """Compute the output for inference, in one call of the engine.

        Parameters
        ----------
        x : ndarray
            Shape (B, T, I); integers (B, T) for an embedding. Of the model's dtype: unlike
            :meth:`predict`, which casts, this refuses float64 in a float32 model.
        lengths, mask : array_like, optional
            Shapes (B,) and (B, T): which steps count.

        Returns
        -------
        ndarray
            Shape (B, K) after pooling, else (B, T, K).

        Raises
        ------
        TypeError, ValueError
            If dtype, shape, lengths or mask do not fit.
        """
        return self._core.forward(x, lengths, mask)  # type: ignore[no-any-return]

    def forward(
        self,
        x: Array,
        *,
        lengths: Any = None,
        mask: Any = None,
        seed: int | None = None,
        memory_limit: int | str | None = None,
    ) -> tuple[Array, _core.Tape]:
        """Compute the output for training: ``(y, tape)``; arguments as in a plain call.

        Parameters
        ----------
        seed : int, optional
            Fixes the dropout masks; without it each call draws fresh ones.
        memory_limit : int or str, optional
            What the tapes and working memory of all recurrent layers may take together, as in
            :meth:`GRU.forward`. Outputs between layers are apart, except that of a recurrent
            layer before :class:`gru.Last`, which is not written out.
        """
        limit = check.memory("memory_limit", memory_limit)
        return self._core.forward_train(  # type: ignore[no-any-return]
            x, lengths, mask, self._chosen(seed), limit
        )

    def _chosen(self, seed: int | None) -> int:
        return next(self._seeds) if seed is None else check.integer("seed", seed, 0, 2**64 - 1)

    def least_memory(self, batch: int, steps: int, *, lengths: Any = None) -> int:
        """Return the least ``memory_limit`` that a batch takes, in bytes.

        Parameters
        ----------
        batch, steps : int
            B and T.
        lengths : array_like of int, optional
            Shape (B,): the steps that count.

        Examples
        --------
        >>> import gru
        >>> model = gru.Sequential([gru.GRU(8, 64), gru.Last()])
        >>> model.least_memory(1, 1_000_000) < 64e6
        True
        """
        batch = check.integer("batch", batch, 0, 2**31 - 1)
        steps = check.integer("steps", steps, 0, 2**31 - 1)
        return int(self._core.least_memory(batch, steps, lengths))

    def carry(
        self, x: Array, state: Any = None, *, lengths: Any = None, mask: Any = None
    ) -> tuple[Array, list[Any]]:
        """Compute the output for inference, going on from a state.

        Parameters
        ----------
        x, lengths, mask
            As in a plain call.
        state : list, optional
            What an earlier call returned, or :attr:`Stream.state`: one entry a recurrent layer,
            as the layer takes it. Zero if not given.

        Returns
        -------
        y : ndarray
            As from a plain call.
        state : list
            After the last step.

        Raises
        ------
        TypeError, ValueError
            If something does not fit, or a layer runs backward in time.

        Examples
        --------
        >>> import numpy as np, gru
        >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Linear(4, 2, seed=1)])
        >>> x = np.random.default_rng(0).standard_normal((1, 6, 3)).astype(np.float32)
        >>> first, state = model.carry(x[:, :2])
        >>> rest, state = model.carry(x[:, 2:], state)
        >>> bool(np.array_equal(np.concatenate([first, rest], axis=1), model(x)))
        True
        """
        return self._core.carry(x, self._states(state), lengths, mask)  # type: ignore[no-any-return]

    def forward_carry(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        seed: int | None = None,
        memory_limit: int | str | None = None,
    ) -> tuple[Array, list[Any], _core.Tape]:
        """Compute for training as :meth:`forward`, going on from a state as :meth:`carry`.

        Returns ``(y, state, tape)``. No gradient goes from one call to the call before: this is
        truncated backpropagation through time.
        """
        limit = check.memory("memory_limit", memory_limit)
        states = self._states(state)
        return self._core.forward_carry(  # type: ignore[no-any-return]
            x, states, lengths, mask, self._chosen(seed), limit
        )

    def _states(self, state: Any) -> Any:
        for i, layer in enumerate(self._layers):
            direction = layer.spec.get("direction", "forward")
            if direction != "forward":
                raise ValueError(
                    f"a state can only be carried on forward in time, but layers[{i}] has "
                    f"direction {direction!r}"
                )
        if state is None:
            return None
        wanted = "a list, one entry a recurrent layer"
        return check.instance("state", state, (list, tuple), wanted)

    def backward(self, tape: _core.Tape, dy: Array) -> dict[str, Array]:
        """Return the gradient of every parameter.

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`; it may be used many times.
        dy : ndarray
            Gradient of the output, of its shape and dtype.

        Returns
        -------
        dict of str to ndarray
            By the names of :attr:`parameters`, such as ``"0.weight_ih_l0"``.

        Raises
        ------
        TypeError, ValueError
            If the tape is another model's or none, or ``dy`` does not fit.
        """
        blocks = self.backward_blocks(tape, dy)
        return self._named(lambda i, core: core.views(blocks[str(i)]))

    def backward_blocks(self, tape: _core.Tape, dy: Array) -> dict[str, Array]:
        """Return gradients as :meth:`backward` does, as one vector a layer like :meth:`blocks`."""
        check.instance("tape", tape, _core.Tape, "one that forward of this model returned")
        gradients = self._core.backward(tape, dy)
        return {str(i): g for i, g in enumerate(gradients) if self._layers[i].dtype is not None}

    def blocks(self) -> dict[str, Array]:
        """Return the parameters of each layer as one live vector, by the layer's number."""
        return {
            str(i): layer.core(self._dtype).flat()
            for i, layer in enumerate(self._layers)
            if layer.dtype is not None
        }

    def _named(self, views: Callable[[int, Any], Mapping[str, Array]]) -> dict[str, Array]:
        return {
            f"{i}.{name}": view
            for i, layer in enumerate(self._layers)
            if layer.dtype is not None
            for name, view in views(i, layer.core(self._dtype)).items()
        }

    @property
    def parameters(self) -> Parameters:
        """Name -> live ndarray; names start with the layer's number, ``"0.weight_ih_l0"``."""
        return Parameters(lambda: self._named(lambda _, core: core.parameters()))

    @property
    def num_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(block.size for block in self.blocks().values())

    def predict(
        self, X: Any, batch_size: int = 256, *, lengths: Any = None, mask: Any = None
    ) -> Any:
        """Compute the outputs of many sequences, in batches of like length.

        The result does not depend on the batches, bit for bit.

        Parameters
        ----------
        X : array_like or sequence of array_like
            An array (B, T, I) or a list of arrays (T_i, I). Any numbers are cast to the model's
            dtype, while a plain call refuses another.
        batch_size : int
            Sequences a call of the engine.
        lengths, mask : array_like, optional
            Which steps of an array count.

        Returns
        -------
        ndarray or list of ndarray
            In the order of ``X``: (B, K) after pooling, else (B, T, K), or a list of (T_i, K)
            if ``X`` is a list.

        Raises
        ------
        TypeError, ValueError
            If X does not fit the model.
        """
        from gru.predict import predict  # a service may never batch: gru starts without it

        return predict(self, X, batch_size, lengths, mask)

    @property
    def frozen(self) -> bool:
        """Whether all layers with parameters are frozen."""
        return all(layer.frozen for layer in self._layers if layer.dtype is not None)

    def freeze(self) -> None:
        """Freeze all layers: pack once, for serving; writing then fails as in :meth:`GRU.freeze`.

        In-place writes raise NumPy's ``ValueError: assignment destination is read-only``.
        """
        for layer in self._layers:
            layer.freeze()

    def unfreeze(self) -> None:
        """Make all layers editable again."""
        for layer in self._layers:
            layer.unfreeze()

    def stream(self, batch: int = 1) -> Stream:
        """Return a :class:`gru.Stream` that runs the model one step at a time.

        After pooling layers the output is that of the steps so far.
        """
        batch = check.integer("batch", batch, 1, check.LARGEST_SIZE)
        stream = _core.Stream64 if self._dtype == "float64" else _core.Stream32
        return Stream(stream(self._core, batch), single=False)

    def core(self) -> Any:
        """Return the engine's model."""
        return self._core

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically.

        The file holds the parameters by name, the layers, :attr:`metadata` and a self-check.

        Raises
        ------
        TypeError, ValueError
            If ``path`` is no path, or :attr:`metadata` holds anything but strings.
        ValueError
            If the metadata, as JSON within JSON, take more than 1 MB and more than a quarter of
            the file, or hold more than some ten thousand entries: such a file is not opened.
        OSError, RuntimeError
            If the file cannot be written.
        """
        self._core.save(check.path("path", path), check.texts("metadata", self.metadata))

    def __getstate__(self) -> dict[str, Any]:
        """Return the layers: no object of the engine is pickled."""
        return {"layers": self._layers, "seeds": self._seeds, "metadata": self.metadata}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the engine's model from the layers."""
        self.__init__(state["layers"])  # type: ignore[misc]
        self._seeds = state["seeds"]
        self.metadata = state["metadata"]

    def __repr__(self) -> str:
        """Show the layers."""
        return f"Sequential([{', '.join(map(repr, self._layers))}])"
