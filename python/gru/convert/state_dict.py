"""Finds the modules of a state_dict by PyTorch's names, and reads them from their shapes alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gru._types import Array
from gru.convert.cells import Cell, build
from gru.convert.damage import UnsupportedError
from gru.convert.host import floats
from gru.convert.regions import Region
from gru.recurrent import Recurrent

__all__ = ["Module", "Rename", "StateDict", "leaves", "none_left", "recurrent", "taken"]

DEEPEST = 64
LONGEST = 4096  # characters of the keys around a state_dict, which each name below repeats
SHOWN = 200  # characters of a name in messages
MOST = 20  # modules in messages
WRAPPERS = {"module", "_orig_mod"}  # of DataParallel and torch.compile
KINDS = {1: "rnn", 3: "gru", 4: "lstm"}
CELL = re.compile(r"(?:weight|bias)_(?:ih|hh|hr)(?:_l(0|[1-9]\d{0,3})(_reverse)?)?")
# Weights that others are computed from, by weight_norm and its like, old and new.
_WEIGHT = r"(?:weight|bias)_(?:ih|hh)(?:_l\d+(?:_reverse)?)?"
COMPUTED = re.compile(rf"{_WEIGHT}_(?:g|v|u|orig|raw)")
PARAMETRIZED = re.compile(rf"(?:^|\.)parametrizations\.{_WEIGHT}\.$")
ROLES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
Rename = Mapping[str, str] | Callable[[str], str] | None


class Module(NamedTuple):
    """The arrays directly below one prefix.

    Attributes
    ----------
    place : str
        The keys of the dicts around them, such as ``"state_dict."``.
    below : str
        What their names start with, such as ``"encoder."``.
    leaves : dict
        Last part of a name -> array.
    """

    place: str
    below: str
    leaves: dict[str, Any]

    @property
    def prefix(self) -> str:
        """Their full prefix, such as ``"state_dict.encoder."``."""
        return self.place + self.below

    @property
    def short(self) -> str:
        """The prefix without what is looked through, such as ``"encoder."``."""
        return _bare(self.below)

    @property
    def aliases(self) -> set[str]:
        """All prefixes that mean this module."""
        return {self.prefix, _bare(self.prefix), self.below, _bare(self.below)}

    @property
    def is_recurrent(self) -> bool:
        """Whether one of the arrays has the name of a recurrent layer's weight."""
        return self.is_computed or any(CELL.fullmatch(leaf) for leaf in self.leaves)

    @property
    def is_computed(self) -> bool:
        """Whether a recurrent layer's weight is computed from one of the arrays."""
        named = any(COMPUTED.fullmatch(leaf) for leaf in self.leaves)
        return named or bool(PARAMETRIZED.search(self.below))

    def shape(self, leaf: str) -> tuple[int, ...]:
        """Return the shape of one array; none if it is not there."""
        return tuple(self.leaves[leaf].shape) if leaf in self.leaves else ()

    @property
    def kind(self) -> str | None:
        """The cell by the shape of the first recurrent weight: G*H rows and H columns."""
        first = next((leaf for leaf in self.leaves if leaf.startswith("weight_hh")), "")
        rows, width = [*self.shape(first), 0, 0][:2]
        return KINDS.get(rows // width) if width and not rows % width else None

    def __str__(self) -> str:
        """Show what the shapes say, for messages and reports."""
        held = ", ".join(repr(leaf[:40]) for leaf in list(self.leaves)[:6])
        held += ", ..." if len(self.leaves) > 6 else ""
        found = f"no layer that gru knows, but {held}"
        if self.is_computed:
            found = "recurrent weights that are computed from others"
        elif self.is_recurrent:
            found = _sketch(self)
        elif self.leaves.keys() <= {"weight", "bias"} and len(self.shape("weight")) == 2:
            out, width = self.shape("weight")
            found = f"Linear({width}, {out})"
            if "bias" not in self.leaves:
                found = f"Embedding({out}, {width}) or Linear({width}, {out}, bias=False)"
        elif self.leaves.keys() >= {"running_mean", "running_var"}:
            found = "batch normalisation"
        prefix = self.prefix if len(self.prefix) <= SHOWN else f"{self.prefix[:SHOWN]}..."
        return f"{prefix or '(no prefix)'}: {found}"


def _several(modules: list[Module]) -> str:
    more = f"; and {len(modules) - MOST} more" if len(modules) > MOST else ""
    return "; ".join(map(str, modules[:MOST])) + more


def _bare(prefix: str) -> str:
    parts = [part for part in prefix.split(".") if part not in WRAPPERS]
    return ".".join(parts)


def _sketch(module: Module) -> str:
    """Describe a recurrent module; its shapes may yet not add up."""
    found = [match for match in map(CELL.fullmatch, module.leaves) if match]
    below = next((leaf for leaf in module.leaves if leaf.startswith("weight_ih")), "")
    shape = module.shape(below)
    if module.kind is None or len(shape) != 2:
        return "a recurrent layer that does not add up"
    hidden = shape[0] // {kind: gates for gates, kind in KINDS.items()}[module.kind]
    layers = 1 + max(int(match[1] or 0) for match in found)
    more = ", bidirectional=True" if any(match[2] for match in found) else ""
    stack = f", num_layers={layers}" if layers > 1 else ""
    return f"{module.kind.upper()}({shape[1]}, {hidden}{stack}{more})"


class StateDict:
    """The named arrays of a file or a dict, and the modules that they belong to.

    Parameters
    ----------
    tree : object
        A dict of arrays by name, which may lie in dicts, such as a checkpoint's.
    name : str
        Of the source, for messages.
    rename : mapping or callable, optional
        Gives PyTorch's name for a name of the source.

    Raises
    ------
    ValueError
        If it holds no arrays by name.

    Examples
    --------
    >>> import numpy as np
    >>> weights = {"weight_ih": np.ones((6, 3)), "weight_hh": np.ones((6, 2))}
    >>> state = StateDict({"model": {"module.cell.weight_ih": weights["weight_ih"],
    ...                              "module.cell.weight_hh": weights["weight_hh"]}}, "an example")
    >>> recurrent(state.find("cell"), state.name)
    GRU(3, 2, bias=False, dtype='float64')
    """

    def __init__(self, tree: Any, name: str, rename: Rename = None) -> None:
        self.name = name
        groups: dict[tuple[str, str], Module] = {}
        for place, key, value, aside in leaves(tree, name):
            below, dot, leaf = _renamed(rename, key).rpartition(".")
            if aside and not (CELL.fullmatch(leaf) or COMPUTED.fullmatch(leaf)):
                continue
            module = groups.setdefault((place, below), Module(place, below + dot, {}))
            if leaf in module.leaves:
                full = f"{module.prefix}{leaf}"[:SHOWN]
                raise UnsupportedError(name, f"two tensors are called {full!r}")
            module.leaves[leaf] = value
        self.modules = list(groups.values())
        if not self.modules:
            raise UnsupportedError(name, "holds no tensors by name, as a state_dict has them")

    @property
    def recurrent(self) -> list[Module]:
        """The modules that look recurrent."""
        return [module for module in self.modules if module.is_recurrent]

    def find(self, prefix: str) -> Module:
        """Return the module with a prefix.

        Raises
        ------
        ValueError
            If there is none, or more than one; the message lists those that are there.
        """
        wanted = prefix + "." if prefix and not prefix.endswith(".") else prefix
        found = [module for module in self.modules if module.prefix == wanted]
        found = found or [module for module in self.modules if wanted in module.aliases]
        if len(found) == 1:
            return found[0]
        if found:
            several = f"prefix {prefix!r} means several: {_several(found)}"
            raise UnsupportedError(self.name, several)
        raise UnsupportedError(self.name, f"nothing has the prefix {prefix!r}; {self.listed()}")

    def wanted(self, module: Module) -> str:
        """Return the shortest prefix that means this module alone."""
        same = [other for other in self.modules if other.short == module.short]
        return (module.short if len(same) == 1 else module.prefix).removesuffix(".")

    def listed(self) -> str:
        """Say which recurrent modules there are, and what lies beside them."""
        there = self.recurrent or self.modules
        what = "recurrent prefixes are " if self.recurrent else "no layer in it is recurrent: "
        return what + _several(there)

    def only(self) -> Module:
        """Return the one module of a source that holds one recurrent module and nothing else.

        Raises
        ------
        ValueError
            If there is something else; the message shows the call to write instead.
        """
        if len(self.modules) == 1 and self.recurrent:
            return self.modules[0]
        if not self.recurrent:
            hint = "rename= gives PyTorch's names for those of the source"
            raise UnsupportedError(self.name, f"{self.listed()}; {hint}")
        names = ", ".join(repr(self.wanted(module)) for module in self.modules[:8])
        names += ", ..." * (len(self.modules) > 8)
        beside = _several([module for module in self.modules if not module.is_recurrent])
        raise UnsupportedError(
            self.name,
            f"holds more than one recurrent layer alone, and no file says how its parts are "
            f"joined: {self.listed()}" + (f"; beside them {beside}" if beside else "") + ". Name "
            f"one, gru.load_torch(path, {self.wanted(self.recurrent[0])!r}), or all "
            f"that belong to the model in their order, gru.load_torch(path, [{names}]), with "
            f"layers such as gru.Last() between",
        )


def leaves(tree: Any, name: str) -> Iterator[tuple[str, str, Any, bool]]:
    """Yield the place, the name and the array of all that has a name, as deep as it may lie.

    Last comes whether it lies aside, in a list or below a key that is no string, as what an
    optimizer keeps does.
    """
    # Names are joined one at a time: many parts may have the same long one around them.
    waiting: list[tuple[str, Any, Any, int, bool]] = [("", None, tree, 0, False)]
    seen = {id(tree)}
    while waiting:
        outer, inner, node, depth, aside = waiting.pop()
        place = _joined(outer, inner)
        if depth > DEEPEST or len(place) > LONGEST:
            what = f"its dicts are nested deeper than {DEEPEST}, or have keys too long for names"
            raise UnsupportedError(name, what)
        for key, value in _entries(node):
            named = isinstance(key, str)
            if isinstance(value, (Mapping, list, tuple)):
                if id(value) not in seen:
                    seen.add(id(value))
                    waiting.append((place, key, value, depth + 1, aside or not named))
            elif named and hasattr(value, "shape") and hasattr(value, "dtype"):
                if isinstance(value, Region):
                    value.source.objects.add(place + key)
                yield place, key, value, aside


def _joined(outer: str, key: Any) -> str:
    if key is None:
        return outer
    return f"{outer}{key}." if isinstance(key, str) else f"{outer.removesuffix('.')}[{key}]."


def _entries(node: Any) -> Iterable[tuple[Any, Any]]:
    return node.items() if isinstance(node, Mapping) else enumerate(node)


def _renamed(rename: Rename, key: str) -> str:
    if rename is None:
        return key
    return rename.get(key, key) if isinstance(rename, Mapping) else rename(key)


def taken(module: Module, leaf: str, name: str) -> Array:
    """Return one array of a module, of a source called ``name``, or say that it is missing."""
    if leaf not in module.leaves:
        raise UnsupportedError(name, f"tensor {module.prefix + leaf!r} is missing")
    try:
        return floats(f"tensor {module.prefix + leaf!r}", module.leaves[leaf])
    except TypeError as error:
        raise UnsupportedError(name, str(error)) from None


def none_left(module: Module, read: set[str], name: str) -> None:
    """Refuse a module of which something would be left unread."""
    left = [module.prefix + leaf for leaf in module.leaves if leaf not in read]
    if left:
        listed = ", ".join(map(repr, left[:8]))
        raise UnsupportedError(name, f"gru has no place for {listed}, which would be left unread")


def recurrent(
    module: Module, name: str, nonlinearity: str | None = None, **options: Any
) -> Recurrent:
    """Return the recurrent layer of a module: cell, sizes, layers, directions from the shapes.

    Parameters
    ----------
    module : Module
        ``weight_ih_l0`` and so on, or ``weight_ih`` of a single cell.
    name : str
        Of the source, for messages.
    nonlinearity : {"tanh", "relu"}, optional
        Of a plain RNN, whose arrays do not tell.
    **options
        Of the layer.

    Raises
    ------
    ValueError
        If an array is missing, left over or does not fit.
    """
    if module.is_computed:
        what = f"{module}; take that off before saving, as torch.nn.utils.remove_weight_norm or "
        raise UnsupportedError(name, what + "parametrize.remove_parametrizations does")
    if any(leaf.startswith("weight_hr") for leaf in module.leaves):
        what = f"{module.prefix}weight_hr is an LSTM's projection (proj_size), which gru lacks"
        raise UnsupportedError(name, what)
    suffixes = _suffixes(module, name)
    biased = any(leaf.startswith("bias_") for leaf in module.leaves)
    roles = ROLES if biased else ROLES[:2]
    cells = [
        [Cell(*(taken(module, role + suffix, name) for role in roles)) for suffix in of_layer]
        for of_layer in suffixes
    ]
    read = {role + suffix for role in roles for of_layer in suffixes for suffix in of_layer}
    none_left(module, read, name)
    full = f"{name}: {module.prefix or 'its layer'}"
    if module.kind is None:
        rows = "3*H rows (GRU), 4*H (LSTM) or H (RNN) and H columns"
        raise ValueError(f"{full}: weight_hh must have {rows}, got {cells[0][0].weight_hh.shape}")
    options |= _function(module.kind, nonlinearity, full)
    return build(module.kind, cells, name=full, **options)


def _function(kind: str, nonlinearity: str | None, name: str) -> dict[str, Any]:
    if kind != "rnn":
        if nonlinearity is not None:
            raise ValueError(f"{name}: nonlinearity is for an RNN, but this is a {kind.upper()}")
        return {}
    if nonlinearity is None:
        raise ValueError(
            f"{name} is a plain RNN, and its weights do not say which function it has: give "
            f"nonlinearity='tanh' (PyTorch's default) or nonlinearity='relu'"
        )
    return {"nonlinearity": nonlinearity}


def _suffixes(module: Module, name: str) -> list[list[str]]:
    """Return the ends of the names, layer by layer, then direction."""
    found = {match[0]: match for match in map(CELL.fullmatch, module.leaves) if match}
    if not found:
        raise UnsupportedError(name, f"{module} is no recurrent layer")
    numbered = {int(match[1]) for match in found.values() if match[1]}
    if not numbered:
        return [[""]]
    count = max(numbered) + 1
    missing = [i for i in range(count) if i not in numbered]
    if missing:
        what = f"{module.prefix} has weights of layer {count - 1}, but none of layer {missing[0]}"
        raise UnsupportedError(name, what)
    ends = ["", "_reverse"] if any(match[2] for match in found.values()) else [""]
    return [[f"_l{i}{end}" for end in ends] for i in range(count)]
