"""Takes live PyTorch modules apart by their class and attributes; PyTorch is never imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gru.convert.assembly import embedding, linear
from gru.convert.state_dict import Module, recurrent
from gru.layer import Layer
from gru.model import Sequential
from gru.stateless import Activation, Dropout

__all__ = ["from_module"]

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
ADVICE = (
    "take its parts, gru.from_torch(net.encoder), or its state_dict with the order of the parts, "
    "gru.from_torch(net.state_dict(), ['embedding', 'gru', gru.Last(), 'fc'])"
)


def from_module(module: Any) -> Layer | Sequential:
    """Return the layer, or the chain of layers, of a live module.

    Parameters
    ----------
    module : torch.nn.Module
        One of those that :func:`gru.from_torch` names.

    Raises
    ------
    TypeError
        If it is no module.
    ValueError
        If gru lacks it, or one of its options.
    """
    if not hasattr(module, "named_parameters") or not hasattr(module, "forward"):
        got = type(module).__name__
        raise TypeError(f"source must be a PyTorch module or a state_dict, got {got}")
    if "_orig_mod" in getattr(module, "_modules", {}):  # what torch.compile wraps
        found_name(module, compiled=True)
        module = module._orig_mod
    name = _class(module)
    called = found_name(module)
    if name == "Sequential":
        parts = [from_module(part) for part in module if not _is_identity(part)]
        layers = [
            x for part in parts for x in (part.layers if isinstance(part, Sequential) else [part])
        ]
        return Sequential(layers)
    if name not in READERS:
        found = type(module).__name__
        raise ValueError(f"{found} is no module that gru knows, and it may do anything: {ADVICE}")
    return READERS[name](module, called)


def _is_identity(module: Any) -> bool:
    return _class(module) == "Identity" and bool(found_name(module))


def _class(module: Any) -> str:
    """Return the name of PyTorch's own class that a module computes as, else nothing."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.nn.modules."):
            same = all(
                getattr(type(module), x) is getattr(kind, x) for x in ("forward", "__call__")
            )
            return kind.__name__ if same else ""
    return ""


def found_name(module: Any, *, compiled: bool = False) -> str:
    """Return what messages call a module, which must compute what its class does."""
    for hook in HOOKS:
        if getattr(module, hook, None):
            what = "hooks, which may change what it computes; remove them first"
            raise ValueError(f"{type(module).__name__} has {what}")
    if "forward" in vars(module) and not compiled:  # torch.compile's wrapper has one itself
        what = "a forward of its own, which may compute anything; delete that attribute first"
        raise ValueError(f"this {type(module).__name__} has {what}")
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if getattr(getattr(value, "device", None), "type", "") == "meta":
            what = f"no numbers: its {name} is on the device 'meta'; load its state_dict first"
            raise ValueError(f"{type(module).__name__} has {what}")
    return type(module).__name__


def _arrays(module: Any) -> Module:
    """Return all parameters of a module by name, those that are computed included."""
    names = list(module._parameters)
    parametrized = getattr(module, "parametrizations", None) or {}
    names += [name for name in parametrized if name not in names]
    found = {name: getattr(module, name) for name in names}
    return Module("", "", {name: value for name, value in found.items() if value is not None})


def _recurrent(module: Any, name: str) -> Layer:
    if getattr(module, "proj_size", 0):
        raise ValueError(f"{name} has proj_size={module.proj_size}, a projection, which gru lacks")
    dropout = getattr(module, "dropout", 0.0) if getattr(module, "num_layers", 1) > 1 else 0.0
    return recurrent(
        _arrays(module), name, getattr(module, "nonlinearity", None), dropout=float(dropout)
    )


def _embedding(module: Any, name: str) -> Layer:
    if module.max_norm is not None:
        raise ValueError(f"{name} has max_norm={module.max_norm}, which gru lacks")
    return embedding(_arrays(module), name)


def _softmax(module: Any, name: str) -> Layer:
    if module.dim != -1:
        raise ValueError(f"{name} has dim={module.dim}; gru has it over the last axis, dim=-1")
    return Activation("softmax")


READERS: dict[str, Callable[[Any, str], Layer]] = {
    **dict.fromkeys(("GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"), _recurrent),
    "Linear": lambda module, name: linear(_arrays(module), name),
    "Embedding": _embedding,
    "Dropout": lambda module, _: Dropout(module.p),
    "ReLU": lambda *_: Activation("relu"),
    "Tanh": lambda *_: Activation("tanh"),
    "Sigmoid": lambda *_: Activation("sigmoid"),
    "Softmax": _softmax,
}
