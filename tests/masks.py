"""Random masks from their definition: Philox in NumPy, and which numbers a regulariser draws."""

from __future__ import annotations

from typing import Any

import numpy as np

import reference
from cases import options
from gru import _core
from reference import Array, Extra, Extras, Spec

Rates = dict[str, float]  # dropout, input_dropout, recurrent_dropout, zoneout

BETWEEN, INPUT, RECURRENT, ZONE_H, ZONE_C = range(5)  # kinds of masks


def philox(key: int, counter: Array) -> Array:
    """Philox4x32-10 (Salmon et al. 2011) of counters (..., 4), as uint64 words below 2**32."""
    word, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [
            p1 >> word ^ c[1] ^ np.uint64(k0),
            p1 & low,
            p0 >> word ^ c[3] ^ np.uint64(k1),
            p0 & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=-1)


def kept(rate: float, seed: int, stream: int, shape: tuple[int, int, int]) -> Array:
    """Where x (B, T, F) is kept: a function of the key and of each number's place alone."""
    sequence, step, unit = np.meshgrid(*map(np.arange, shape), indexing="ij")
    counter = np.stack([step, sequence, unit // 8 * 8, np.full(shape, stream << 8)], axis=-1)
    words = np.take_along_axis(philox(seed, counter), (unit % 8 // 2)[..., None], -1)[..., 0]
    bits = np.where(unit % 2, words >> np.uint64(16), words & np.uint64(0xFFFF))
    if rate in (0, 1):
        return np.full(shape, rate == 0)
    return bits >= min(max(round(rate * 2**16), 1), 2**16 - 1)


def factors(rate: float, seed: int, stream: int, shape: tuple[int, int, int]) -> Array:
    """What dropout multiplies x (B, T, F) by: 0, or 1 / (1 - rate)."""
    scale = 1 / (1 - rate) if rate < 1 else 0.0
    return np.where(kept(rate, seed, stream, shape), scale, 0.0)


def stream_of(kind: int, layer: int = 0, direction: int = 0) -> int:
    return kind << 12 | direction << 11 | layer


def seed_in_model(seed: int, layer: int) -> int:
    """The seed that a model's layer gets of the model's."""
    high, low = 0x6C61796572, layer
    counter = [low & 0xFFFFFFFF, low >> 32, high & 0xFFFFFFFF, high >> 32]
    words = philox(seed, np.array(counter))
    return int(words[0]) << 32 | int(words[1])


def training_extras(spec: Spec, rates: Rates, seed: int, batch: int, steps: int) -> Extras:
    """What the rates do in training to a network, for the reference."""

    def cell(layer: int, direction: int) -> Extra:
        operand = enter = None
        hidden, where = spec.hidden_size, (layer, direction)
        if rate := rates.get("recurrent_dropout"):
            drawn = factors(rate, seed, stream_of(RECURRENT, *where), (batch, 1, hidden))
            operand = drawn[:, 0]
        if rate := rates.get("zoneout"):
            kinds = (ZONE_H, ZONE_C)[: reference.STATES[spec.cell]]
            shape = (batch, steps, hidden)
            enter = tuple(kept(rate, seed, stream_of(kind, *where), shape) * 1.0 for kind in kinds)
        return Extra(operand, enter)

    directions = range(len(spec.reverses))
    inputs = []
    for layer in range(spec.num_layers):
        width = spec.input_size if layer == 0 else len(directions) * spec.hidden_size
        rate = rates.get("input_dropout", 0.0)
        factor = factors(rate, seed, stream_of(INPUT, layer), (batch, 1, width))
        if layer > 0:
            rate, shape = rates.get("dropout", 0.0), (batch, steps, width)
            factor = factor * factors(rate, seed, stream_of(BETWEEN, layer - 1), shape)
        inputs.append(factor)
    return Extras(inputs, [cell(i, d) for i in range(spec.num_layers) for d in directions])


def inference_extras(spec: Spec, rates: Rates, batch: int, steps: int) -> Extras:
    """What they do in a plain call: zoneout lets in the mean, and nothing is dropped."""
    share = np.full((batch, steps, spec.hidden_size), 1 - rates.get("zoneout", 0.0))
    cell = Extra(enter=(share,) * reference.STATES[spec.cell])
    return Extras([np.ones(1)] * spec.num_layers, [cell] * spec.num_layers * len(spec.reverses))


def core_layer(spec: Spec, params: dict[str, Array], rates: Rates) -> Any:
    """The engine's layer itself, which takes its seed as an argument and may run backward alone."""
    kind = _core.Layer64 if params["weight_ih_l0"].dtype == np.float64 else _core.Layer32
    core = kind(
        {
            "kind": spec.cell,
            "input_size": spec.input_size,
            "hidden_size": spec.hidden_size,
            "num_layers": spec.num_layers,
            "direction": spec.direction,
            "bias": spec.bias,
            **rates,
            **options(spec),
        }
    )
    for name, value in core.parameters().items():
        value[...] = params[name]
    return core
