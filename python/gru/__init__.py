"""Gated recurrent networks on the CPU: one C++ engine trains and serves, NumPy in, NumPy out."""

from __future__ import annotations

from gru import datasets, losses
from gru.cells import GRU, LSTM, RNN
from gru.files import load
from gru.functional import (
    gru_backward,
    gru_forward,
    gru_forward_train,
    lstm_backward,
    lstm_forward,
    lstm_forward_train,
    rnn_backward,
    rnn_forward,
    rnn_forward_train,
)
from gru.history import History
from gru.layer import Layer
from gru.model import Sequential
from gru.optim import SGD, Adam, AdamW, RMSprop, clip_grad_norm
from gru.recurrent import Plan
from gru.runtime import (
    active_isa,
    build_info,
    get_num_threads,
    isa_levels,
    set_isa,
    set_num_threads,
)
from gru.stateless import Activation, Dropout, Embedding, Last, Linear, Max, Mean
from gru.stream import Stream
from gru.train import fit

__version__ = build_info()["version"]

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Dropout",
    "Embedding",
    "History",
    "Last",
    "Layer",
    "Linear",
    "Max",
    "Mean",
    "Plan",
    "RMSprop",
    "Sequential",
    "Stream",
    "__version__",
    "active_isa",
    "build_info",
    "clip_grad_norm",
    "datasets",
    "fit",
    "get_num_threads",
    "gru_backward",
    "gru_forward",
    "gru_forward_train",
    "isa_levels",
    "load",
    "losses",
    "lstm_backward",
    "lstm_forward",
    "lstm_forward_train",
    "rnn_backward",
    "rnn_forward",
    "rnn_forward_train",
    "set_isa",
    "set_num_threads",
]
