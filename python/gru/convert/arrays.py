"""Takes one recurrent layer as the matrices of an equation; every choice is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gru import check
from gru._types import Array
from gru.convert.cells import Cell, build
from gru.convert.gates import OWN, from_order
from gru.convert.host import alike, floats
from gru.layer import dtype_name
from gru.recurrent import Recurrent

__all__ = ["from_arrays"]

# What a gate may be called, by the cell and its own letter.
GATES: dict[str, dict[str, tuple[str, ...]]] = {
    "gru": {"r": ("r", "reset"), "z": ("z", "update"), "n": ("n", "h", "new", "candidate")},
    "lstm": {
        "i": ("i", "input"),
        "f": ("f", "forget"),
        "g": ("g", "c", "cell", "candidate"),
        "o": ("o", "output"),
    },
}
ROLES = ("W", "U", "b", "c")
NAMES = (
    "W_r, W_z, W_n (or W_h) of a GRU, W_i, W_f, W_g (or W_c), W_o of an LSTM, U, b and c likewise, "
    "or W, U, b and c alone, which are stacked gates or a plain RNN's"
)

CHOICES = {
    "reset_after": "True if n = tanh(W_n x + r * (U_n h)), False if n = tanh(W_n x + U_n (r * h))",
    "update_gate": "'keep' if h' = (1 - z) * n + z * h, 'new' if h' = (1 - z) * h + z * n",
    "nonlinearity": "'tanh' or 'relu'",
}


def from_arrays(
    *,
    order: str | None = None,
    transposed: bool | None = None,
    reset_after: bool | None = None,
    update_gate: str | None = None,
    nonlinearity: str | None = None,
    reverse: bool = False,
    dtype: DTypeLike | None = None,
    **arrays: Any,
) -> Recurrent:
    """Build a recurrent layer from the matrices of an article or of one's own code.

    The names are those of the equations. Each gate is a function of ``W x + b + U h + c``; a GRU's
    candidate is ``tanh(W_n x + b_n + r * (U_n h + c_n))`` with ``reset_after=True`` and
    ``tanh(W_n x + b_n + U_n (r * h) + c_n)`` with ``reset_after=False``.

    Parameters
    ----------
    order : str, optional
        The gates of stacked matrices in their order, as letters or words: ``"z r n"``,
        ``"update reset new"``, ``"i f g o"``, ``"input forget cell output"``. It also says
        which cell it is.
    transposed : bool, optional
        Whether matrices are (in, out), used as ``x W``, instead of (out, in), used as ``W x``.
        Needed only where all shapes fit both.
    reset_after : bool
        Of a GRU, where it must be given: whether the reset gate acts after the product with U_n.
    update_gate : {"keep", "new"}
        Of a GRU, where it must be given: ``"keep"`` if ``h' = (1 - z) * n + z * h`` (Cho et al.
        2014), ``"new"`` if ``h' = (1 - z) * h + z * n`` (Chung et al. 2014, most articles).
    nonlinearity : {"tanh", "relu"}
        Of a plain RNN, where it must be given.
    reverse : bool
        Read sequences from their end, as the backward half of a bidirectional layer.
    dtype : {"float32", "float64"}, optional
        Of the layer; without it that of the arrays, which is float64 for lists.
    **arrays : array_like
        ``W_r``, ``U_r`` and so on, one of each for every gate: (H, I) and (H, H). ``b_r`` (H,)
        and so on are optional, all or none; where there are two biases, ``c_r`` and so on are
        those on the side of U (of a GRU, ``c_n`` may be the only one). Gates: r, z, n (or h) of a
        GRU; i, f, g (or c), o of an LSTM. Or stacked, with ``order``: ``W`` (G*H, I), ``U``
        (G*H, H), ``b``, ``c`` (G*H,). A plain RNN has ``W``, ``U``, ``b``, ``c`` and no order.

    Returns
    -------
    GRU, LSTM or RNN
        One layer, one direction.

    Raises
    ------
    TypeError
        If an array holds no floating-point numbers.
    ValueError
        If an array is missing, unknown or does not fit, or a choice is not given.

    Examples
    --------
    >>> import numpy as np, gru
    >>> W, U = np.ones((3, 2)), np.ones((3, 3))
    >>> gru.from_arrays(W_r=W, W_z=W, W_h=W, U_r=U, U_z=U, U_h=U,
    ...                 reset_after=False, update_gate="new")
    GRU(2, 3, bias=False, reset_after=False, update_gate='new', dtype='float64')
    """
    given = {name: _numbers(name, value, dtype) for name, value in arrays.items()}
    alike("arrays, unless dtype is given,", given.values())
    stacked = order is not None or given.keys() <= {*ROLES}
    kind = _kind_of(order) if order is not None else "rnn" if stacked else _kind_by(given)
    blocks = _blocks(given, kind, order) if stacked else _by_gate(given, kind)
    weights, biases = _matrices(blocks, kind, stacked, transposed), _biases(blocks)
    cell = Cell(*(_joined(part, kind, order) for part in (*weights, *biases)))
    options = _choices(kind, reset_after, update_gate, nonlinearity)
    options["reverse"] = check.flag("reverse", reverse)
    return build(kind, [[cell]], name="from_arrays", **options)


def _numbers(name: str, value: Any, dtype: DTypeLike | None) -> Array:
    if isinstance(value, (list, tuple)):
        value = check.numbers(name, value).astype(np.float64)
    found = floats(name, value)
    return found if dtype is None else np.asarray(found).astype(dtype_name(dtype))


# --- which arrays there are -----------------------------------------------------------------------


def _kind_of(order: str) -> str:
    """Return the cell whose gates an order names."""
    letters = {kind: _letters(order, kind) for kind in GATES}
    for kind, found in letters.items():
        if found and sorted(found) == sorted(OWN[kind]):
            return kind
    wanted = "each gate once, as in 'r z n', 'update reset new' or 'i f g o'"
    raise ValueError(f"order must name {wanted}, got {order!r}")


def _letters(order: str, kind: str) -> str:
    """Return an order in the cell's own letters, or nothing if it has a gate that is not there."""
    words = check.text("order", order).replace(",", " ").split()
    words = list(words[0]) if len(words) == 1 else words
    own = {name: letter for letter, names in GATES[kind].items() for name in names}
    return "".join(own.get(word, "") for word in words) if own.keys() >= set(words) else ""


def _kind_by(given: Mapping[str, Array]) -> str:
    """Return the cell whose gates the arrays' names have."""
    for kind, gates in GATES.items():
        known = {f"{role}_{name}" for role in ROLES for names in gates.values() for name in names}
        if given.keys() <= known:
            return kind
    known = {
        f"{r}_{n}" for r in ROLES for g in GATES.values() for names in g.values() for n in names
    }
    odd = sorted(given.keys() - known - {*ROLES}) or sorted(given)
    raise ValueError(f"the arrays' names must be {NAMES}; got {', '.join(odd)}")


def _by_gate(given: Mapping[str, Array], kind: str) -> dict[str, dict[str, Array]]:
    """Return the arrays by role, then by the gate's own letter."""
    found: dict[str, dict[str, Array]] = {role: {} for role in ROLES}
    for role in ROLES:
        for letter, names in GATES[kind].items():
            there = [f"{role}_{name}" for name in names if f"{role}_{name}" in given]
            if len(there) > 1:
                raise ValueError(f"{' and '.join(there)} are two names of one array; give one")
            if there:
                found[role][letter] = given[there[0]]
    for role, gates in found.items():
        alone = role == "c" and kind == "gru" and gates.keys() == {"n"}
        missing = [f"{role}_{letter}" for letter in OWN[kind] if letter not in gates]
        if missing and (gates or role in "WU") and not alone:
            raise ValueError(f"{', '.join(missing)} must be given too: this is a {kind.upper()}")
    return found


def _blocks(
    given: Mapping[str, Array], kind: str, order: str | None
) -> dict[str, dict[str, Array]]:
    """Return stacked arrays by role, with all gates as one."""
    odd = sorted(given.keys() - {*ROLES})
    if odd:
        raise ValueError(f"with order, the arrays are W, U, b and c, got {', '.join(odd)}")
    for role in "WU":
        if role not in given:
            raise ValueError(f"{role} must be given: {NAMES}")
    return {role: {"": given[role]} if role in given else {} for role in ROLES}


# --- what shapes they have ------------------------------------------------------------------------


def _matrices(
    blocks: Mapping[str, Mapping[str, Array]], kind: str, stacked: bool, transposed: bool | None
) -> list[dict[str, Array]]:
    """Return W and U as (out, in), or say which shapes do not fit."""
    shapes = {f"{r}_{g}".strip("_"): a.shape for r in "WU" for g, a in blocks[r].items()}
    gates = len(OWN[kind]) if stacked else 1
    fits = [way for way in (False, True) if _fit(shapes, gates, flipped=way)]
    if not fits:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        rows = f"{gates}*H" if gates > 1 else "H"
        hint = ""
        if kind == "rnn" and _fit(shapes, 3) + _fit(shapes, 4) + _fit(shapes, 3, flipped=True):
            hint = "; stacked gates need order, such as 'r z n'"
        raise ValueError(
            f"W must have shape ({rows}, I) and U ({rows}, H), or all (in, out), got {shown}{hint}"
        )
    if transposed is None and len(fits) > 1:
        raise ValueError(
            "transposed must be given, because all shapes fit both: False if the matrices are used "
            "as W x (out, in), True if as x W (in, out)"
        )
    turned = fits[0] if transposed is None else check.flag("transposed", transposed)
    if turned not in fits:
        raise ValueError(f"transposed={turned} does not fit: {shapes}")
    return [{g: a.T if turned else a for g, a in blocks[role].items()} for role in "WU"]


def _fit(shapes: Mapping[str, tuple[int, ...]], gates: int, *, flipped: bool = False) -> bool:
    """Say whether all shapes are those of one layer."""
    ways = [(name, shape[::-1] if flipped else shape) for name, shape in shapes.items()]
    if any(len(shape) != 2 or 0 in shape for _, shape in ways):
        return False
    hidden = next(shape[1] for name, shape in ways if name[0] == "U")
    inputs = next(shape[1] for name, shape in ways if name[0] == "W")
    wanted = {"W": (gates * hidden, inputs), "U": (gates * hidden, hidden)}
    return all(shape == wanted[name[0]] for name, shape in ways)


def _biases(blocks: Mapping[str, Mapping[str, Array]]) -> list[dict[str, Array]]:
    if blocks["c"] and not blocks["b"]:
        raise ValueError("c is the second bias, beside b; if there is only one, it is b")
    return [{g: _row(f"{r}_{g}".strip("_"), a) for g, a in blocks[r].items()} for r in "bc"]


def _row(name: str, bias: Array) -> Array:
    """Return a bias as a vector; a matrix of one row or column, as equations have it, is one."""
    if bias.ndim == 1 or (bias.ndim == 2 and 1 in bias.shape):
        return bias.reshape(-1)
    raise ValueError(f"{name} must be a vector, got shape {bias.shape}")


def _joined(part: dict[str, Array], kind: str, order: str | None) -> Any:
    """Return the gates' arrays as one, in the engine's order; nothing if there are none."""
    if not part:
        return None
    if "" in part:
        stacked = part[""]
        return stacked if order is None else from_order(stacked, _letters(order, kind), kind)
    some = next(iter(part.values()))
    return np.concatenate([part.get(letter, np.zeros_like(some)) for letter in OWN[kind]])


def _choices(
    kind: str, reset_after: bool | None, update_gate: str | None, nonlinearity: str | None
) -> dict[str, Any]:
    """Return the options of the layer; those of its cell must all be given, and no others."""
    given = {"reset_after": reset_after, "update_gate": update_gate, "nonlinearity": nonlinearity}
    mine = {"gru": ("reset_after", "update_gate"), "rnn": ("nonlinearity",)}.get(kind, ())
    for name, value in given.items():
        if name in mine and value is None:
            raise ValueError(f"{name} must be given: {CHOICES[name]}")
        if name not in mine and value is not None:
            raise ValueError(f"{name} is no choice of this cell, {kind.upper()}; leave it out")
    return {name: given[name] for name in mine}
