"""Takes the parameters of Flax's recurrent cells, linen and nnx, from nested dicts of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gru import check
from gru._types import Array
from gru.convert.cells import Cell, build
from gru.convert.gates import ORDERS, from_order
from gru.convert.host import alike, floats
from gru.recurrent import Recurrent

__all__ = ["from_flax"]

ORDER = ORDERS["flax"]
LINEN = {
    kind: {f"{side}{gate}" for side in "ih" for gate in gates}
    for kind, gates in ORDER.items()
    if kind != "rnn"
}
SIMPLE = {"i", "h"}
JOINED = {"dense_i", "dense_h"}  # nnx: all gates side by side
LACKING = {"MGUCell": {"if", "in", "hf", "hn"}, "ConvLSTMCell": {"ih", "hh"}}
BOTH = ("forward_rnn", "backward_rnn")
DEEPEST = 32


def from_flax(
    params: Mapping[str, Any], *, nonlinearity: str | None = None, reverse: bool = False
) -> Recurrent:
    """Build a recurrent layer from Flax's parameters; Flax and JAX are not needed.

    Parameters
    ----------
    params : mapping
        Of one layer, nested as in Flax: of linen's ``GRUCell``, ``LSTMCell``,
        ``OptimizedLSTMCell`` or ``SimpleCell``, of nnx's cells of these names, of an ``RNN``
        around one, or of a ``Bidirectional``. NumPy or JAX arrays, or an ``nnx.State``.
    nonlinearity : {"tanh", "relu"}, optional
        Of a SimpleCell, whose parameters do not tell; Flax's default is tanh.
    reverse : bool
        Whether it reads from the last step to the first, as ``nn.RNN(cell, reverse=True,
        keep_order=True)``: parameters do not tell.

    Returns
    -------
    GRU, LSTM or RNN
        The numbers are copied.

    Raises
    ------
    TypeError
        If ``params`` is no mapping or holds other things than floating-point arrays.
    ValueError
        If it is no cell that gru has; where cells lie deeper, the message lists them.

    Notes
    -----
    Parameters do not tell everything: ``gate_fn`` and ``activation_fn`` are taken to be Flax's
    defaults, sigmoid and tanh, a SimpleCell's ``residual`` False, and a Bidirectional's
    ``merge_fn`` to put both sides side by side. An ``nn.RNN(cell, reverse=True)`` needs
    ``reverse=True`` here; ``y`` is in the order of ``x``, where Flax turns it round unless
    ``keep_order=True``.

    Examples
    --------
    >>> import numpy as np, gru
    >>> cell = {"dense_i": {"kernel": np.ones((3, 6)), "bias": np.ones(6)},
    ...         "dense_h": {"kernel": np.ones((2, 6))}}
    >>> gru.from_flax({"params": {"cell": cell}})
    GRU(3, 2, dtype='float64')
    """
    if not isinstance(params, Mapping) and _is_nnx(params):
        what = "params must be the parameters, not the module that holds them"
        raise TypeError(f"{what}: give nnx.state({type(params).__name__.lower()}, nnx.Param)")
    tree = _inside(check.instance("params", params, Mapping, "a mapping of Flax's parameters"))
    sides = [_inside(tree[side]) for side in BOTH] if set(BOTH) <= tree.keys() else [tree]
    if check.flag("reverse", reverse) and len(sides) == 2:
        raise ValueError("reverse must be False: params are those of a Bidirectional")
    found = [_kind(side, tree) for side in sides]
    if len(set(found)) > 1:
        raise ValueError(f"params must hold one kind of cell in both directions, got {found}")
    kind, options = found[0], {}
    if kind == "rnn":
        if nonlinearity is None:
            wanted = "'tanh', Flax's default, or 'relu'"
            raise ValueError(
                f"nonlinearity must be {wanted}: a SimpleCell's parameters do not tell"
            )
        options["nonlinearity"] = nonlinearity
    elif nonlinearity is not None:
        raise ValueError(f"nonlinearity is for a SimpleCell, but this is a {kind.upper()}")
    return build(
        kind, [[_cell(kind, side) for side in sides]], name="params", reverse=reverse, **options
    )


def _is_nnx(value: Any) -> bool:
    """Say whether it is a live module of nnx, told without Flax by where its classes are from."""
    return any(kind.__module__.startswith("flax.nnx") for kind in type(value).__mro__)


def _inside(tree: Any) -> Mapping[str, Any]:
    """Look through what Flax puts around a cell."""
    while isinstance(tree, Mapping):
        keys = tree.keys() - {"rngs"}  # nnx keeps its random numbers beside the parameters
        if len(keys) != 1 or not keys <= {"params", "cell"}:
            return tree
        (key,) = keys
        tree = tree[key]
    raise TypeError(f"params must hold mappings down to 'kernel' and 'bias', got {type(tree)}")


def _names(cell: Mapping[str, Any]) -> set[str]:
    """Return the names of a cell's parts; nnx writes ``if_`` where Python forbids ``if``."""
    return {str(name).rstrip("_") for name in cell.keys() - {"rngs"}}


def _kind(cell: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    found = _told(cell)
    if found in ORDER:
        return found
    if found:
        raise ValueError(f"params are those of a Flax {found}, which gru lacks")
    deeper = [f"params{path}: {kind}" for path, kind in _cells(tree, "", 0)]
    hint = f"; cells are at {'; '.join(deeper[:20])}" if deeper else ""
    held = ", ".join(sorted(map(repr, tree))[:12]) or "nothing"
    raise ValueError(f"params must be those of one recurrent layer, got {held}{hint}")


def _told(cell: Mapping[str, Any]) -> str:
    """Return the engine's name of a cell, Flax's name of one that gru lacks, or nothing."""
    names = _names(cell)
    if names == JOINED:
        shape = _dense(cell, "dense_h")[0].shape
        gates = {len(order): kind for kind, order in ORDER.items()}
        return gates.get(shape[1] // shape[0], "") if len(shape) == 2 and shape[0] else ""
    known = [*LINEN.items(), ("rnn", SIMPLE), *LACKING.items()]
    return next((kind for kind, wanted in known if names == wanted), "")


def _cells(tree: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield where cells lie in a model's parameters, and what they are."""
    if not isinstance(tree, Mapping) or depth > DEEPEST:
        return
    if path and (kind := _told(tree)):
        yield path, kind.upper() if kind in ORDER else kind
        return
    for key, value in tree.items():
        yield from _cells(value, f"{path}[{key!r}]", depth + 1)


def _cell(kind: str, cell: Mapping[str, Any]) -> Cell:
    """Return the numbers of one direction; a Dense without a bias adds nothing."""
    order = ORDER[kind]
    if _names(cell) == JOINED:
        parts = [_dense(cell, "dense_i"), _dense(cell, "dense_h")]
    elif kind == "rnn":
        parts = [_dense(cell, "i"), _dense(cell, "h")]
    else:
        parts = [_beside([_dense(cell, side + gate) for gate in order]) for side in ("i", "h")]
    (w, b), (u, c) = parts
    arrays = [None if a is None else from_order(a, order, kind) for a in (w.T, u.T, b, c)]
    return Cell(*arrays)  # type: ignore[arg-type]


def _dense(cell: Mapping[str, Any], name: str) -> tuple[Array, Array | None]:
    """Return the kernel (in, out) and the bias of a Dense layer."""
    part = cell.get(name, cell.get(name + "_"))
    if not isinstance(part, Mapping) or "kernel" not in part or part.keys() - {"kernel", "bias"}:
        raise ValueError(f"{name!r} must hold a kernel and perhaps a bias, and nothing else")
    kernel = floats(f"kernel of {name!r}", part["kernel"])
    if kernel.ndim != 2:
        raise ValueError(f"kernel of {name!r} must be a matrix (in, out), got {kernel.shape}")
    bias = part.get("bias")
    return kernel, None if bias is None else floats(f"bias of {name!r}", bias)


def _beside(parts: list[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
    """Put the gates' kernels side by side, and their biases."""
    kernels = [kernel for kernel, _ in parts]
    shapes = {kernel.shape for kernel in kernels}
    if len(shapes) > 1:
        raise ValueError(f"kernels of all gates must have one shape, got {sorted(shapes)}")
    alike("the kernels and biases", (a for part in parts for a in part if a is not None))
    width = kernels[0].shape[1]
    biases = [np.zeros(width, k.dtype) if b is None else b for k, b in parts]
    if any(bias.shape != (width,) for bias in biases):
        raise ValueError(f"biases of all gates must have shape ({width},)")
    some = any(bias is not None for _, bias in parts)
    return np.concatenate(kernels, axis=1), np.concatenate(biases) if some else None
