"""Collects the layers of a chain while an ONNX graph is read; knows no operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gru._types import Array
from gru.convert import plain
from gru.convert.onnx_file import OnnxFile, called
from gru.convert.onnx_nodes import RecurrentNode
from gru.convert.onnx_signal import Signal
from gru.layer import Layer
from gru.model import Sequential
from gru.stateless import Activation, Last, Max, Mean, Reverse

__all__ = ["Chain"]

FLOATS = {1: np.dtype("float32"), 11: np.dtype("float64")}
INTEGERS = (6, 7)


@dataclass
class Link:
    """A layer to be: what it is, and its numbers as the file has them."""

    kind: str
    arrays: dict[str, Array] = field(default_factory=dict)
    node: RecurrentNode | None = None
    reverse: bool = False


class Chain:
    """The layers so far, and what is known of the axes.

    Each layer makes the chain one version older, and the next must read the newest: a graph that
    branches is found out by that.
    """

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.links: list[Link] = []
        self.version = 0
        self.parts: tuple[Any, ...] = ((0, 0),)
        self.time: str | None = None
        self.lengths: str | None = None
        self.casts: list[tuple[str, int]] = []
        self.found: list[str] = []

    # --- what a node adds -------------------------------------------------------------------------

    def recurrent(self, node: RecurrentNode, x: Signal, time: str, lengths: str) -> Signal:
        """Add a recurrent layer; return its x with its directions and width."""
        x = self._ready(x)
        self._fits(x, node.cells[0].weight_ih.shape[1])
        self._set_time(time)
        self._set_lengths(lengths)
        self.links.append(Link(node.kind, node=node, reverse=node.direction == "reverse"))
        hidden = node.cells[0].weight_hh.shape[1]
        self.found.append(
            f"{node.node.op_type} node {called(node.node)!r}: {node.direction}, {hidden} units"
        )
        return self._grown(x, hidden, len(node.cells))

    def embedding(self, table: Array, tokens: Signal) -> Signal:
        """Add an embedding of the input."""
        if tokens.role != "tokens" or self.links:
            raise ValueError("must read the graph's input")
        if table.ndim != 2 or table.dtype.kind != "f":
            raise ValueError(f"must have a table of floats with two axes, got {table.dtype}")
        self.file.claims.take(table.nbytes)
        self.links.append(Link("embedding", {"weight": _wide(table)}))
        axes = (*tokens.axes, ("H",))
        return self._grown(replace(tokens, axes=axes, role="steps"), table.shape[1])

    def linear(self, x: Signal, weight: Array) -> Signal:
        """Add a product with a constant (I, O)."""
        x = self._ready(x)
        if weight.ndim != 2:
            raise ValueError(f"must have a matrix with two axes, got shape {weight.shape}")
        self._fits(x, weight.shape[0])
        self.file.claims.take(weight.nbytes)
        self.links.append(Link("linear", {"weight": weight.T}))
        return replace(self._grown(x, weight.shape[1]), padding=_zero(x))

    def add(self, x: Signal, bias: Array) -> Signal:
        """Add a constant, the bias of the product before it if there is one."""
        x = self._ready(x)
        last = self.links[-1] if self.links else Link("none")
        if last.kind not in ("linear", "affine") or "bias" in last.arrays:
            last = Link("affine")
            self.links.append(last)
        last.arrays["bias"] = self._row(x, bias)
        return self._grown(x, x.width)

    def multiply(self, x: Signal, weight: Array) -> Signal:
        """Multiply by a constant, one number a feature."""
        x = self._ready(x)
        self.links.append(Link("affine", {"weight": self._row(x, weight)}))
        return self._grown(x, x.width)

    def reverse(self, x: Signal, axis: int, lengths: str = "") -> Signal:
        """Turn the steps round, or those that lengths count."""
        x = self._ready(x)
        [time] = x.axes[axis]
        if time not in x.outer:
            raise ValueError("reverses an axis that is not that of time")
        if self.lengths and not lengths:
            raise ValueError("reverses all steps, those beyond sequence_lens included")
        self._set_time(time)
        if lengths:
            self._set_lengths(lengths)
        self.links.append(Link("reverse"))
        return replace(self._grown(x, x.width), padding=x.padding)

    def masked(self, x: Signal, time: str, lengths: str, number: float) -> Signal:
        """Note what lies beyond the lengths, which the model leaves out by itself."""
        if x.role not in ("steps", "tokens") or time not in x.outer:
            raise ValueError("masks an axis that is not that of time")
        self._set_time(time)
        self._set_lengths(lengths)
        return replace(x, padding=number)

    def mean(self, x: Signal, lengths: str) -> Signal:
        """Take a sum over the steps that is divided by lengths."""
        how, _, time = x.role.partition(":")
        if how != "sum" or len(x.axes) != 2 or len(x.axes[0]) != 1:
            raise ValueError("must divide the sum (B, F) over all steps by lengths")
        self._set_lengths(lengths)
        return replace(x, role=f"counted mean:{time}")

    def last(self, x: Signal, lengths: str) -> Signal:
        """Take the last step that lengths count, of (B, T, F)."""
        if x.role != "steps" or [len(axis) for axis in x.axes[:-1]] != [1, 1]:
            raise ValueError(f"must take steps of (B, T, F), got {x}")
        [time] = x.axes[1]
        self._set_time(time)
        self._set_lengths(lengths)
        return replace(x, axes=(x.axes[0], x.axes[2]), role=f"counted last:{time}")

    def activation(self, kind: str, x: Signal) -> Signal:
        """Add a function of each number."""
        x = self._ready(x)
        self.links.append(Link(kind))
        zero = _zero(x) if kind in ("relu", "tanh") else None
        return replace(self._grown(x, x.width), padding=zero)

    def cast(self, name: str, to: int, x: Signal) -> Signal:
        """Note a change of type, which must be none in the end."""
        if to not in (INTEGERS if x.role == "tokens" else FLOATS):
            raise ValueError(f"casts to the type {to}, which changes numbers")
        self.casts.append((name, to))
        return x

    def _row(self, x: Signal, array: Array) -> Array:
        """Return a constant that is one number a feature, or one for all."""
        if array.ndim > len(x.axes):
            axes = f"its constant has {array.ndim}, what it reads {len(x.axes)}"
            raise ValueError(f"adds axes: {axes}")
        if array.size != max((1, *array.shape[-1:])) or array.size not in (1, x.width):
            raise ValueError(f"must have a constant of shape ({x.width},), got {array.shape}")
        width = x.width if isinstance(x.width, int) else array.size
        self.file.claims.take(width * array.itemsize)
        return np.broadcast_to(array.reshape(-1), (width,))

    # --- the state of the chain -------------------------------------------------------------------

    def _grown(self, x: Signal, width: Any, directions: int = 1) -> Signal:
        """Return what the newest layer gives."""
        self.version += 1
        self.parts = tuple((self.version, d) for d in range(directions))
        axes = (*x.axes[:-1], ("D", "H") if directions > 1 else ("H",))
        found = replace(x, axes=axes, width=width, parts=self.parts, version=self.version)
        return replace(found, padding=None)

    def _fits(self, x: Signal, width: int) -> None:
        if isinstance(x.width, int) and x.width != width:
            raise ValueError(f"needs {width} features, got {x.width}")

    def _set_time(self, name: str) -> None:
        if self.time not in (None, name):
            raise ValueError("runs along another axis than the nodes before it")
        self.time = name

    def _set_lengths(self, name: str) -> None:
        if self.lengths not in (None, name):
            raise ValueError("must have the same sequence_lens as the nodes before it")
        if name and self.lengths is None:
            if any(link.kind == "reverse" for link in self.links):
                raise ValueError("has sequence_lens, but all steps are reversed before it")
            self.found.append(f"input {name!r} is lengths")
        self.lengths = name

    def _ready(self, x: Signal) -> Signal:
        """Return what a layer reads, if it is all that the newest layer gives."""
        self._newest(x)
        if not x.features_last:
            raise ValueError(f"needs all features in the last axis, got {x}")
        x = self._reduced(x)
        if len(x.parts) > 1:
            x = replace(x, axes=(*x.axes[:-1], ("H",)), width=x.width * len(x.parts))
            x = replace(x, parts=((self.version, 0),))
        return x

    def _newest(self, x: Signal) -> None:
        if x.role == "tokens":
            raise ValueError("reads the input's integers, which only Gather can")
        if x.version != self.version:
            raise ValueError("reads a tensor that another layer reads too: this is no chain")
        if x.parts != self.parts:
            raise ValueError("does not read all directions in their order")

    def _reduced(self, x: Signal) -> Signal:
        """Add the layer that leaves one step, if x has only one."""
        how, _, time = x.role.partition(":")
        if how in ("steps", "flat"):
            return x
        counted, how = how.startswith("counted "), how.removeprefix("counted ")
        last = self.links[-1] if self.links else Link("none")
        if how == "c":
            raise ValueError("reads the cell state of an LSTM, which no layer gives")
        if how == "first" and last.reverse:
            self._set_time(time)
            self._final(last)
        elif how == "h":
            self._final(last)
        elif how == "first":
            raise ValueError("reads the first step, which is no final state")
        elif how == "sum":
            raise ValueError("reads a sum over steps, which no layer gives")
        elif self.lengths and not counted:
            raise ValueError(f"takes the {how} of all steps, those beyond sequence_lens included")
        else:
            self._set_time(time)
            self.links.append(Link(how))
        self.version += 1
        both = len(x.parts)
        self.parts = tuple((self.version, d) for d in range(both))
        return replace(x, role="flat", version=self.version, parts=self.parts)

    def _final(self, last: Link) -> None:
        """Add what gives a recurrent layer's final state: that of a reverse one is at step 0."""
        if last.reverse:
            last.reverse = False
            self.links.insert(-1, Link("reverse"))
        both = last.node is not None and len(last.node.cells) == 2
        self.links.append(Link("last of both" if both else "last"))

    # --- the result -------------------------------------------------------------------------------

    def deliver(self, x: Signal) -> str:
        """Take the graph's result, and return the order of its axes in words."""
        if not self.links:
            raise ValueError("is not computed by any layer")
        self._newest(x)
        x = self._reduced(x)
        inner = [name for axis in x.axes for name in axis if name in ("D", "H")]
        if tuple(inner) != x.features or any(
            len(axis) > 1 and axis != x.features for axis in x.axes
        ):
            raise ValueError(f"has the axes {x}, which do not come out as (B, T, F) or (B, F)")
        words = {"D": "directions", "H": "features"}
        if self.time is not None:
            words |= {self.time: "time", "10"[int(self.time)]: "batch"}
        return str(x) if self.time is None else _words(x, words)

    def model(self) -> Sequential:
        """Build the layers."""
        layers = [_built(link, self.file.name) for link in self.links]
        dtypes = {layer.dtype for layer in layers if layer.dtype}
        if len(dtypes) > 1:
            raise self.file.error("all weights must have one dtype, got float32 and float64")
        model = Sequential(layers)
        for name, to in self.casts:
            if to in FLOATS and FLOATS[to] != model.dtype:
                raise self.file.error(
                    f"Cast node {name!r} casts to {FLOATS[to]} in a model of {model.dtype}"
                )
        return model


def _words(x: Signal, words: dict[str, str]) -> str:
    return f"({', '.join(' * '.join(words[n] for n in axis) or '1' for axis in x.axes)})"


def _zero(x: Signal) -> float | None:
    """Return what padding of 0 becomes by a function that keeps 0."""
    return 0.0 if x.padding == 0 else None


def _wide(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _built(link: Link, name: str) -> Layer:
    pools: dict[str, type[Layer]] = {"last": Last, "mean": Mean, "max": Max, "reverse": Reverse}
    if link.node is not None:
        return link.node.layer(reverse=link.reverse)
    if link.kind in pools:
        return pools[link.kind]()
    if link.kind == "last of both":
        return Last(bidirectional=True)
    if not link.arrays:
        return Activation(link.kind)
    make: dict[str, Callable[..., Layer]]
    make = {"affine": plain.affine, "embedding": plain.embedding, "linear": plain.linear}
    return make[link.kind](name, **link.arrays)
