"""Reads single GRU, LSTM and RNN nodes of an ONNX file, whatever else its graph holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np

from gru._types import Array, State
from gru.convert.cells import Cell, build
from gru.convert.gates import ORDERS, OWN, from_order
from gru.convert.onnx_file import RECURRENT, OnnxFile, called
from gru.convert.onnx_fold import Scope, Spread
from gru.convert.onnx_proto import Node
from gru.recurrent import Recurrent

__all__ = ["RecurrentNode", "load_onnx_node", "recurrent_nodes"]

DEEPEST = 30  # graphs inside graphs
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DIRECTIONS = ("forward", "reverse", "bidirectional")
STATES = {"gru": ("initial_h",), "lstm": ("initial_h", "initial_c"), "rnn": ("initial_h",)}
DEFAULTS = {
    "gru": ["Sigmoid", "Tanh"],
    "lstm": ["Sigmoid", "Tanh", "Tanh"],
    "rnn": ["Tanh"],
}
# Attribute -> its type, and the value that means what a node without it does. The functions that
# we have take neither alpha nor beta, so that any value of the two means the same.
ATTRIBUTES: dict[str, tuple[type, Any]] = {
    "activation_alpha": (list, None),
    "activation_beta": (list, None),
    "activations": (list, None),
    "clip": (float, None),
    "direction": (str, "forward"),
    "hidden_size": (int, None),
    "input_forget": (int, 0),
    "layout": (int, 0),
    "linear_before_reset": (int, 0),
}
OF_ONE = {"linear_before_reset": "gru", "input_forget": "lstm"}  # what only one cell has


@dataclass
class RecurrentNode:
    """One node as its file gives it, in the engine's order of gates.

    Attributes
    ----------
    file, node, scope
        Where it stands.
    kind : {"gru", "lstm", "rnn"}
        The cell.
    cells : list of Cell
        One a direction.
    direction : {"forward", "reverse", "bidirectional"}
        As the node has it.
    batch_first : bool
        Whether its arrays are batch first (``layout=1``).
    options : dict
        Of the layer: ``reset_after`` or ``nonlinearity``.
    """

    file: OnnxFile
    node: Node
    scope: Scope
    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        """As the node has it."""
        return str(self.attributes["direction"])

    @property
    def batch_first(self) -> bool:
        """Whether its arrays are batch first."""
        return bool(self.attributes["layout"])

    @property
    def title(self) -> str:
        """The node, for messages."""
        return f"{self.node.op_type} node {called(self.node)!r}"

    @property
    def name(self) -> str:
        """File and node, for messages."""
        return f"{self.file.name}: {self.title}"

    def input(self, role: str) -> str:
        """Return the name of one of the node's inputs, empty if it is left out."""
        place = INPUTS.index(role)
        return self.node.input[place] if place < len(self.node.input) else ""

    def layer(self, *, reverse: bool | None = None) -> Recurrent:
        """Build the layer; ``reverse`` may turn the direction of one that has only one."""
        back = self.direction == "reverse" if reverse is None else reverse
        return build(self.kind, [self.cells], name=self.name, reverse=back, **self.options)

    def state(self, role: str) -> Array | None:
        """Return a constant initial state, (1 or B, D, H); ``None`` if it is zero or an input."""
        name = self.input(role)
        value = self.scope.constant(name) if name else None
        if isinstance(value, Spread):
            value = value.array
        if value is None or (value.dtype.kind == "f" and not value.any()):
            return None
        directions, hidden = len(self.cells), self.cells[0].weight_hh.shape[1]
        batch = value.shape[0 if self.batch_first else 1] if value.ndim == 3 else 1
        shape = (directions, batch, hidden)
        if self.batch_first:
            shape = (batch, directions, hidden)
        try:
            whole = np.broadcast_to(_floats(value), shape)
        except ValueError as error:
            wanted = f"must have shape {shape}, got {value.shape}"
            raise self.file.error(f"{self.title}: {role} {error or wanted}") from None
        return whole if self.batch_first else whole.swapaxes(0, 1)


def recurrent_nodes(scope: Scope, depth: int = 0) -> Iterator[tuple[Scope, Node]]:
    """Return all recurrent nodes of a graph and of the graphs inside it, with their scopes."""
    if depth > DEEPEST:
        raise scope.file.error(f"its graphs are nested deeper than {DEEPEST}")
    for node in scope.graph.node:
        if node.op_type in RECURRENT and node.domain in ("", "ai.onnx"):
            yield scope, node
        for inner in scope.inner(node):
            yield from recurrent_nodes(inner, depth + 1)


def read_node(scope: Scope, node: Node) -> RecurrentNode:
    """Read attributes and weights of a node.

    Raises
    ------
    ValueError
        If it has an option that the engine lacks, or does not add up.
    """
    found = RecurrentNode(scope.file, node, scope, node.op_type.lower())
    found.attributes = _attributes(found)
    _check_inputs(found)
    if found.kind == "gru":
        found.options["reset_after"] = bool(found.attributes["linear_before_reset"])
    activations = _activations(found)
    if found.kind == "rnn":
        found.options["nonlinearity"] = activations[0]
    found.cells = _cells(found)
    return found


def _attributes(found: RecurrentNode) -> dict[str, Any]:
    given = found.file.attributes(found.node)
    values = {name: default for name, (_, default) in ATTRIBUTES.items()}
    for name, value in given.items():
        if name not in ATTRIBUTES or OF_ONE.get(name, found.kind) != found.kind:
            raise found.file.error(
                f"{found.title} has the attribute {name!r}, which is not supported"
            )
        if not isinstance(value, ATTRIBUTES[name][0]):
            kind = ATTRIBUTES[name][0].__name__
            raise found.file.error(f"{found.title}: {name} must be of type {kind}, got {value!r}")
        values[name] = value
    values["direction"] = values["direction"].lower()
    if values["direction"] not in DIRECTIONS:
        wanted = ", ".join(DIRECTIONS)
        raise found.file.error(
            f"{found.title}: direction must be of {wanted}, got {values['direction']!r}"
        )
    for name in ("layout", "linear_before_reset", "input_forget"):
        if values[name] not in (0, 1):
            raise found.file.error(f"{found.title}: {name} must be 0 or 1, got {values[name]}")
    if values["clip"] is not None:
        raise found.file.error(
            f"{found.title} has clip={values['clip']:g}, which the engine lacks: it would "
            "limit the input of each activation"
        )
    if values["input_forget"]:
        raise found.file.error(
            f"{found.title} has input_forget=1, coupled gates, which the engine lacks"
        )
    return values


def _check_inputs(found: RecurrentNode) -> None:
    count = {"lstm": 8}.get(found.kind, 6)
    if len(found.node.input) > count:
        got = len(found.node.input)
        raise found.file.error(f"{found.title} must have at most {count} inputs, got {got}")
    if found.input("P"):
        raise found.file.error(f"{found.title} has peepholes (input P), which the engine lacks")


def _activations(found: RecurrentNode) -> list[str]:
    """Return the one set of functions of all directions, in lower case, if the engine has it."""
    default = [name.lower() for name in DEFAULTS[found.kind]]
    given = found.attributes["activations"]
    if given is None:
        return default
    names, directions = [name.lower() for name in given], 1 + (found.direction == DIRECTIONS[2])
    allowed = [default] + ([["relu"]] if found.kind == "rnn" else [])
    for functions in allowed:
        if names == functions * directions:
            return functions
    wanted = " or ".join(str([name.capitalize() for name in one * directions]) for one in allowed)
    raise found.file.error(f"{found.title}: activations must be {wanted}, got {given}")


def _floats(value: Array) -> Array:
    """Return weights in float32 or float64."""
    if value.dtype.kind != "f":
        raise ValueError(f"must hold floating-point numbers, got {value.dtype}")
    return value.astype(np.float32) if value.dtype.itemsize == 2 else value


def _weight(found: RecurrentNode, role: str, shape: tuple[int | None, ...]) -> Array:
    name = found.input(role)
    value = found.scope.constant(name) if name else None
    if not isinstance(value, np.ndarray) or value.dtype == object:
        why = found.scope.producer(name) if name else "is left out"
        raise found.file.error(
            f"{found.title}: {role} {name!r} must be a constant of the file, but {why}"
        )
    shown = str(tuple("any" if n is None else n for n in shape)).replace("'", "")
    if value.ndim != len(shape) or any(
        n not in (None, m) for n, m in zip(shape, value.shape, strict=True)
    ):
        raise found.file.error(f"{found.title}: {role} must have shape {shown}, got {value.shape}")
    try:
        return _floats(value)
    except ValueError as error:
        raise found.file.error(f"{found.title}: {role} {error}") from None


def _cells(found: RecurrentNode) -> list[Cell]:
    kind, hidden = found.kind, found.attributes["hidden_size"]
    gates, directions = len(OWN[kind]), 1 + (found.direction == DIRECTIONS[2])
    r = _weight(found, "R", (directions, None, hidden))
    hidden = r.shape[2]
    r = _weight(found, "R", (directions, gates * hidden, hidden))
    w = _weight(found, "W", (directions, gates * hidden, None))
    found.file.claims.take(w.nbytes + r.nbytes)
    order = ORDERS["onnx"][kind]
    parts = [(w[d], r[d]) for d in range(directions)]
    if found.input("B"):
        b = _weight(found, "B", (directions, 2 * gates * hidden))
        parts = [(*parts[d], *np.split(b[d], 2)) for d in range(directions)]
    return [Cell(*(from_order(array, order, kind) for array in part)) for part in parts]


def _chosen(scope: Scope, name: str | None) -> tuple[Scope, Node]:
    """Return the node of a name, or the only one."""
    nodes = list(recurrent_nodes(scope))
    listed = ", ".join(f"{called(node)!r} ({node.op_type})" for _, node in nodes[:20]) or "none"
    if name is None:
        if len(nodes) != 1:
            raise scope.file.error(
                f"name must say which of its {len(nodes)} recurrent nodes is meant: {listed}"
            )
        return nodes[0]
    found = [at for at in nodes if name == at[1].name] or [
        at for at in nodes if name in filter(None, at[1].output)
    ]
    if not found:
        raise scope.file.error(f"no recurrent node is called {name!r}; it has {listed}")
    if len(found) > 1:
        outputs = ", ".join(repr(node.output[0]) for _, node in found[:20])
        raise scope.file.error(
            f"{len(found)} nodes are called {name!r}; name an output instead, as {outputs}"
        )
    return found[0]


@overload
def load_onnx_node(
    path: str | bytes | os.PathLike[Any],
    name: str | None = None,
    *,
    with_state: Literal[False] = False,
) -> Recurrent: ...
@overload
def load_onnx_node(
    path: str | bytes | os.PathLike[Any], name: str | None = None, *, with_state: Literal[True]
) -> tuple[Recurrent, State | None]: ...
def load_onnx_node(
    path: str | bytes | os.PathLike[Any], name: str | None = None, *, with_state: bool = False
) -> Recurrent | tuple[Recurrent, State | None]:
    """Read one GRU, LSTM or RNN node of an ONNX file as a layer, whatever else the file holds.

    Attributes that the engine has mean the same: ``linear_before_reset`` is ``reset_after``,
    ``direction`` is ``reverse`` or ``bidirectional``, the function of an RNN its
    ``nonlinearity``. The layer is batch first whatever the node's ``layout``. Weights may be
    initializers, constants, or made of them by operators that move numbers, in float32, float64,
    float16 or bfloat16 (which become float32, exactly).

    Parameters
    ----------
    path : str or path
        The file.
    name : str, optional
        The node's name or that of one of its outputs, also inside the bodies of If and Loop. The
        only recurrent node if not given.
    with_state : bool
        Return the initial state too, which some files hold as a constant.

    Returns
    -------
    layer : GRU, LSTM or RNN
        An initial state and lengths that the graph would give, are given in its calls: the state
        is (B, D, H), where ONNX has (D, B, H).
    state : ndarray, pair of ndarray or None
        With ``with_state``: the constant initial state as the layer takes it, (1, D, H) or
        (B, D, H); ``None`` if it is zero or no constant.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged; if the node is not found or not told from others; if the engine lacks
        what it has: ``clip``, other functions, ``input_forget``, peepholes, constant
        ``sequence_lens``; or if it has a constant initial state that is not zero and
        ``with_state`` is False.

    Notes
    -----
    ONNX operators GRU, LSTM and RNN, versions 7 to 22. Needs NumPy alone.

    Examples
    --------
    >>> import os, tempfile, gru
    >>> from gru.convert.onnx_write import to_onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.onnx")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(to_onnx(gru.Sequential([gru.GRU(3, 4, reset_after=False)])))
    ...     load_onnx_node(path)
    GRU(3, 4, reset_after=False)
    """
    file = OnnxFile(path)
    node = read_node(*_chosen(Scope(file, file.graph), name))
    lengths = node.input("sequence_lens")
    if lengths and node.scope.constant(lengths) is not None:
        raise file.error(
            f"has constant sequence_lens ({lengths!r}), which a layer takes with each call instead",
            node.node,
        )
    layer = node.layer()
    states = {role: node.state(role) for role in STATES[node.kind]}
    given = [role for role, value in states.items() if value is not None]
    if not with_state:
        if given:
            raise file.error(
                f"{node.title} starts from a constant state that is not zero ({given[0]}); "
                "with_state=True returns it beside the layer"
            )
        return layer
    return layer, _whole(list(states.values()), layer)


def _whole(states: list[Array | None], layer: Recurrent) -> State | None:
    """Return states as the layer takes them; one that is not given is zero beside the other."""
    shape = next((value.shape for value in states if value is not None), None)
    if shape is None:
        return None
    made = [np.zeros(shape, layer.dtype) if v is None else np.array(v, layer.dtype) for v in states]
    return made[0] if len(made) == 1 else (made[0], made[1])
