"""What each layer of Keras is in gru, when it stands in a chain; opens no files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gru.convert.keras_cells import CELLS, NOT_READ, function, policy, precision, recurrent, sides
from gru.convert.keras_file import KerasLayer
from gru.convert.plain import affine, embedding, linear
from gru.layer import Layer
from gru.stateless import Activation, Dropout, Last, Masking, Max, Mean, Reverse

__all__ = ["Chain"]

FUNCTIONS = ("relu", "tanh", "sigmoid", "softmax")
# What a layer computes in; of mixed policies the narrow part is what counts.
DIGITS = {"float16": 1, "bfloat16": 1, "mixed_float16": 1, "mixed_bfloat16": 1}
DIGITS |= {"float32": 2, "float64": 3}
ALONE = "; gru.load_keras_layers(path) reads its recurrent layers alone"


class Chain:
    """Layers of Keras made into layers of gru, one after the other.

    Parameters
    ----------
    reset_after : bool, optional
        Of a GRU where the file does not say.

    Attributes
    ----------
    layers : list of Layer
        What was made.
    """

    def __init__(self, reset_after: bool | None = None) -> None:
        self.layers: list[Layer] = []
        self.masked = False  # whether steps may be left out by now
        self._before: list[KerasLayer] = []  # without numbers, since the last that has some
        self._axes: int | None = None  # of the output by now, where it is known
        self._reset_after = reset_after

    def add(self, layer: KerasLayer) -> list[Layer]:
        """Append what a layer of Keras is, and return it.

        Raises
        ------
        ValueError
            If it cannot be represented exactly.
        """
        if layer.kind not in MADE:
            what = NOT_READ.get(layer.kind, "is none of the layers that gru has")
            raise layer.refused(f"it {what}{ALONE}")
        if layer.kind != "InputLayer":  # its dtype is that of tokens as well
            precision(layer)
        self._shape(layer)
        made = MADE[layer.kind](self, layer)
        self.layers += made
        self._before.append(layer)
        if any(one.dtype is not None for one in made):
            if layer.kind != "Embedding":  # tokens are whole in any dtype
                self._casts(layer)
            self._before = []
        return made

    def _casts(self, layer: KerasLayer) -> None:
        """Refuse a cast before a layer to fewer digits than it computes with, which gru lacks."""
        wanted = DIGITS.get(str(policy(layer)), 0)
        for before in self._before:
            found = policy(before)
            if isinstance(found, str) and DIGITS.get(found, 0) < wanted:
                raise before.refused(
                    f"Keras casts what comes in to its dtype, {found[:40]!a}, which gru does not; "
                    f"{layer} computes in {policy(layer)}: give it that dtype and save again"
                )

    def _shape(self, layer: KerasLayer) -> None:
        """Take the number of axes of the input from the first layer that states it."""
        for key in ("batch_shape", "batch_input_shape"):
            shape = layer.config.get(key)
            if not self.layers and isinstance(shape, list):
                self._axes = len(shape)

    def _whole(self, layer: KerasLayer, *keys: str) -> None:
        """Refuse options that are not at what every other file has."""
        for key in keys:
            if layer.flag(key):
                raise layer.refused(f"{key} must be false{ALONE}")

    def recurrent(self, layer: KerasLayer) -> list[Layer]:
        """Make GRU, LSTM, SimpleRNN or Bidirectional."""
        both = layer.kind == "Bidirectional"
        for one in sides(layer) if both else (layer,):
            self._whole(one, "return_state", "time_major")
        outer = sides(layer)[0] if both else layer
        made = recurrent(layer, self._reset_after)
        if outer.flag("return_sequences"):
            self._axes = 3
            if not made.reverse:
                return [made]
            if self.masked:
                what = "go_backwards with return_sequences after a mask gives steps and mask in "
                raise layer.refused(f"{what}different orders{ALONE}")
            return [made, Reverse()]
        self.masked, self._axes = False, 2
        if not made.reverse:
            return [made, Last(bidirectional=both)]
        forward = recurrent(
            layer._replace(config={**layer.config, "go_backwards": False}), self._reset_after
        )
        return [Reverse(), forward, Last()]

    def embedding(self, layer: KerasLayer) -> list[Layer]:
        """Make Embedding; with mask_zero, token 0 does not count."""
        (table,) = layer.store.arrays("", ["embeddings"])
        found: list[Layer] = [embedding(f"{layer.file.path}: {layer}", table)]
        if layer.flag("mask_zero"):
            self._first(layer, "mask_zero")
            found.insert(0, Masking(0.0))
        self._axes = 3
        return found

    def _first(self, layer: KerasLayer, what: str) -> None:
        if self.layers:
            raise layer.refused(f"{what} must be in the first layer{ALONE}")
        self.masked = True

    def masking(self, layer: KerasLayer) -> list[Layer]:
        """Make Masking."""
        self._first(layer, "a mask")
        return [Masking(float(layer.option("mask_value", (int, float), "a number", 0.0)))]

    def dense(self, layer: KerasLayer) -> list[Layer]:
        """Make Dense, with its activation as a layer of its own."""
        return self._dense(layer, "")

    def distributed(self, layer: KerasLayer) -> list[Layer]:
        """Make TimeDistributed(Dense)."""
        inner = layer.wrapped("layer")
        if inner.kind != "Dense":
            raise layer.refused(f"it must hold a Dense layer, but holds {inner}{ALONE}")
        precision(inner)
        return self._dense(inner, "layer")

    def _dense(self, layer: KerasLayer, inside: str) -> list[Layer]:
        biased = layer.flag("use_bias", True)
        if layer.config.get("lora_rank"):
            raise layer.refused("LoRA weights must be merged into the layer first")
        arrays = layer.store.arrays(inside, ["kernel", "bias"] if biased else ["kernel"])
        weight, bias = np.asarray(arrays[0]).T, arrays[1] if biased else None
        return [
            linear(f"{layer.file.path}: {layer}", weight, bias),
            *self._function(layer, function(layer, "activation")),
        ]

    def _function(self, layer: KerasLayer, name: str) -> list[Layer]:
        if name not in ("linear", *FUNCTIONS):
            wanted = ", ".join(FUNCTIONS)
            raise layer.refused(f"activation must be linear, {wanted}, got {name[:40]!a}")
        return [] if name == "linear" else [Activation(name)]

    def activation(self, layer: KerasLayer) -> list[Layer]:
        """Make Activation."""
        return self._function(layer, function(layer, "activation"))

    def relu(self, layer: KerasLayer) -> list[Layer]:
        """Make ReLU without its further arguments."""
        if layer.config.get("max_value") is not None or any(
            layer.config.get(key) for key in ("negative_slope", "threshold")
        ):
            raise layer.refused("max_value, negative_slope and threshold must be at their defaults")
        return [Activation("relu")]

    def softmax(self, layer: KerasLayer) -> list[Layer]:
        """Make Softmax over the features."""
        if self.masked:
            raise layer.refused("it takes a mask of steps for one of features; use Activation")
        self._last_axis(layer)
        return [Activation("softmax")]

    def _last_axis(self, layer: KerasLayer) -> None:
        axis = layer.config.get("axis", -1)
        if isinstance(axis, list) and len(axis) == 1:  # as Keras 2 has it
            axis = axis[0]
        last = self._axes and self._axes - 1
        if isinstance(axis, bool) or not isinstance(axis, int) or (axis != -1 and axis != last):
            raise layer.refused("axis must be the last one, which holds the features")

    def normalisation(self, layer: KerasLayer) -> list[Layer]:
        """Make BatchNormalization as it is in inference, in float64 until it is stored."""
        self._last_axis(layer)
        scale, center = layer.flag("scale", True), layer.flag("center", True)
        epsilon = float(layer.option("epsilon", (int, float), "a number", 1e-3))
        roles = [*["gamma"] * scale, *["beta"] * center, "moving_mean", "moving_variance"]
        arrays = dict(zip(roles, layer.store.arrays("", roles), strict=True))
        shapes = {tuple(array.shape) for array in arrays.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise layer.refused(f"its arrays must have one length, got shapes {sorted(shapes)}")
        kind = np.result_type(np.float32, *(array.dtype for array in arrays.values()))
        wide = {role: np.asarray(array, np.float64) for role, array in arrays.items()}
        variance = wide["moving_variance"] + epsilon
        if not (variance > 0).all():
            raise layer.refused("moving_variance + epsilon must be above 0 everywhere")
        weight = wide.get("gamma", 1.0) / np.sqrt(variance)
        bias = wide.get("beta", 0.0) - wide["moving_mean"] * weight
        return [affine(f"{layer.file.path}: {layer}", weight.astype(kind), bias.astype(kind))]

    def dropout(self, layer: KerasLayer) -> list[Layer]:
        """Make Dropout, which acts in training alone."""
        if layer.config.get("noise_shape") is not None:
            return []
        return [Dropout(float(layer.option("rate", (int, float), "a rate", 0.5)))]

    def nothing(self, layer: KerasLayer) -> list[Layer]:
        """Leave out a layer that changes nothing in inference."""
        return []

    def pooling(self, layer: KerasLayer) -> list[Layer]:
        """Make GlobalAveragePooling1D or GlobalMaxPooling1D."""
        self._whole(layer, "keepdims")
        if layer.config.get("data_format", "channels_last") != "channels_last":
            raise layer.refused("data_format must be 'channels_last'")
        average = layer.kind == "GlobalAveragePooling1D"
        if self.masked and not average:
            raise layer.refused(f"Keras pools the steps that a mask leaves out as well{ALONE}")
        self.masked, self._axes = False, 2
        return [Mean() if average else Max()]


MADE: dict[str, Callable[[Chain, KerasLayer], list[Layer]]] = {
    **dict.fromkeys([*CELLS, "Bidirectional"], Chain.recurrent),
    "Embedding": Chain.embedding,
    "Masking": Chain.masking,
    "Dense": Chain.dense,
    "TimeDistributed": Chain.distributed,
    "Activation": Chain.activation,
    "ReLU": Chain.relu,
    "Softmax": Chain.softmax,
    "BatchNormalization": Chain.normalisation,
    "Dropout": Chain.dropout,
    **dict.fromkeys(["GlobalAveragePooling1D", "GlobalMaxPooling1D"], Chain.pooling),
    **dict.fromkeys(
        [
            "InputLayer",
            "SpatialDropout1D",
            "GaussianDropout",
            "GaussianNoise",
            "AlphaDropout",
            "ActivityRegularization",
        ],
        Chain.nothing,
    ),
}
