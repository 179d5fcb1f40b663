"""Builds layers and chains of them from the modules of a state_dict, as the caller names them."""

from __future__ import annotations

from typing import Any

from gru import check
from gru.convert import plain
from gru.convert.damage import UnsupportedError
from gru.convert.state_dict import Module, StateDict, none_left, recurrent, taken
from gru.layer import Layer
from gru.model import Sequential
from gru.stateless import Embedding, Linear

__all__ = ["assembled"]

ITEM = "a prefix, a pair such as ('head', gru.Linear), or a gru layer without numbers"


def assembled(
    state: StateDict, prefix: Any, nonlinearity: str | None, leave: Any = None
) -> tuple[Layer | Sequential, list[str]]:
    """Return what is asked for, and a line for each module of a Sequential or left aside.

    Parameters
    ----------
    state : StateDict
        Where the numbers are.
    prefix, nonlinearity, leave
        As :func:`gru.load_torch` takes them.

    Raises
    ------
    TypeError, ValueError
        If something is missing, left over or does not fit.
    """
    if prefix is not None and not isinstance(prefix, (str, tuple)):
        items = list(check.several("prefix", prefix, f"{ITEM}, or a list of them"))
        return _chain(state, items, nonlinearity, _left(leave))
    if leave is not None:
        raise ValueError("leave is for a list of prefixes, which makes a whole model")
    if prefix is not None:
        wanted, kind = _item("prefix", prefix)
        return _layer(state, state.find(wanted), kind, nonlinearity), []
    module = state.only()
    layer = _layer(state, module, None, nonlinearity)
    return Sequential([layer]), [_line(module, layer)]


def _line(module: Module, layer: Layer) -> str:
    return f"{module.prefix.removesuffix('.') or 'no prefix'}: {layer!r}"


def _item(name: str, item: Any) -> tuple[str, type[Layer] | None]:
    """Take a prefix apart from the kind of layer that is stated with it."""
    prefix, kind = check.pair(name, item, ITEM) if isinstance(item, tuple) else (item, None)
    if kind not in (None, Embedding, Linear):
        raise ValueError(f"{name} must be {ITEM}, got the kind {kind!r}")
    return check.instance(name, prefix, str, ITEM), kind


def _chain(
    state: StateDict, items: list[Any], nonlinearity: str | None, leave: list[str]
) -> tuple[Sequential, list[str]]:
    parts = [_part(state, f"prefix[{i}]", item) for i, item in enumerate(items)]
    modules = [part[0] for part in parts if isinstance(part, tuple)]
    for i, module in enumerate(modules):
        if any(module is other for other in modules[:i]):
            raise ValueError(f"prefix {module.prefix!r} is given twice")
    if nonlinearity is not None and not any(module.kind == "rnn" for module in modules):
        raise ValueError(f"{state.name}: nonlinearity is for a plain RNN, but there is none")
    layers, lines = [], []
    for part in parts:
        if isinstance(part, Layer):
            layers.append(part)
            continue
        module, kind = part
        kind = kind or _kind_by_widths(module, modules[1:] if module is modules[0] else None)
        layers.append(_layer(state, module, kind, nonlinearity if module.kind == "rnn" else None))
        lines.append(_line(module, layers[-1]))
    lines += [f"left aside: {other}" for other in _aside(state, modules, leave)]
    try:
        return Sequential(layers), lines
    except ValueError as error:
        raise UnsupportedError(state.name, str(error)) from None


def _left(leave: Any) -> list[str]:
    if leave is None or isinstance(leave, str):
        return [] if leave is None else [leave]
    wanted = "a prefix or a list of them"
    return [check.instance("leave", p, str, wanted) for p in check.several("leave", leave, wanted)]


def _aside(state: StateDict, read: list[Module], leave: list[str]) -> list[Module]:
    """Return the recurrent modules that a model does not use, which the caller must have named.

    A prefix in ``leave`` covers all that lies below it, an empty one everything.
    """
    rest = [module for module in state.recurrent if not any(module is one for one in read)]
    covered: set[int] = set()
    for prefix in leave:
        start = prefix + "." if prefix and not prefix.endswith(".") else prefix
        found = {i for i, m in enumerate(rest) if any(a.startswith(start) for a in m.aliases)}
        if prefix and not found:
            what = f"leave: no recurrent layer that is left has the prefix {prefix!r}"
            raise UnsupportedError(state.name, f"{what}; {state.listed()}")
        covered |= found
    missed = [module for i, module in enumerate(rest) if i not in covered]
    if missed:
        first = state.wanted(missed[0])
        raise UnsupportedError(
            state.name,
            f"{'; '.join(map(str, missed[:20]))} would be left unread; give all parts of the "
            f"model in their order, or say that it is meant: leave=[{first!r}]",
        )
    return rest


def _part(state: StateDict, name: str, item: Any) -> Layer | tuple[Module, type[Layer] | None]:
    if not isinstance(item, Layer):
        wanted, kind = _item(name, item)
        return state.find(wanted), kind
    if item.dtype is not None:
        raise ValueError(f"{name} must be {ITEM}, got {item!r}")
    return item


def _kind_by_widths(module: Module, after: list[Module] | None) -> type[Layer] | None:
    """Say what a matrix alone is, if only one answer is possible; ``after`` is None past the begin.

    An embedding takes integers, so it is first; (V, E) must then fit what follows by E, and the
    weight (O, I) of a Linear by O.
    """
    if after is None:
        return Linear
    inputs = ("weight", "weight_ih", "weight_ih_l0")
    follows = next((after[0].shape(leaf) for leaf in inputs if after and after[0].shape(leaf)), ())
    shape = module.shape("weight")
    if len(follows) != 2 or len(shape) != 2 or (shape[0] == follows[1]) == (shape[1] == follows[1]):
        return None
    return Linear if shape[0] == follows[1] else Embedding


def _layer(
    state: StateDict, module: Module, kind: type[Layer] | None, nonlinearity: str | None
) -> Layer:
    """Return the layer of one module."""
    if module.is_recurrent:
        return recurrent(module, state.name, nonlinearity)
    if nonlinearity is not None:
        raise ValueError(f"{state.name}: nonlinearity is for a plain RNN, but there is {module}")
    if "weight" not in module.leaves or not module.leaves.keys() <= {"weight", "bias"}:
        raise UnsupportedError(state.name, f"{module}; {state.listed()}")
    if kind is Embedding:
        return embedding(module, state.name)
    if kind is Linear or "bias" in module.leaves:
        return linear(module, state.name)
    pairs = " or ".join(f"({state.wanted(module)!r}, gru.{k})" for k in ("Embedding", "Linear"))
    raise UnsupportedError(state.name, f"{module}: the file does not tell which; give {pairs}")


def linear(module: Module, name: str) -> Linear:
    """Return the Linear layer of a module that has ``weight`` and perhaps ``bias``."""
    weight = taken(module, "weight", name)
    bias = taken(module, "bias", name) if "bias" in module.leaves else None
    none_left(module, {"weight", "bias"}, name)
    return plain.linear(_place(module, name), weight, bias)


def embedding(module: Module, name: str) -> Embedding:
    """Return the Embedding layer of a module that has ``weight`` alone."""
    table = taken(module, "weight", name)
    none_left(module, {"weight"}, name)
    return plain.embedding(_place(module, name), table)


def _place(module: Module, name: str) -> str:
    return f"{name}: {module.prefix.removesuffix('.')}" if module.prefix else name
