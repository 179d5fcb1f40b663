"""Writes a model as an ONNX graph that gives the same numbers; refuses what ONNX cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from gru import check
from gru._types import Array
from gru.convert.cells import Cell, cells_of
from gru.convert.gates import ORDERS, to_order
from gru.convert.onnx_build import TYPES, Builder, value_info
from gru.convert.onnx_proto import Graph, Model, Opset, ValueInfo, encode
from gru.layer import Layer
from gru.model import Sequential
from gru.recurrent import Recurrent
from gru.stateless import Dropout, Embedding, Last

__all__ = ["to_onnx"]

# Opset -> the version of the file format that came with it.
IR_VERSIONS = {14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
DIRECTIONS = {"forward": "forward", "reverse": "reverse", "both": "bidirectional"}
LARGEST = 2**31 - 1


def to_onnx(
    model: Sequential, *, opset: int = 14, lengths: bool = False, states: bool = False
) -> bytes:
    """Return a model as an ONNX file's content; weights keep their bits.

    The graph's input ``x`` is (batch, steps, features), or int64 (batch, steps) for an embedding;
    its output ``y`` is what the model's call returns, in the same order of axes. A stacked layer
    becomes one node a layer. Dropout is left out, as it acts in training alone.

    Parameters
    ----------
    model : Sequential
        The model.
    opset : int
        Version of ONNX's operators, 14 to 24.
    lengths : bool
        Add an input ``lengths``, int32 (batch,), with values of at least 1: the steps of each
        sequence that count, as in a call of the model. Without it all steps count.
    states : bool
        Add the initial states as inputs and the final ones as outputs, as :meth:`Sequential.carry`
        takes and returns them: ``initial_h_0`` and ``final_h_0`` for ``model.layers[0]``, and
        ``initial_c_0`` and ``final_c_0`` for an LSTM, each (batch, N*D, H). Without it they are 0.

    Returns
    -------
    bytes
        To be written to a file.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a layer has what ONNX's operators cannot say
        (``layer_norm``, ``zoneout``, :class:`gru.Masking`); the message names it.

    Notes
    -----
    ONNX operators GRU, LSTM and RNN. ONNX has no ``update_gate="new"``: the rows of z are negated,
    which is the same function. Needs NumPy alone.

    Examples
    --------
    >>> import gru
    >>> content = to_onnx(gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2)]))
    >>> len(content) > 4 * (3 * 4 * (3 + 4 + 2) + 4 * 2 + 2)
    True
    """
    check.instance("model", model, Sequential, "a Sequential")
    check.integer("opset", opset, min(IR_VERSIONS), max(IR_VERSIONS))
    flags = (check.flag("lengths", lengths), check.flag("states", states))
    graph = _Writer(model, opset, *flags).graph()
    version = [Opset(version=opset)]
    return encode(Model(IR_VERSIONS[opset], version, producer_name="gru", graph=graph))


class _Writer(Builder):
    """The graph so far, and the tensor that the next layer reads."""

    def __init__(self, model: Sequential, opset: int, lengths: bool, states: bool) -> None:
        self.model, self.dtype = model, np.dtype(model.dtype)
        self.opset, self.lengths, self.states = opset, lengths, states
        super().__init__()
        self.inputs: list[ValueInfo] = []
        self.outputs: list[ValueInfo] = []
        self.time_first = self.pooled = False
        self.padded = True  # may hold other numbers than 0 beyond a sequence's end
        self.width: int | None = None
        # Of the recurrent layer just written, its direction and Y_h of its last nodes.
        self.direction = ""
        self.finals: list[str] = []

    # --- the whole --------------------------------------------------------------------------------

    def graph(self) -> Graph:
        self._x()
        for i, layer in enumerate(self.model.layers):
            self.at = str(i)
            kind = layer.spec["kind"]
            if kind not in LAYERS:
                raise ValueError(f"layers[{i}] is {layer!r}, which ONNX's operators cannot say")
            LAYERS[kind](self, i, layer)
            if not isinstance(layer, (Recurrent, Dropout)):
                self.finals = []
        self.at = "end"
        self._y()
        return Graph(self.nodes, "gru", list(self.tensors.values()), self.inputs, self.outputs)

    def _x(self) -> None:
        first = self.model.layers[0]
        if isinstance(first, Embedding):
            self.inputs.append(value_info("x", "int64", ["batch", "steps"]))
        else:
            sizes = (layer.spec.get("input_size") for layer in self.model.layers)
            self.width = next((size for size in sizes if size), None)
            shape = ["batch", "steps", self.width or "features"]
            self.inputs.append(value_info("x", self.dtype.name, shape))
        if self.lengths:
            self.inputs.append(value_info("lengths", "int32", ["batch"]))

    def _y(self) -> None:
        self.clear()
        self.batch_first()
        if self.now == "x":
            self.then("Identity")
        last = self.now
        for node in self.nodes:
            node.input = ["y" if name == last else name for name in node.input]
            node.output = ["y" if name == last else name for name in node.output]
        shape: list[Any] = ["batch", self.width or "features"]
        if not self.pooled:
            shape.insert(1, "steps")
        self.outputs.insert(0, value_info("y", self.dtype.name, shape))

    # --- axes and lengths -------------------------------------------------------------------------

    def batch_first(self) -> None:
        if self.time_first:
            self.then("Transpose", perm=[1, 0, 2])
            self.time_first = False

    def longs(self) -> str:
        """Return the lengths in int64."""
        return self.add("Cast", ["lengths"], to=TYPES["int64"])[0]

    def mask(self) -> str:
        """Return which steps count: (batch, steps)."""
        [shape] = self.add("Shape", ["x"])
        [steps] = self.add("Gather", [shape, self.integer(1)], axis=0)
        [places] = self.add("Range", [self.integer(0), steps, self.integer(1)])
        [column] = self.add("Unsqueeze", [self.longs(), self.integers(1)])
        return self.add("Less", [places, column])[0]

    def clear(self, value: float = 0.0) -> None:
        """Set what lies beyond a sequence's end to a number."""
        if not self.lengths or self.pooled or (not self.padded and value == 0):
            return
        self.batch_first()
        [mask] = self.add("Unsqueeze", [self.mask(), self.integers(2)])
        number = self.constant(f"f{value}", np.array(value, self.dtype))
        [self.now] = self.add("Where", [mask, self.now, number])
        self.padded = value != 0

    # --- recurrent layers -------------------------------------------------------------------------

    def recurrent(self, i: int, layer: Recurrent) -> None:
        _check(i, layer)
        if not self.time_first:
            self.then("Transpose", perm=[1, 0, 2])
        initial = self._initial(i, layer)
        final: list[list[str]] = []
        for k, cells in enumerate(cells_of(layer)):
            names = [state[k] for state in initial] if initial else []
            final.append(self._one(f"{i}.l{k}", layer, cells, names))
        self.time_first, self.padded = True, False
        self.width = layer.hidden_size * (1 + layer.bidirectional)
        self.direction, self.finals = layer.spec["direction"], final[-1]
        if self.states:
            self._final(i, layer, final)

    def _one(self, name: str, layer: Recurrent, cells: list[Cell], states: list[str]) -> list[str]:
        """Append the node of one stacked layer; return the names of its final states."""
        kind = layer.spec["kind"]
        weights = [
            self.constant(f"{name}.{role}", array)
            for role, array in zip("WRB", _packed(layer, cells), strict=False)
        ]
        inputs = [self.now, *weights, *[""] * (3 - len(weights))]
        inputs += ["lengths" if self.lengths else "", *states]
        while not inputs[-1]:
            inputs.pop()
        options: dict[str, Any] = {
            "direction": DIRECTIONS[layer.spec["direction"]],
            "hidden_size": layer.hidden_size,
        }
        if kind == "gru":
            options["linear_before_reset"] = int(layer.spec["reset_after"])
        if kind == "rnn":
            options["activations"] = [layer.spec["nonlinearity"].capitalize()] * len(cells)
        self.now, *final = self.add(kind.upper(), inputs, 3 if kind == "lstm" else 2, **options)
        if len(cells) == 1:  # (T, 1, B, H) -> (T, B, H)
            self.then("Squeeze", self.integers(1))
        else:  # (T, 2, B, H) -> (T, B, 2 * H)
            self.then("Transpose", perm=[0, 2, 1, 3])
            self.then("Reshape", self.integers(0, 0, 2 * layer.hidden_size))
        return final

    def _initial(self, i: int, layer: Recurrent) -> list[list[str]]:
        """Return the inputs for the initial states, for h and c one a stacked layer."""
        if not self.states:
            return []
        found, directions = [], 1 + layer.bidirectional
        for part in _parts(layer):
            name = f"initial_{part}_{i}"
            rows = layer.num_layers * directions
            shape = ["batch", rows, layer.hidden_size]
            self.inputs.append(value_info(name, self.dtype.name, shape))
            [moved] = self.add("Transpose", [name], perm=[1, 0, 2])
            cuts = [(k * directions, (k + 1) * directions) for k in range(layer.num_layers)]
            found.append(
                [self._rows(moved, *cut) for cut in cuts] if layer.num_layers > 1 else [moved]
            )
        return found

    def _rows(self, name: str, start: int, end: int) -> str:
        places = [self.integers(start), self.integers(end), self.integers(0)]
        return self.add("Slice", [name, *places])[0]

    def _final(self, i: int, layer: Recurrent, final: list[list[str]]) -> None:
        for part, names in zip(_parts(layer), zip(*final, strict=True), strict=True):
            whole = names[0] if len(names) == 1 else self.add("Concat", names, axis=0)[0]
            self.add("Transpose", [whole], perm=[1, 0, 2])
            self.nodes[-1].output = [f"final_{part}_{i}"]
            rows = layer.num_layers * (1 + layer.bidirectional)
            shape = ["batch", rows, layer.hidden_size]
            self.outputs.append(value_info(f"final_{part}_{i}", self.dtype.name, shape))

    # --- the other layers -------------------------------------------------------------------------

    def embedding(self, i: int, layer: Layer) -> None:
        if self.lengths:  # a place beyond the end may hold any integer
            [self.now] = self.add("Where", [self.mask(), "x", self.integer(0)])
        table = self.constant(f"{i}.weight", layer.parameters["weight"])
        [self.now] = self.add("Gather", [table, self.now], axis=0)
        self.width, self.padded = layer.spec["hidden_size"], True

    def linear(self, i: int, layer: Layer) -> None:
        self.then("MatMul", self.constant(f"{i}.weight", layer.parameters["weight"].T))
        if "bias" in layer.parameters:
            self.then("Add", self.constant(f"{i}.bias", layer.parameters["bias"]))
            self.padded = True
        self.width = layer.spec["hidden_size"]

    def activation(self, i: int, layer: Layer) -> None:
        kind = layer.spec["nonlinearity"]
        self.then(kind.capitalize(), **({"axis": -1} if kind == "softmax" else {}))
        self.padded = self.padded or kind in ("sigmoid", "softmax")

    def affine(self, i: int, layer: Layer) -> None:
        self.then("Mul", self.constant(f"{i}.weight", layer.parameters["weight"]))
        self.then("Add", self.constant(f"{i}.bias", layer.parameters["bias"]))
        self.width, self.padded = layer.spec["input_size"], True

    def reverse(self, i: int, layer: Layer) -> None:
        self.batch_first()
        if self.lengths:  # it leaves what is beyond a sequence's end where it is
            self.then("ReverseSequence", self.longs(), batch_axis=0, time_axis=1)
        else:
            places = [self.integers(n) for n in (-1, -LARGEST, 1, -1)]
            self.then("Slice", *places)

    def dropout(self, i: int, layer: Layer) -> None:
        """Leave it out: it does nothing in a plain call."""

    def pool(self, i: int, layer: Layer) -> None:
        how = layer.spec["pool"]
        if isinstance(layer, Last):
            self._last(i, bool(layer.bidirectional))
        elif how == "mean":
            self._mean()
        else:
            self.clear(-np.inf)
            self.batch_first()
            self._reduce("ReduceMax")
        self.pooled = True
        self.time_first = False

    def _reduce(self, op: str) -> None:
        """Reduce over the steps of (batch, steps, features); axes are an input since opset 18."""
        if self.opset < 18:
            self.then(op, axes=[1], keepdims=0)
        else:
            self.then(op, self.integers(1), keepdims=0)

    def _mean(self) -> None:
        self.clear()
        self.batch_first()
        if not self.lengths:
            self._reduce("ReduceMean")
            return
        self.then("ReduceSum", self.integers(1), keepdims=0)
        [count] = self.add("Cast", ["lengths"], to=TYPES[self.dtype.name])
        [column] = self.add("Unsqueeze", [count, self.integers(1)])
        self.then("Div", column)

    def _last(self, i: int, both: bool) -> None:
        direction = self.direction if self.finals else ""
        if direction == "forward" and not both:
            [self.now] = self.add("Squeeze", [self.finals[0], self.integers(0)])
        elif direction == "both" and both:
            [self.now] = self.add("Transpose", [self.finals[0]], perm=[1, 0, 2])
            self.then("Reshape", self.integers(0, cast(int, self.width)))
        else:
            self._step(i, both)

    def _step(self, i: int, both: bool) -> None:
        """Take the last step that counts, and the second half of the features at the first."""
        if both and self.width is None:
            raise ValueError(f"layers[{i}] halves features whose number no layer before it says")
        self.clear()
        self.batch_first()
        [first] = self.add("Gather", [self.now, self.integer(0)], axis=1)
        if self.lengths:
            [end] = self.add("Sub", [self.longs(), self.integer(1)])
            [place] = self.add("Unsqueeze", [end, self.integers(1)])
            self.then("GatherND", place, batch_dims=1)
        else:
            self.then("Gather", self.integer(-1), axis=1)
        if both:
            half = cast(int, self.width) // 2
            cuts = [(self.now, 0, half), (first, half, 2 * half)]
            halves = [
                self.add("Slice", [name, self.integers(a), self.integers(b), self.integers(1)])[0]
                for name, a, b in cuts
            ]
            [self.now] = self.add("Concat", halves, axis=1)


LAYERS: dict[str, Callable[[_Writer, int, Any], None]] = {
    **dict.fromkeys(("gru", "lstm", "rnn"), _Writer.recurrent),
    "activation": _Writer.activation,
    "affine": _Writer.affine,
    "dropout": _Writer.dropout,
    "embedding": _Writer.embedding,
    "linear": _Writer.linear,
    "pool": _Writer.pool,
    "reverse": _Writer.reverse,
}


def _parts(layer: Recurrent) -> str:
    return "hc" if layer.spec["kind"] == "lstm" else "h"


def _check(i: int, layer: Recurrent) -> None:
    if layer.spec.get("layer_norm"):
        raise ValueError(f"layers[{i}] has layer_norm=True, which ONNX's operators cannot say")
    if layer.zoneout:
        raise ValueError(
            f"layers[{i}] has zoneout={layer.zoneout}, which blends states in a plain call too and "
            "which ONNX's operators cannot say"
        )


def _packed(layer: Recurrent, cells: list[Cell]) -> list[Array]:
    """Return W (D, G*H, I), R (D, G*H, H) and, with biases, B (D, 2*G*H) of one stacked layer."""
    kind = layer.spec["kind"]
    negate = kind == "gru" and layer.spec["update_gate"] == "new"

    def rows(array: Array) -> Array:
        moved = to_order(array, ORDERS["onnx"][kind], kind)
        if negate:  # sigmoid(-a) = 1 - sigmoid(a), and z comes first
            moved[: layer.hidden_size] *= -1
        return moved

    parts = [[rows(array) for array in cell if array is not None] for cell in cells]
    whole = [np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])]
    if layer.bias:
        whole.append(np.stack([np.concatenate(part[2:]) for part in parts]))
    return whole
