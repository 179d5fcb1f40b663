"""Named parameters as a mapping of live arrays; does not know which layer they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

from gru import check
from gru._types import Array

__all__ = ["Parameters", "assign"]


def assign(name: str, view: Array, value: Array) -> None:
    """Copy ``value`` into ``view`` if both have one shape and one dtype.

    Parameters
    ----------
    name : str
        What messages call the array.
    view : ndarray
        The array that is written.
    value : ndarray
        The new numbers.

    Raises
    ------
    ValueError
        If the shapes differ, or if ``view`` belongs to a frozen layer.
    TypeError
        If the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> assign("weight", np.zeros((2, 3)), np.ones((3, 2)))
    Traceback (most recent call last):
    ...
    ValueError: weight must have shape (2, 3), got (3, 2)
    """
    value = check.array(name, value)
    if value.shape != view.shape:
        raise ValueError(f"{name} must have shape {view.shape}, got {value.shape}")
    if value.dtype != view.dtype:
        raise TypeError(
            f"{name} must be {view.dtype}, got {value.dtype}; "
            f"cast it with .astype(np.{view.dtype.name})"
        )
    if not view.flags.writeable:
        raise ValueError(f"{name} belongs to a frozen layer; call unfreeze() to change it")
    view[...] = value


class Parameters(MutableMapping[str, Array]):
    """The parameters of a layer or model by name: live views that can be edited in place.

    Reading gives a view of the engine's own memory, so the next call sees an edit. Assigning
    copies the numbers in after checking name, shape and dtype. The views of a frozen layer are
    read-only. Names cannot be added or removed.

    Parameters
    ----------
    views : callable
        Returns the present views; it is asked anew each time, because freezing moves them.

    Examples
    --------
    >>> import gru
    >>> layer = gru.GRU(3, 2, seed=0)
    >>> list(layer.parameters)
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    >>> layer.parameters["bias_ih_l0"][:2] = 1.0
    >>> layer.parameters["bias_ih_l0"][:3].tolist()[:2]
    [1.0, 1.0]
    """

    def __init__(self, views: Callable[[], dict[str, Array]]) -> None:
        self._views = views

    def __getitem__(self, name: str) -> Array:
        """Return the live view of one parameter."""
        views = self._views()
        if name not in views:
            raise KeyError(f"no parameter named {name!r}; there are {', '.join(views) or 'none'}")
        return views[name]

    def __setitem__(self, name: str, value: Array) -> None:
        """Copy new numbers into one parameter."""
        assign(name, self[name], value)

    def __delitem__(self, name: str) -> None:
        """Refuse: the parameters of a layer are fixed."""
        raise TypeError("parameters cannot be deleted; build a layer without them instead")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of the parameter block."""
        return iter(self._views())

    def __len__(self) -> int:
        """Return how many parameters have a name."""
        return len(self._views())

    def __repr__(self) -> str:
        """Show names, shapes and dtypes, not numbers."""
        shown = (f"{name!r}: {view.dtype}{view.shape}" for name, view in self._views().items())
        return f"Parameters({{{', '.join(shown)}}})"
