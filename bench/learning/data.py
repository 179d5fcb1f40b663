"""The tasks, their data, and where a training starts; knows gru, but trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gru
from job import Array
from learning.task import Start, Task
from learning.text import Text

Arrays = dict[str, Array]
Split = tuple[Any, Any, Any, Any]  # X and y to train on, X and y to test on

HELD_OUT = 0.1  # of the text, at its end

LABELLED = (
    Task("JapaneseVowels", hidden=64, epochs=40, least=0.96),
    Task("ItalyPowerDemand", hidden=32, epochs=120, least=0.96),
    Task("BasicMotions", hidden=32, epochs=200, least=0.94),
    Task("digits", hidden=64, epochs=25, least=0.92),
)
LANGUAGE = Task("language", hidden=128, epochs=2, rate=2e-3, inputs=64, window=64)


class MissingError(Exception):
    """The data of a task is not there."""


def scaled(train: list[Array], test: list[Array]) -> tuple[list[Array], list[Array]]:
    """Give each channel of the training set mean 0 and deviation 1, as the estimators do."""
    steps = np.concatenate(train)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    return [(x - mean) / deviation for x in train], [(x - mean) / deviation for x in test]


def vowels(archive: Path | None) -> Split:
    data = gru.datasets.japanese_vowels()
    return data.X_train, data.y_train, data.X_test, data.y_test


def archived(name: str, archive: Path | None) -> Split:
    """Read a data set of the UCR/UEA archive: all steps end to end, and ``lengths`` to cut them."""
    if archive is None:
        raise MissingError("not measured: it needs --data FILE.npz with UCR/UEA sets")
    if not archive.is_file():
        raise MissingError(f"not measured: there is no file {archive}")
    found: list[Any] = []
    with np.load(archive) as arrays:
        if f"{name}/TRAIN/X" not in arrays:
            raise MissingError(f"not measured: {archive.name} does not have it")
        classes = np.unique(arrays[f"{name}/TRAIN/y"])
        for part in ("TRAIN", "TEST"):
            ends = np.cumsum(arrays[f"{name}/{part}/lengths"])[:-1]
            found.append(np.split(arrays[f"{name}/{part}/X"], ends))
            found.append(np.searchsorted(classes, arrays[f"{name}/{part}/y"]))
    X, y, X_test, y_test = found
    return X, y, X_test, y_test


def digits(archive: Path | None) -> Split:
    """Take scikit-learn's 8 x 8 digits row by row; a fifth is held out, stratified."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise MissingError("not measured: scikit-learn is not installed") from None
    X, y = load_digits(return_X_y=True)
    split = {"test_size": 0.2, "random_state": 0, "stratify": y}
    train, test, y_train, y_test = train_test_split(X.reshape(-1, 8, 8), y, **split)
    return list(train), y_train, list(test), y_test


READERS: dict[str, Callable[[Path | None], Split]] = {
    "JapaneseVowels": vowels,
    "ItalyPowerDemand": partial(archived, "ItalyPowerDemand"),
    "BasicMotions": partial(archived, "BasicMotions"),
    "digits": digits,
}


def labelled(task: Task, archive: Path | None) -> tuple[Task, Arrays]:
    """Read, scale and pad a task of sequences with one class each."""
    train, y, test, y_test = READERS[task.name](archive)
    if task.name == "digits":  # the pixels have one scale, and some are never lit
        train, test = ([x / 16.0 for x in part] for part in (train, test))
    else:
        train, test = scaled(train, test)
    arrays: Arrays = {}
    for name, items, classes in (("", train, y), ("_test", test, y_test)):
        arrays[f"x{name}"], arrays[f"lengths{name}"] = gru.data.pad(items, np.float32)
        arrays[f"y{name}"] = np.asarray(classes, np.int64)
    inputs, classes = arrays["x"].shape[2], int(arrays["y"].max()) + 1
    return replace(task, inputs=inputs, classes=classes), arrays


def written(task: Task, text: Text) -> tuple[Task, Arrays]:
    """Cut a text in parallel rows, of which each next character is to be guessed."""
    at = round(len(text.symbols) * (1 - HELD_OUT))
    arrays: Arrays = {}
    for name, symbols in (("", text.symbols[:at]), ("_test", text.symbols[at:])):
        x, y = gru.data.streams(symbols[:-1], symbols[1:], task.batch)
        whole = x.shape[1] // task.window * task.window
        arrays |= {f"x{name}": x[:, :whole], f"y{name}": y[:, :whole]}
    return replace(task, classes=len(text.alphabet)), arrays


def network(task: Task, seed: int) -> gru.Sequential:
    """Return the untrained network: U(-1/sqrt H, 1/sqrt H), embeddings N(0, 1), as PyTorch's."""
    recurrent = gru.GRU(task.inputs, task.hidden, seed=3 * seed)
    last = gru.Linear(task.hidden, task.classes, seed=3 * seed + 1)
    if not task.window:
        return gru.Sequential([recurrent, gru.Last(), last])
    table = gru.Embedding(task.classes, task.inputs, seed=3 * seed + 2)
    return gru.Sequential([table, recurrent, last])


def start(task: Task, arrays: Arrays, seed: int) -> Start:
    """Return the weights of a seed, and the batches as gru.fit will draw them."""
    weights = {name: view.copy() for name, view in network(task, seed).parameters.items()}
    rng = np.random.default_rng(seed)
    lengths = arrays.get("lengths", np.full(task.batch, arrays["x"].shape[1]))
    steps = 0 if (lengths == lengths[0]).all() else 1  # fit knows that an array's are all alike
    windows = arrays["x"].shape[1] // task.window if task.window else 1
    order, sizes = [], []
    for _ in range(task.epochs):
        batches = list(gru.data.batches(lengths * steps, task.batch, rng))
        rng.integers(2**63, size=len(batches) * windows)  # fit draws one for each step's dropout
        order.append(np.concatenate(batches))
        sizes.append([len(batch) for batch in batches])
    return Start(seed, task.epochs, weights, np.stack(order), np.array(sizes))
