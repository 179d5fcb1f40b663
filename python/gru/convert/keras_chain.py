"""Shows that a model of Keras is a chain: each layer has one input, the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gru.convert.keras_file import KerasLayer

__all__ = ["OF_CODE", "chain"]

MODELS = {"Sequential", "Functional", "Model"}
MASKS = {"NotEqual", "Any"}  # what Keras 3 shows of Masking and mask_zero in a functional model
OF_CODE = (
    "the layers of a model of code are not described: model.save_weights('m.weights.h5'), then "
    "gru.load_keras_layers('m.weights.h5', standard=True) reads the recurrent ones"
)
ALONE = "; gru.load_keras_layers(path) reads its recurrent layers alone"


def chain(model: KerasLayer) -> list[KerasLayer]:
    """Return the layers of a model in order, those of nested models among them.

    Raises
    ------
    ValueError
        If the model is no chain, or a layer is called in training mode.
    """
    if model.kind not in MODELS or model.inner is None:
        advice = ALONE if model.inner is not None else f"; {OF_CODE}"
        raise model.refused(f"it is no Sequential or functional model{advice}")
    found: list[KerasLayer] = []
    masks = [layer for layer in model.inner if layer.kind in MASKS]
    for layer in model.inner:
        if layer in masks:
            continue
        if model.kind != "Sequential":
            _follows(layer, found[-1].name if found else "", {mask.name for mask in masks})
        found.append(layer)
    if model.kind != "Sequential":
        _ends(model, found)
        _masked(masks, found)
    whole: list[KerasLayer] = []
    for layer in found:
        whole += chain(layer) if layer.inner is not None else [layer]
    return whole


def _follows(layer: KerasLayer, before: str, masks: set[str]) -> None:
    """Check that the layer's one input is the one before."""
    nodes = layer.inbound if isinstance(layer.inbound, list) else []
    if not before and layer.kind == "InputLayer" and not nodes:
        return
    if len(nodes) != 1:
        what = "must be called once" if nodes else "is a second input of the model"
        raise layer.refused(f"it {what}{ALONE}")
    inputs, masked, options = _call(layer, nodes[0])
    if inputs != [(before, 0, 0)]:
        held = ", ".join(ascii(name) for name, *_ in inputs[:8]) or "none"
        wanted = f"{before!r}" if before else "the model's input"
        raise layer.refused(f"its input must be {wanted}, but is {held}: no chain{ALONE}")
    if not set(masked) <= masks:
        raise layer.refused(f"it is called with a mask of its own{ALONE}")
    for key, value in options.items():
        if value is not None and not (key == "training" and value is False):
            raise layer.refused(f"it is called with {key[:40]!a}{ALONE}")


Tensor = tuple[str, int, int]


def _call(layer: KerasLayer, node: Any) -> tuple[list[Tensor], list[str], dict[str, Any]]:
    """Return the inputs of a call, the layers that its mask comes from, and its options."""
    if isinstance(node, dict):  # Keras 3
        args, options = node.get("args"), node.get("kwargs")
        if isinstance(args, list) and isinstance(options, dict):
            masked = [name for name, *_ in _tensors(options.get("mask"), 0)]
            rest = {k: v for k, v in options.items() if k != "mask" or not masked}
            return list(_tensors(args, 0)), masked, rest
    if isinstance(node, list) and len(node) == 1 and isinstance(node[0], list):  # Keras 2
        name, *place, options = [*node[0], {}] if len(node[0]) == 3 else node[0] or [None, None]
        if _is_tensor(name, place) and isinstance(options, dict):
            return [(name, *place)], [], options
    raise layer.refused(f"it must be called with one input{ALONE}")


def _is_tensor(name: Any, place: list[Any]) -> bool:
    numbers = len(place) == 2 and all(type(number) is int for number in place)
    return isinstance(name, str) and numbers


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    """Yield the tensors in the arguments of a call."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        history = config.get("keras_history") if isinstance(config, dict) else None
        if isinstance(history, list) and history and _is_tensor(history[0], history[1:]):
            yield history[0], history[1], history[2]
            return
        yield "", -1, -1
    elif isinstance(value, (list, dict)) and depth < 16:
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _tensors(entry, depth + 1)


def _ends(model: KerasLayer, found: list[KerasLayer]) -> None:
    """Check that the model's only output is that of its last layer."""
    outputs = model.config.get("output_layers")
    if isinstance(outputs, list) and len(outputs) == 1 and isinstance(outputs[0], list):
        outputs = outputs[0]
    if not found or outputs != [found[-1].name, 0, 0]:
        raise model.refused(f"its output must be that of its last layer alone{ALONE}")


def _masked(masks: list[KerasLayer], found: list[KerasLayer]) -> None:
    """Check that the masks are those that the first layer of the chain makes."""
    if not masks:
        return
    before, first = (found[0], found[1]) if len(found) > 1 else (found[0], found[0])
    value = first.config.get("mask_value", 0.0) if first.kind == "Masking" else 0
    zero = first.kind == "Embedding" and first.config.get("mask_zero") is True
    if not zero and first.kind != "Masking":
        raise masks[0].refused(f"a mask must come from Masking or Embedding as first layer{ALONE}")
    makers = {before.name, *(mask.name for mask in masks)}
    for mask in masks:
        node = mask.inbound[0] if isinstance(mask.inbound, list) and mask.inbound else {}
        args = node.get("args") if isinstance(node, dict) else None
        inputs = [name for name, *_ in _tensors(args, 0)]
        other = args[1:] if isinstance(args, list) else []
        fits = other == [value] if mask.kind == "NotEqual" else not other
        if len(inputs) != 1 or inputs[0] not in makers or not fits:
            raise mask.refused(f"it makes another mask than {first}{ALONE}")
