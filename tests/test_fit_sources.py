"""Data that does not lie in memory: mapped files, generators, and what is checked on the way."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru import data as gru_data
from gru.data import Batch, Dataset, Sequences, streams
from gru.prepare import check_memory
from gru.sources import Stored


def model(inputs: int = 2, *, per_step: bool = False) -> gru.Sequential:
    layers: list[gru.Layer] = [gru.GRU(inputs, 4, seed=0)]
    layers += [] if per_step else [gru.Last()]
    return gru.Sequential([*layers, gru.Linear(4, 2, seed=0)])


def run(X: Any, y: Any = None, *, inputs: int = 2, **change: Any) -> tuple[bytes, gru.History]:
    made = model(inputs)
    call = {"optimizer": gru.Adam(0.01), "epochs": 2, "batch_size": 8, "verbose": False, **change}
    history = gru.fit(made, X, y, **call)
    return b"".join(block.tobytes() for block in made.blocks().values()), history


def task(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 5, 2)), rng.integers(0, 2, count)


def mapped(path: Path, values: np.ndarray) -> np.ndarray:
    np.save(path, values)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


@pytest.mark.parametrize("ragged", [False, True])
def test_a_mapped_file_gives_the_same_bits(ragged: bool, tmp_path: Path) -> None:
    X, y = task()
    files: Any = mapped(tmp_path / "x.npy", X)
    plain: Any = X
    if ragged:
        plain = [item[: 2 + i % 3] for i, item in enumerate(X)]
        files = [mapped(tmp_path / f"{i}.npy", item) for i, item in enumerate(plain)]
    wanted = run(plain, y, validation=(plain, y))
    found = run(files, mapped(tmp_path / "y.npy", y), validation=(files, y))
    assert found[0] == wanted[0]
    assert found[1].val_loss == wanted[1].val_loss


def test_a_mapped_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """200 MB on the disk; of numbers in memory there are never more than a few batches."""
    shape = (500, 10, 5000)
    X = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float64, shape=shape)
    assert X.nbytes == 200e6
    made = gru.Sequential([gru.Linear(5000, 1, seed=0), gru.GRU(1, 2, seed=0), gru.Last()])
    y = np.zeros((500, 2))
    settings: dict[str, Any] = {"loss": "mse", "epochs": 1, "batch_size": 8, "verbose": False}
    tracemalloc.start()
    gru.fit(made, X, y, validation=(X[:64], y[:64]), **settings)
    made.predict(X, batch_size=8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a validation batch of 64 in both dtypes is 38 MB
    assert peak < 45e6


def test_large_arrays_are_cast_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = task()
    wanted = run(X, y)
    monkeypatch.setattr(gru_data, "LARGE", 1)
    inputs = Sequences(X, np.dtype("float32"))
    assert inputs.values is X
    assert inputs.take(np.array([3])).x.dtype == np.float32
    assert run(X, y)[0] == wanted[0]


@pytest.mark.parametrize("window", [None, slice(2, 5)])
def test_a_bad_number_in_a_mapped_file_is_named(window: slice | None, tmp_path: Path) -> None:
    X, y = task()
    X[17, 3, 1] = np.nan
    steps = np.tile(y[:, None], 5)  # a target at every step
    data = Dataset(Sequences(mapped(tmp_path / "x.npy", X), np.dtype("float32")), steps)
    with pytest.raises(ValueError, match=r"X must be finite, got nan at X\[17, 3, 1\]"):
        data.take(np.array([2, 17]), window)
    targets = np.zeros(20)
    targets[5] = np.inf
    data = Dataset(
        Sequences(np.zeros((20, 5, 2)), np.dtype("float32")), mapped(tmp_path / "y.npy", targets)
    )
    with pytest.raises(ValueError, match=r"y must be finite, got inf at y\[5\]"):
        data.take(np.array([2, 5]))


def test_the_first_bad_number_of_a_long_array_is_named() -> None:
    X = np.zeros((3000, 1000))
    X[2500, 7] = np.inf
    with pytest.raises(ValueError, match=r"X must be finite, got inf at X\[2500, 7\]"):
        gru_data.check_finite(X, "X")


def test_a_function_of_the_epoch_gives_batches() -> None:
    X, y = task()
    epochs: list[int] = []

    def source(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epochs.append(epoch)
        for start in range(0, 20, 8):
            yield X[start : start + 8], y[start : start + 8]

    found, history = run(source, validation=(source, None))
    assert epochs == [0, 0, 1, 0]  # validation always asks for the first
    listed = [(X[s : s + 8], y[s : s + 8]) for s in range(0, 20, 8)]
    assert run(listed)[0] == found
    boxed = [Batch(x, None, None, t) for x, t in listed]
    assert run(boxed)[0] == found
    by_hand = model()
    optimizer, objective = gru.Adam(0.01), gru.train.Objective.of("cross_entropy")
    for _ in range(2):
        for x, t in listed:
            batch = Batch(x.astype(np.float32), None, None, t)
            gru.train.train_step(by_hand, batch, objective, optimizer)
    assert b"".join(block.tobytes() for block in by_hand.blocks().values()) == found
    loss, _ = gru.losses.cross_entropy(by_hand.predict(X), y)
    assert history.val_loss[-1] == pytest.approx(loss, rel=1e-6)


def test_batches_may_be_ragged_and_weighted() -> None:
    X, y = task()
    ragged = [item[: 2 + i % 3] for i, item in enumerate(X)]
    dense, lengths = gru_data.pad(ragged)
    weight = np.arange(20.0)
    a = run([(ragged, y, weight)], class_weight={0: 3.0})
    b = run([Batch(dense, lengths, None, y, weight)], class_weight={0: 3.0})
    c = run([(ragged, y)])
    assert a[1].loss == pytest.approx(b[1].loss, rel=1e-6)
    assert a[0] != c[0]


def test_the_bar_of_a_source_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = task()
    run(lambda epoch: iter([(X, y)]), verbose=True)
    assert "2step [00:00" in capsys.readouterr().err
    run([(X, y)], verbose=True)
    assert "2/2 [00:00" in capsys.readouterr().err


def test_streams_follow_the_sequence(tmp_path: Path) -> None:
    text = np.arange(23)
    X, y = streams(text[:-1], text[1:], 4)
    assert X.shape == y.shape == (4, 5)
    assert np.array_equal(X.ravel(), text[:20])
    assert np.array_equal(y, X + 1)
    series = mapped(tmp_path / "s.npy", np.arange(24.0).reshape(12, 2))
    rows, _ = streams(series, series[:, :1], 3)
    assert rows.shape == (3, 4, 2)
    assert np.shares_memory(rows, series)


class Padded:
    """A model that needs a byte for each step of a batch, padding included."""

    layers = (gru.Last(),)

    def least_memory(self, batch: int, steps: int, *, lengths: Any = None) -> int:
        assert (batch, steps) == (len(lengths), max(lengths))
        return batch * steps


LONG = [2, 3, 1, 50, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("sequences", "size", "carry", "need", "place"),
    [
        (np.zeros((9, 7, 2)), 4, {}, 28, r"4 with X\[3\], which has 7 steps"),
        (np.zeros((9, 7, 2)), 3, {}, 21, r"3 with X\[8\], which has 7 steps"),
        (np.zeros((9, 7, 2)), 100, {}, 63, r"9 with X\[8\], which has 7 steps"),
        (np.zeros((9, 7, 2)), 4, {"bptt_steps": 5}, 20, r"4 with X\[3\], which has 5 steps"),
        ([np.zeros((n, 2)) for n in LONG], 4, {}, 50, r"1 with X\[3\], which has 50 steps"),
        ([np.zeros((n, 2)) for n in LONG], 5, {}, 200, r"4 with X\[3\], which has 50 steps"),
    ],
)
def test_a_memory_limit_must_do_for_the_batches_that_are_sure_to_come(
    sequences: Any, size: int, carry: dict[str, Any], need: int, place: str
) -> None:
    """Whatever the order is: the longest sequence, with any others, and any full batch."""
    y = [np.zeros(len(item)) for item in sequences]
    inputs = Sequences(sequences, np.dtype("float32"))
    data = Dataset(inputs, y if inputs.ragged else np.array(y))
    source = Stored(data, size, **carry)
    check_memory(Padded(), source, None)
    check_memory(Padded(), source, need)
    message = f"memory_limit must be at least {need} bytes for a batch of {place}, got {need - 1}"
    with pytest.raises(ValueError, match=message):
        check_memory(Padded(), source, need - 1)
    for seed in range(20):
        _, pieces = source.pieces(0, np.random.default_rng(seed))
        taken = [piece.take().x.shape[:2] for piece in pieces]
        assert max(batch * steps for batch, steps in taken) >= need


def test_fit_takes_no_step_that_a_memory_limit_cannot_finish() -> None:
    """The one long sequence is named before anything is learned, whenever its turn comes."""
    model = gru.Sequential([gru.GRU(2, 64, seed=0), gru.Last(), gru.Linear(64, 2, seed=0)])
    before = {name: value.copy() for name, value in model.parameters.items()}
    X = [np.ones((n, 2)) for n in [5] * 40 + [60_000]]
    with pytest.raises(ValueError, match=r"for a batch of 1 with X\[40\], which has 60000 steps"):
        gru.fit(model, X, [0, 1] * 20 + [0], batch_size=4, memory_limit=2_500_000, verbose=False)
    assert all(np.array_equal(value, before[name]) for name, value in model.parameters.items())


def test_steps_that_masking_leaves_out_need_no_memory() -> None:
    layers = [gru.GRU(2, 64, seed=0), gru.Last(), gru.Linear(64, 2, seed=0)]
    X = np.zeros((4, 60_000, 2))
    X[:, :5] = 1
    limit = gru.Sequential(layers).least_memory(4, 60_000, lengths=[5] * 4)
    model = gru.Sequential([gru.Masking(), *layers])
    gru.fit(model, X, [0, 1, 0, 1], epochs=1, memory_limit=limit, verbose=False)


X, Y = task()


@pytest.mark.parametrize(
    ("source", "change", "kind", "message"),
    [
        (iter([(X, Y)]), {}, TypeError, "an iterator gives them once; pass a function"),
        ([X], {}, TypeError, r"X must give \(x, y\), .* where y is None, got ndarray"),
        (X, {}, TypeError, "y must be an array or a list of targets, .* got None"),
        (3, {}, TypeError, "X must be a function of the epoch or an iterable .* got 3"),
        ([], {}, ValueError, "X gave no batch in epoch 1"),
        (lambda epoch: [], {}, ValueError, "X gave no batch in epoch 1"),
        ([(X, Y), (X, Y[:3])], {}, ValueError, "in batch 2 of epoch 1, y must have one .* got 3"),
        ([(X * np.nan, Y)], {}, ValueError, r"in batch 1 of epoch 1, X must be finite, got nan at"),
        ([(X, Y)], {"lengths": [5] * 20}, ValueError, "lengths goes with arrays; a source gives"),
        ([(X, Y)], {"sample_weight": Y}, ValueError, "sample_weight goes with arrays"),
        ([(X, Y)], {"class_weight": "balanced"}, ValueError, "'balanced' needs targets in arrays"),
        (
            lambda epoch: [(X, Y)],
            {"schedule": gru.schedules.Cosine()},
            ValueError,
            "Cosine must say its steps where the length of an epoch is not known",
        ),
    ],
)
def test_what_is_no_source_is_refused(
    source: Any, change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(source, **change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(5), np.zeros(4), 2), "y must have one entry a step, 5, got 4"),
        ((np.zeros(5), np.zeros(5), 6), "batch_size must be an integer from 1 to 5, got 6"),
        ((np.zeros(()), np.zeros(5), 1), r"X must have steps, got shape \(\)"),
    ],
)
def test_what_makes_no_streams_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        streams(*arguments)
