"""Reads a whole ONNX graph that is one chain of layers; refuses by name whatever is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gru import check
from gru.convert.convention import convention
from gru.convert.damage import FileError
from gru.convert.onnx_chain import Chain
from gru.convert.onnx_file import RECURRENT, OnnxFile, called
from gru.convert.onnx_fold import Op, Scope, Spread, axes_of, fold, integers, slices
from gru.convert.onnx_inputs import behind, input_signal, inputs
from gru.convert.onnx_masks import (
    Given,
    Mask,
    column_of,
    compared,
    counted,
    lengths_of,
    less_one,
    masked,
    mixed,
    moved,
    sizes_of,
    state_of,
    widened,
)
from gru.convert.onnx_nodes import STATES, RecurrentNode, read_node, recurrent_nodes
from gru.convert.onnx_proto import Node
from gru.convert.onnx_signal import Signal
from gru.convert.source import note
from gru.model import Sequential

__all__ = ["load_onnx"]

ONNX = ("", "ai.onnx")
LARGEST = 2**31 - 2
MOVES = {"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def load_onnx(path: str | bytes | os.PathLike[Any], *, zero_states: bool = False) -> Sequential:
    """Read an ONNX file whose graph is one chain of layers as a model.

    It may hold GRU, LSTM and RNN nodes in every direction (stacked ones become layers one after
    the other), MatMul, Gemm and Add with constants (:class:`gru.Linear`), Mul and Add of one
    number a feature (:class:`gru.Affine`), Gather (:class:`gru.Embedding`), Relu, Sigmoid, Tanh
    and Softmax, Dropout, the mean or maximum over time, the last step or the final state
    (:class:`gru.Last`), and between them whatever only moves axes. Weights may be given as for
    :func:`gru.convert.onnx_nodes.load_onnx_node`.

    Parameters
    ----------
    path : str or path
        The file.
    zero_states : bool
        Take the initial states of layers that read backward, where they are inputs of the graph,
        as 0: no model goes on from them. Such a graph is refused otherwise.

    Returns
    -------
    Sequential
        It takes (B, T, I) and gives (B, T, K) or (B, K), whatever order of axes the graph has.
        ``metadata["source"]`` says what was found, and names the inputs for initial states and
        lengths that the graph has.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or the graph is no such chain; the message names the node.

    Notes
    -----
    Initial states that are inputs of the graph become those of :meth:`gru.Sequential.carry`: a
    list with one entry a recurrent layer in the graph's order, each (B, D, H), or the pair (h, c)
    of an LSTM; final states that are outputs of the graph are what it returns, in the same order.
    An input with the sequences' lengths becomes ``lengths`` of a call. At steps beyond a
    sequence's end the model gives 0, where a graph with layers after the recurrent ones may give
    anything. Versions 7 and newer of ONNX's operators are read. Needs NumPy alone.

    Examples
    --------
    >>> import os, tempfile, gru
    >>> from gru.convert.onnx_write import to_onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.onnx")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(to_onnx(gru.Sequential([gru.GRU(3, 4), gru.Last()])))
    ...     load_onnx(path)
    Sequential([GRU(3, 4), Last()])
    """
    file = OnnxFile(path)
    model, found = _Walk(file, check.flag("zero_states", zero_states)).model()
    model.metadata.update(note("onnx", path, convention("onnx", model.layers), found))
    return model


class _Walk:
    """Follows the nodes from the input to the output, and builds the chain they are."""

    def __init__(self, file: OnnxFile, zero_states: bool) -> None:
        self.file, self.zero_states = file, zero_states
        self.scope = Scope(file, file.graph)
        self.chain = Chain(file)
        self.values: dict[str, Any] = {}
        self.found: list[str] = []
        self.read = 0

    def model(self) -> tuple[Sequential, list[str]]:
        recurrent = list(recurrent_nodes(self.scope))
        self.needed = behind(self.file.graph, [info.name for info in self.file.graph.output])
        self._start()
        for node in self.file.graph.node:
            if self.needed & set(node.output):
                self._node(node)
        for _, node in recurrent[self.read :] if self.read < len(recurrent) else []:
            raise self._refused(node, "does not reach the output: it would be left out")
        self._finish()
        return self.chain.model(), self.found

    def _start(self) -> None:
        """Find the one input that the layers read; the others are states or lengths."""
        data, others = inputs(self.file.graph)
        if len(data) != 1 or not self.file.graph.output:
            names = ", ".join(repr(info.name) for info in data) or "none"
            raise self.file.error(
                f"a chain of layers needs one input and an output, but the outputs are computed "
                f"from {names}; {self._advice()}"
            )
        for info in others:
            self.values[info.name] = Given.of(info)
        try:
            self.values[data[0].name] = input_signal(data[0], self.chain.parts)
        except ValueError as error:
            raise self.file.error(f"{error}; {self._advice()}") from None

    # --- nodes ------------------------------------------------------------------------------------

    def _value(self, node: Node, name: str) -> Any:
        if not name:
            return None
        value = self.values[name] if name in self.values else self.scope.constant(name)
        if value is None:
            raise self.file.error(f"reads {name!r}, which no node before it gives", node)
        return value

    def _node(self, node: Node) -> None:
        inputs = [self._value(node, name) for name in node.input]
        known = node.op_type == "Range" or any(isinstance(v, (Signal, Given, Mask)) for v in inputs)
        if not known:
            if self.scope.constant(next(filter(None, node.output))) is not None:
                return
            outputs = fold(node, inputs, self.file)
            if outputs is None:
                raise self._refused(node, "is no operator that is computed from constants")
        else:
            outputs = self._applied(Op(node, self.file.attributes(node), inputs, self.file))
        self.values.update(zip(node.output, outputs, strict=False))

    def _applied(self, op: Op) -> list[Any]:
        kind = op.node.op_type
        if op.node.domain not in ONNX or kind not in OPERATORS:
            raise self._refused(op.node, "is no layer of a chain that gru has")
        try:
            given = kind in MOVES and isinstance(op.inputs[0], Given)
            outputs = moved(op) if given else OPERATORS[kind](self, op)
        except FileError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            raise self._refused(op.node, str(error)) from None
        return outputs if isinstance(outputs, list) else [outputs]

    def _refused(self, node: Node, why: str) -> FileError:
        return self.file.error(f"{why}; {self._advice()}", node)

    def _advice(self) -> str:
        names = [repr(called(node)) for _, node in recurrent_nodes(self.scope)]
        if not names:
            return "gru opens chains of layers, and this file has no recurrent node"
        return (
            f"gru.load_onnx_node(path, name) opens one of its recurrent nodes: {', '.join(names)}"
        )

    def _recurrent(self, op: Op) -> list[Any]:
        node = read_node(self.scope, op.node)
        x = _signal(op, 0)
        self.read += 1
        if len(x.axes) != 3 or not all(len(axis) == 1 for axis in x.axes[:2]):
            raise ValueError(f"needs x of time, batch and features, got {x}")
        batch, time = x.axes[:2] if node.batch_first else x.axes[1::-1]
        self._states(op, node)
        x = self.chain.recurrent(node, x, time[0], self._lengths(op))
        shape = (time, batch, x.features[:-1])
        batch_first = node.batch_first
        order = [shape[1], shape[0], shape[2]] if batch_first else [shape[0], shape[2], shape[1]]
        final = (batch, shape[2]) if batch_first else (shape[2], batch)
        zero = 0.0 if self.chain.lengths else None
        y = Signal((*order, ("H",)), x.outer, x.width, x.parts, "steps", x.version, zero)
        h, c = (
            Signal((*final, ("H",)), x.outer, x.width, x.parts, role, x.version) for role in "hc"
        )
        return [y, h, c]

    def _states(self, op: Op, node: RecurrentNode) -> None:
        """Note which inputs give the initial states; refuse other states than zero."""
        for place, role in zip((5, 6), STATES[node.kind], strict=False):
            value = op.input(place)
            if isinstance(value, Given):
                self.found.append(self._given_state(node, role, value))
            elif isinstance(value, Signal):
                raise ValueError(f"starts from a state that the graph computes ({role})")
            elif value is not None:
                array = value.array if isinstance(value, Spread) else value
                if array.dtype.kind != "f" or array.any():
                    raise ValueError(f"starts from a constant state that is not zero ({role})")

    def _given_state(self, node: RecurrentNode, role: str, value: Given) -> str:
        """Return the line that says what becomes of an initial state that is an input."""
        if node.direction == "forward":
            return f"{called(node.node)}: {role} is input {state_of(value, node.batch_first)!r}"
        if self.zero_states:
            return f"{called(node.node)}: {role}, input {value.name!r}, is 0"
        raise ValueError(
            f"starts from input {value.name!r} ({role}), but no model goes on from a state in the "
            f"direction {node.direction}, only a layer; zero_states=True takes it as 0"
        )

    def _lengths(self, op: Op) -> str:
        """Return the name of the input that gives lengths; all steps of all sequences need none."""
        value = op.input(4)
        if value is None:
            return ""
        if isinstance(value, Given):
            return lengths_of(value)
        x = _signal(op, 0)
        array = value.array if isinstance(value, Spread) else value
        steps = x.sizes()[1 if op.attributes.get("layout") else 0]
        if isinstance(value, Signal) or not all(n == steps for n in array.reshape(-1).tolist()):
            raise ValueError("has sequence_lens that are neither an input nor all steps")
        return ""

    def _gather(self, op: Op) -> Any:
        data, index, axis = op.inputs[0], op.inputs[1], op.attributes.get("axis", 0)
        if isinstance(index, Signal):
            if isinstance(data, np.ndarray) and axis in (0, -data.ndim):
                return self.chain.embedding(data, index)
            raise ValueError("must take rows of a constant table")
        if isinstance(index, (Given, Spread)):
            raise ValueError("must take constant places")
        x = _signal(op, 0)
        [place] = integers(index)
        return (
            x.take(axis, place)
            if index.ndim == 0
            else x.slice(axis, slice(place, place + 1 or None))
        )

    def _slice(self, op: Op) -> Signal:
        x = _signal(op, 0)
        given = [None if op.input(i) is None else integers(op.input(i)) for i in range(1, 5)]
        start, end, axes, step = given
        if start == step == [-1] and end and end[0] < -LARGEST and axes:
            return self.chain.reverse(x, axes[0])
        for axis, part in enumerate(slices(op, len(x.axes))):
            x = x.slice(axis, part)
        return x

    def _split(self, op: Op) -> list[Signal]:
        x, axis = _signal(op, 0), op.attributes.get("axis", 0)
        sizes = op.attributes.get("split") or (
            None if op.input(1) is None else integers(op.input(1))
        )
        if (sizes or [1] * len(op.node.output)) != [1] * len(op.node.output):
            raise ValueError("splits into parts of more than one number")
        if x.sizes()[axis] != len(op.node.output):
            raise ValueError("does not split all of its axis")
        return [x.slice(axis, slice(i, i + 1)) for i in range(len(op.node.output))]

    def _reshape(self, op: Op) -> Signal:
        shape = integers(op.input(1))
        if op.attributes.get("allowzero", 0) and 0 in shape:
            raise ValueError("has allowzero=1 and a size of 0")
        return _signal(op, 0).reshape(shape)

    def _where(self, op: Op) -> Signal:
        """Pass over what sets padding to a number: the model leaves it out by itself."""
        x = _signal(op, 1)
        return self.chain.masked(x, *masked(op, x))

    def _unsqueeze(self, op: Op) -> Any:
        if isinstance(op.inputs[0], Mask):
            return widened(op)
        return _signal(op, 0).unsqueeze(axes_of(op, default=()))

    def _concat(self, op: Op) -> Any:
        if all(isinstance(value, Given) for value in op.inputs):
            return mixed(op.inputs[0])
        first, *others = (_signal(op, i) for i in range(len(op.inputs)))
        return first.beside(others, op.attributes["axis"])

    def _shape(self, op: Op) -> Any:
        value = op.inputs[0]
        sizes = sizes_of(value) if isinstance(value, Given) else value.sizes()
        return sizes[op.attributes.get("start", 0) : op.attributes.get("end", len(sizes))]

    def _cast(self, op: Op) -> Signal:
        return self.chain.cast(called(op.node), op.attributes.get("to", 0), _signal(op, 0))

    def _reduce(self, op: Op) -> Signal:
        keep = bool(op.attributes.get("keepdims", 1))
        how = op.node.op_type.removeprefix("Reduce").lower()
        return _signal(op, 0).reduce(axes_of(op, default=()), how, keep)

    def _divide(self, op: Op) -> Signal:
        return self.chain.mean(_signal(op, 0), column_of(op.input(1)))

    def _last(self, op: Op) -> Signal:
        if op.attributes.get("batch_dims", 0) != 1:
            raise ValueError("must have batch_dims=1")
        return self.chain.last(_signal(op, 0), column_of(op.input(1), less=1))

    def _reverse(self, op: Op) -> Signal:
        x, axes = _signal(op, 0), op.attributes
        time, batch = axes.get("time_axis", 0), axes.get("batch_axis", 1)
        if sorted((time, batch)) != [0, 1] or len(x.axes[batch]) != 1:
            raise ValueError("must reverse along the time of (B, T, F) or (T, B, F)")
        return self.chain.reverse(x, time, lengths_of(op.input(1)))

    def _activation(self, op: Op) -> Signal:
        x, kind = _signal(op, 0), op.node.op_type.lower()
        if kind == "softmax":
            axis = op.attributes.get("axis", 1 if self.file.opset < 13 else -1)
            if axis not in (-1, len(x.axes) - 1) or not x.features_last:
                raise ValueError(f"must act on the features, got axis {axis} of {x}")
        return self.chain.activation(kind, x)

    def _linear(self, op: Op) -> Signal:
        return self.chain.linear(_signal(op, 0), _constant(op, 1))

    def _gemm(self, op: Op) -> Signal:
        for name, value in {"alpha": 1.0, "beta": 1.0, "transA": 0}.items():
            if op.attributes.get(name, value) != value:
                raise ValueError(f"must have {name}={value:g}, got {op.attributes[name]}")
        weight = _constant(op, 1)
        x = self.chain.linear(
            _signal(op, 0), weight.T if op.attributes.get("transB", 0) else weight
        )
        return x if op.input(2) is None else self.chain.add(x, _constant(op, 2))

    def _add(self, op: Op) -> Signal:
        place = 0 if isinstance(op.inputs[0], Signal) else 1
        return self.chain.add(_signal(op, place), _constant(op, 1 - place))

    def _multiply(self, op: Op) -> Signal:
        place = 0 if isinstance(op.inputs[0], Signal) else 1
        return self.chain.multiply(_signal(op, place), _constant(op, 1 - place))

    def _dropout(self, op: Op) -> Signal:
        training = op.input(2)
        if isinstance(training, (Signal, Given, Spread)) or (
            training is not None and training.any()
        ):
            raise ValueError("is in training mode")
        return _signal(op, 0)

    # --- outputs ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Take the one output that is no state as the model's."""
        outputs: dict[str, Signal] = {}
        for info in self.file.graph.output:
            value = self.values.get(info.name)
            if not isinstance(value, Signal):
                raise self.file.error(f"output {info.name!r} is no result of its layers")
            outputs[info.name] = value
        results = [name for name, value in outputs.items() if value.role not in ("h", "c")]
        finals = [name for name in outputs if name not in results]
        if not results:
            states = [n for n in finals if outputs[n].role == "h"]
            newest = [n for n in states if outputs[n].version == self.chain.version]
            whole = [n for n in newest if outputs[n].parts == self.chain.parts]
            results = (whole or newest)[:1]
        if len(results) != 1:
            names = ", ".join(map(repr, results or outputs))
            raise self.file.error(f"one output must be the result, got {names}; {self._advice()}")
        self.found += [f"output {n!r} is a final state" for n in finals if n not in results]
        try:
            order = self.chain.deliver(outputs[results[0]])
        except ValueError as error:
            raise self.file.error(f"output {results[0]!r} {error}; {self._advice()}") from None
        self.found += [*self.chain.found, f"output {results[0]!r} has the axes {order}"]


def _signal(op: Op, place: int) -> Signal:
    value = op.input(place)
    if not isinstance(value, Signal):
        raise ValueError(f"must read what the layers before it give as input {place}")
    return value


def _constant(op: Op, place: int) -> Any:
    value = op.input(place)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError(f"must have a constant of floats as input {place}")
    return value.astype(np.float32) if value.dtype.itemsize == 2 else value


OPERATORS: dict[str, Callable[[_Walk, Op], Any]] = {
    **dict.fromkeys(RECURRENT, _Walk._recurrent),
    **dict.fromkeys(("Relu", "Sigmoid", "Softmax", "Tanh"), _Walk._activation),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum"), _Walk._reduce),
    "Add": _Walk._add,
    "Cast": _Walk._cast,
    "Concat": _Walk._concat,
    "Div": _Walk._divide,
    "Dropout": _Walk._dropout,
    "Gather": _Walk._gather,
    "GatherND": _Walk._last,
    "Gemm": _Walk._gemm,
    "Identity": lambda walk, op: _signal(op, 0),
    "Less": lambda walk, op: compared(op),
    "MatMul": _Walk._linear,
    "Mul": _Walk._multiply,
    "Range": lambda walk, op: counted(op),
    "Reshape": _Walk._reshape,
    "ReverseSequence": _Walk._reverse,
    "Shape": _Walk._shape,
    "Slice": _Walk._slice,
    "Split": _Walk._split,
    "Squeeze": lambda walk, op: _signal(op, 0).squeeze(axes_of(op)),
    "Sub": lambda walk, op: less_one(op),
    "Transpose": lambda walk, op: _signal(op, 0).transpose(op.attributes.get("perm")),
    "Unsqueeze": _Walk._unsqueeze,
    "Where": _Walk._where,
}
