"""Tells apart the inputs of an ONNX graph, and what is known of the one that the layers read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gru.convert.onnx_file import RECURRENT
from gru.convert.onnx_fold import Size
from gru.convert.onnx_proto import Graph, ValueInfo
from gru.convert.onnx_signal import Signal

__all__ = ["behind", "input_signal", "inputs"]

INTEGERS, FLOATS = (6, 7), (1, 10, 11, 16)
BY_LENGTHS = ("Div", "GatherND", "ReverseSequence")  # their second input may be lengths


def behind(graph: Graph, names: Iterable[str], *, data: bool = False) -> set[str]:
    """Return all names that others are computed from.

    Parameters
    ----------
    graph : Graph
        The graph.
    names : iterable of str
        Those of its outputs.
    data : bool
        Leave out what gives states and lengths of recurrent nodes, sizes and masks alone.
    """
    makers = {name: node for node in graph.node for name in node.output if name}
    found: set[str] = set()
    open_ = list(names)
    while open_:
        name = open_.pop()
        if not name or name in found:
            continue
        found.add(name)
        node = makers.get(name)
        if node is None or (data and node.op_type == "Shape"):
            continue
        if data and node.op_type == "Where":
            open_ += node.input[1:2]
        else:
            first = data and node.op_type in (*RECURRENT, *BY_LENGTHS)
            open_ += node.input[:1] if first else node.input
    return found


def inputs(graph: Graph) -> tuple[list[ValueInfo], list[ValueInfo]]:
    """Return the inputs that layers read, and the others; those with a default are none."""
    constants = {tensor.name for tensor in graph.initializer}
    read = behind(graph, [info.name for info in graph.output], data=True)
    infos = [info for info in graph.input if info.name not in constants]
    data = [info for info in infos if info.name in read]
    return data, [info for info in infos if info.name not in read]


def input_signal(info: ValueInfo, parts: tuple[Any, ...]) -> Signal:
    """Return what is known of the graph's input: its sizes, and which axis holds features.

    Raises
    ------
    ValueError
        If it is no floats of (B, T, F) or (B, F), and no integers of (B, T), in any order of B
        and T.
    """
    type_ = info.type.tensor_type if info.type else None
    if type_ is None or type_.shape is None or len(type_.shape.dim) not in (2, 3):
        raise ValueError(f"input {info.name!r} must have a shape of two or three axes")
    sizes: list[int | Size] = [
        d.dim_value if d.dim_value and d.dim_value > 0 else Size((f"{info.name}.{i}",))
        for i, d in enumerate(type_.shape.dim)
    ]
    tokens = type_.elem_type in INTEGERS
    if not tokens and type_.elem_type not in FLOATS:
        raise ValueError(f"input {info.name!r} must hold floats or int32 or int64")
    if tokens and len(sizes) != 2:
        raise ValueError(f"input {info.name!r} of integers must have two axes")
    rank = len(sizes) - (not tokens)
    outer = {str(i): size for i, size in enumerate(sizes[:rank])}
    axes: tuple[tuple[str, ...], ...] = tuple((name,) for name in outer)
    if tokens:
        return Signal(axes, outer, 1, parts, "tokens", 0)
    return Signal((*axes, ("H",)), outer, sizes[-1], parts, "steps", 0)
