"""The usual model and the block that sets threads: what is built, and what is given back."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import gru
from gru.recipe import recipe
from gru.runtime import num_threads


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, "Sequential([GRU(3, 64), Last(), Linear(64, 2)])"),
        (
            {"bidirectional": True, "cell": "lstm", "hidden_size": 5},
            "Sequential([LSTM(3, 5, bidirectional=True), Last(bidirectional=True), Linear(10, 2)])",
        ),
        (
            {"num_layers": 2, "dropout": 0.25, "pooling": None, "cell": "rnn", "dtype": "float64"},
            "Sequential([RNN(3, 64, num_layers=2, dropout=0.25, dtype='float64'), "
            "Dropout(rate=0.25), Linear(64, 2, dtype='float64')])",
        ),
        (
            {"dropout": 0.25, "pooling": "max"},
            "Sequential([GRU(3, 64), Max(), Dropout(rate=0.25), Linear(64, 2)])",
        ),
        (
            {"layer_norm": True, "reset_after": False, "update_gate": "new", "zoneout": 0.1},
            "Sequential([GRU(3, 64, reset_after=False, update_gate='new', layer_norm=True, "
            "zoneout=0.1), Last(), Linear(64, 2)])",
        ),
        (
            {"cell": "lstm", "input_dropout": 0.1, "recurrent_dropout": 0.2, "zoneout": 0.3},
            "Sequential([LSTM(3, 64, input_dropout=0.1, recurrent_dropout=0.2, zoneout=0.3), "
            "Last(), Linear(64, 2)])",
        ),
    ],
)
def test_it_builds_what_is_asked_for(settings: Any, shown: str) -> None:
    assert repr(recipe(3, 2, **settings)) == shown


def test_one_seed_gives_the_same_model() -> None:
    first, again, other = (recipe(3, 2, dropout=0.5, seed=seed) for seed in (0, 0, 1))
    x = np.ones((2, 4, 3), np.float32)
    for _ in range(2):
        assert np.array_equal(first.forward(x)[0], again.forward(x)[0])
    assert not np.array_equal(first(x), other(x))
    assert not np.array_equal(
        first.parameters["0.weight_ih_l0"][0, 0], first.parameters["3.weight"][0, 0]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "GRU"}, "cell must be one of 'gru', 'lstm', 'rnn', got 'GRU'"),
        ({"pooling": "sum"}, "pooling must be one of 'last', 'mean', 'max', got 'sum'"),
        ({"dropout": -0.1}, "dropout must be from 0 to 1, got -0.1"),
        ({"hidden_size": 0}, "hidden_size must be an integer from 1"),
        ({"zoneout": 1.5}, "zoneout must be .*, got 1.5"),
        ({"update_gate": "old"}, "update_gate must be .* got 'old'"),
        ({"cell": "lstm", "layer_norm": True}, "layer_norm=True needs cell='gru', got cell='lstm'"),
        ({"cell": "rnn", "reset_after": False}, "reset_after=False needs cell='gru', got cell='r"),
        ({"cell": "rnn", "update_gate": "new"}, "update_gate='new' needs cell='gru', got cell='r"),
    ],
)
def test_other_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(3, 2, **change)


def test_threads_are_given_back_after_an_error(threads: None) -> None:
    gru.set_num_threads(3)

    def fail() -> None:
        with num_threads(2):
            assert gru.get_num_threads() == 2
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert gru.get_num_threads() == 3
    with num_threads(None):
        assert gru.get_num_threads() == 3


def test_the_last_block_to_end_gives_the_threads_back(threads: None) -> None:
    """Blocks that overlap in two Python threads, the first to come ending first."""
    gru.set_num_threads(None)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with num_threads(5):
            inside.set()
            leave.wait(30)

    second = threading.Thread(target=other)
    with num_threads(2):
        second.start()
        assert inside.wait(30)
        assert gru.get_num_threads() == 5
    assert gru.get_num_threads() == 5
    leave.set()
    second.join()
    assert gru.get_num_threads() is None
