"""What all layers share: a thin handle over the engine's layers; knows no layer's meaning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np
from numpy.typing import DTypeLike

from gru import _core, check
from gru._types import Array
from gru.init import initialise
from gru.parameters import Parameters
from gru.seeds import Seeds
from gru.stream import Stream

__all__ = ["Layer", "SpecField", "core_class", "dtype_name"]

T = TypeVar("T")
RATES = ("dropout", "input_dropout", "recurrent_dropout", "zoneout")


def dtype_name(dtype: DTypeLike) -> str:
    """Return "float32" or "float64" for anything NumPy takes as one of the two.

    Raises
    ------
    ValueError
        If ``dtype`` is anything else.

    Examples
    --------
    >>> import numpy as np
    >>> dtype_name(np.float64)
    'float64'
    """
    known = ("float32", "float64", np.float32, np.float64)
    if isinstance(dtype, (str, type, np.dtype)) and dtype in known:
        return np.dtype(dtype).name
    raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")


def core_class(dtype: str) -> type[_core.Layer32] | type[_core.Layer64]:
    """Return the engine's layer class of one dtype."""
    return _core.Layer64 if dtype == "float64" else _core.Layer32


class SpecField(Generic[T]):
    """A read-only attribute of a layer that lives in its spec.

    Parameters
    ----------
    doc : str
        What the attribute is.
    key : str, optional
        The spec's key, if it is not the attribute's own name.
    """

    def __init__(self, doc: str, key: str = "") -> None:
        self.__doc__ = doc
        self._key = key

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name."""
        self._name = name
        self._key = self._key or name

    @overload
    def __get__(self, layer: None, owner: type) -> SpecField[T]: ...
    @overload
    def __get__(self, layer: Layer, owner: type) -> T: ...
    def __get__(self, layer: Layer | None, owner: type) -> SpecField[T] | T:
        """Read the spec."""
        return self if layer is None else cast(T, layer.spec.get(self._key))

    def __set__(self, layer: Layer, value: T) -> None:
        """Refuse: what a layer is does not change."""
        raise AttributeError(f"{self._name} is fixed when the layer is made")


class Layer:
    """One layer of the engine: a handle that owns no numbers itself.

    A layer with parameters has one dtype. A layer without any (``dtype`` is ``None``) works in
    the dtype of what it is given.
    """

    _spec: dict[str, Any]
    _dtype: str | None
    _cores: dict[str, Any]
    _seeds: Seeds
    _forward: Any

    def _setup(self, spec: Mapping[str, Any], dtype: str | None, seed: int | None) -> None:
        """Make the engine's layer, which checks the spec."""
        self._seeds = Seeds(seed)
        self._hold(core_class(dtype or "float32")(cast("_core.LayerSpec", dict(spec))))

    def _hold(self, core: Any) -> None:
        """Take over an engine's layer and its spec, which is in Python's own numbers."""
        self._spec = core.spec
        self._dtype = core.dtype if core.parameters() else None
        self._cores = {core.dtype: core}
        self._forward = core.forward  # bound once, which spares every call a look-up

    def _initialise(self, seed: int | None, init: str, bound: float, block: int | None) -> None:
        rng = np.random.default_rng(seed)
        initialise(self._own.parameters(), rng, init, bound=bound, block=block)

    @classmethod
    def from_core(cls, core: Any) -> Layer:
        """Wrap a layer that the engine made, such as one of a loaded model."""
        layer = cls.__new__(cls)
        layer._seeds = Seeds()
        layer._hold(core)
        return layer

    def core(self, dtype: str) -> Any:
        """Return the engine's layer of one dtype, made when first asked for."""
        if dtype not in self._cores:
            self._cores[dtype] = core_class(dtype)(cast("_core.LayerSpec", self._spec))
        return self._cores[dtype]

    @property
    def _own(self) -> Any:
        """Return the engine's layer that holds the parameters."""
        return self._cores[cast(str, self._dtype)]

    def _core_for(self, array: Any) -> Any:
        """Return the engine's layer for one input; it refuses other dtypes than the two."""
        if self._dtype is not None:
            return self._cores[self._dtype]
        return self.core("float64" if getattr(array, "dtype", None) == np.float64 else "float32")

    def _seed(self) -> int:
        """Return a fresh dropout seed, or 0 where nothing is dropped."""
        return next(self._seeds) if any(self._spec.get(rate) for rate in RATES) else 0

    @property
    def spec(self) -> dict[str, Any]:
        """What the layer is, apart from its numbers."""
        return dict(self._spec)

    @property
    def dtype(self) -> str | None:
        """``"float32"``, ``"float64"``, or ``None`` for a layer without parameters."""
        return self._dtype

    @property
    def parameters(self) -> Parameters:
        """Name -> live ndarray; see :class:`gru.parameters.Parameters`."""
        return Parameters(self._views)

    def _views(self) -> dict[str, Array]:
        return {} if self._dtype is None else self._own.parameters()

    @property
    def frozen(self) -> bool:
        """Whether the parameters are packed once and read-only."""
        return self._dtype is not None and bool(self._own.frozen)

    def freeze(self) -> None:
        """Pack the parameters once and make them read-only, for serving.

        The parameters move to fresh memory; views taken before stay behind and no longer count.
        The new views are read-only: writing into one, as in ``layer.parameters[name][0] = 1``,
        raises NumPy's own ``ValueError: assignment destination is read-only``. Call
        :meth:`unfreeze` first.
        """
        for core in self._cores.values():
            core.freeze()

    def unfreeze(self) -> None:
        """Make the parameters editable again; every call then packs them afresh."""
        for core in self._cores.values():
            core.unfreeze()

    def stream(self, batch: int = 1) -> Stream:
        """Return a :class:`gru.Stream` that runs this layer one step at a time.

        Parameters
        ----------
        batch : int
            Sequences that advance side by side.

        Raises
        ------
        TypeError, ValueError
            If ``batch`` is no integer or below 1, the layer needs the whole sequence, as a
            bidirectional one does, or its width follows from its input, as a pooling layer's.
        """
        batch = check.integer("batch", batch, 1, check.LARGEST_SIZE)
        dtype = self._dtype or "float32"
        double = dtype == "float64"
        model = (_core.Model64 if double else _core.Model32)([self.core(dtype)])
        return Stream((_core.Stream64 if double else _core.Stream32)(model, batch), single=True)

    def __getstate__(self) -> dict[str, Any]:
        """Return spec and numbers: no object of the engine is pickled."""
        block = None if self._dtype is None else np.array(self._own.flat())
        return {
            "spec": self.spec,
            "dtype": self._dtype,
            "seeds": self._seeds,
            "frozen": self.frozen,
            "block": block,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the engine's layer from spec and numbers."""
        self._setup(state["spec"], state["dtype"], 0)
        self._seeds = state["seeds"]
        if state["block"] is not None:
            self._own.flat()[...] = state["block"]
        if state["frozen"]:
            self.freeze()

    def __repr__(self) -> str:
        """Show the constructor call, without what is left at its default."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if parameter.default is inspect.Parameter.empty:
                shown.append(repr(value))
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"
