"""Says in words how a system stores recurrent layers, and which function they are."""

from __future__ import annotations

from collections.abc import Iterable

from gru.cells import GRU, LSTM, RNN
from gru.convert.gates import ORDERS
from gru.layer import Layer
from gru.recurrent import Recurrent

__all__ = ["convention"]

TITLES = {"torch": "PyTorch", "keras": "Keras", "onnx": "ONNX"}
# Where a system writes other letters than gates.py.
LETTERS = {"gru": {"n": "h"}, "lstm": {"g": "c"}}
FOREIGN = ("keras", "onnx")


def convention(system: str, layers: Iterable[Layer]) -> str:
    """Return a sentence for each kind of recurrent layer among ``layers``.

    Parameters
    ----------
    system : {"torch", "keras", "onnx"}
        Whose file it was.
    layers : iterable of Layer
        As they were read.

    Examples
    --------
    >>> import gru
    >>> print(convention("onnx", [gru.GRU(3, 4, reset_after=False), gru.Linear(4, 2)]))
    ONNX GRU: gates in the order z r h; the reset gate acts before the product with U \
(reset_after=False); an update gate near 1 keeps the old state.
    """
    found = [_sentence(system, layer) for layer in layers if isinstance(layer, Recurrent)]
    return " ".join(dict.fromkeys(found)) or f"{TITLES[system]}: no recurrent layer."


def _sentence(system: str, layer: Recurrent) -> str:
    kind = str(layer.spec["kind"])
    letters = LETTERS.get(kind, {}) if system in FOREIGN else {}
    order = " ".join(letters.get(gate, gate) for gate in ORDERS[system][kind])
    text = f"{TITLES[system]} {kind.upper()}: gates in the order {order}"
    if isinstance(layer, GRU):
        where, near = (
            "after" if layer.reset_after else "before",
            "keeps the old state" if layer.update_gate == "keep" else "takes the new one",
        )
        text += f"; the reset gate acts {where} the product with U "
        text += f"(reset_after={layer.reset_after}); an update gate near 1 {near}"
    elif isinstance(layer, RNN):
        text = f"{TITLES[system]} RNN: {layer.nonlinearity}, no gates"
    else:
        assert isinstance(layer, LSTM)
        text += "; no peepholes"
    return f"{text}."
