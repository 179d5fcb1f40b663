"""Weights of samples and classes: the same as repeating a sample, as PyTorch and scikit-learn."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gru
from gru import counting as gru_counting
from gru.counting import check_counting, counting
from gru.data import Batch, Dataset, Sequences
from gru.weights import ClassWeights

F64 = np.dtype("float64")


def model(per_step: bool = False) -> gru.Sequential:
    layers: list[gru.Layer] = [gru.GRU(2, 5, seed=0, dtype="float64")]
    layers += [] if per_step else [gru.Last()]
    return gru.Sequential([*layers, gru.Linear(5, 3, seed=0, dtype="float64")])


def data(count: int = 12) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)) for steps in rng.integers(2, 6, count)]
    return X, rng.integers(0, 3, count)


def trained(X: Any, y: Any, *, per_step: bool = False, **options: Any) -> tuple[Any, gru.History]:
    made = model(per_step)
    settings = {"optimizer": gru.SGD(0.3), "batch_size": 100, "epochs": 3, "verbose": False}
    history = gru.fit(made, X, y, **{**settings, **options})
    return np.concatenate(list(made.blocks().values())), history


@pytest.mark.parametrize("per_step", [False, True])
def test_a_weight_is_a_repetition(per_step: bool) -> None:
    X, y = data()
    targets = [np.full(len(item), label) for item, label in zip(X, y, strict=True)]
    targets = targets if per_step else list(y)
    times = np.arange(12) % 4
    weighted, a = trained(X, targets, per_step=per_step, sample_weight=times)
    again = [i for i, n in enumerate(times) for _ in range(n)]
    repeated, b = trained([X[i] for i in again], [targets[i] for i in again], per_step=per_step)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)
    assert a.loss == pytest.approx(b.loss, rel=1e-12)


def test_a_class_weight_is_the_sample_weight_of_its_members() -> None:
    X, y = data()
    by_class, a = trained(X, y, class_weight={0: 2.0, 2: 0.5})
    by_sample, b = trained(X, y, sample_weight=np.array([2.0, 1.0, 0.5])[y])
    assert np.array_equal(by_class, by_sample)
    assert a.loss == b.loss
    both, _ = trained(X, y, class_weight={0: 2.0}, sample_weight=np.arange(12))
    product, _ = trained(X, y, sample_weight=np.array([2.0, 1.0, 1.0])[y] * np.arange(12))
    assert np.array_equal(both, product)


def test_weights_of_steps() -> None:
    X, _ = data()
    rng = np.random.default_rng(1)
    y = [rng.integers(0, 3, len(item)) for item in X]
    keep = [rng.integers(0, 2, len(item)) for item in X]
    by_step, _ = trained(X, y, per_step=True, sample_weight=keep, class_weight={1: 3.0})
    product = [k * np.array([1.0, 3.0, 1.0])[t] for k, t in zip(keep, y, strict=True)]
    assert np.array_equal(by_step, trained(X, y, per_step=True, sample_weight=product)[0])
    lengths = np.array([len(item) for item in X])
    dense, targets, weight = np.zeros((12, 5, 2)), np.zeros((12, 5), int), np.zeros((12, 5))
    for i, n in enumerate(lengths):
        dense[i, :n], targets[i, :n], weight[i, :n] = X[i], y[i], product[i]
    options = {"per_step": True, "sample_weight": weight, "lengths": lengths}
    np.testing.assert_allclose(trained(dense, targets, **options)[0], by_step, rtol=1e-9)


def test_balanced_counts_only_targets_that_count() -> None:
    lengths = np.array([1, 3])
    y = np.array([[0, 2, 2], [0, 0, 1]])
    inputs = Sequences(np.zeros((2, 3, 2)), F64, lengths=lengths)
    weights = Dataset(inputs, y, class_weight="balanced").class_weight
    assert weights is not None
    assert weights.classes.tolist() == [0, 1]
    assert weights.weights.tolist() == [4 / (2 * 3), 4 / (2 * 1)]


def test_balanced_is_scikit_learns() -> None:
    utils = pytest.importorskip("sklearn.utils")
    y = np.random.default_rng(0).choice([-3, 0, 7], 50, p=[0.1, 0.3, 0.6])
    ours = ClassWeights.of("balanced", [y])(y)
    np.testing.assert_array_equal(ours, utils.compute_sample_weight("balanced", y))


def test_one_step_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    X, y = data()
    made = model()
    before = made.predict(X)
    weight = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    _, history = trained(X, y, class_weight={0: 0.2, 2: 3.0}, epochs=1)
    loss = torch.nn.functional.cross_entropy(torch.tensor(before), torch.tensor(y), weight=weight)
    assert history.loss[0] == pytest.approx(loss.item(), rel=1e-12)


def test_the_epochs_loss_is_the_weighted_mean_over_all() -> None:
    X, y = data()
    weight = np.arange(12.0)
    still = {"optimizer": gru.SGD(0.0), "epochs": 1, "sample_weight": weight}
    whole, parts = (trained(X, y, batch_size=size, **still)[1] for size in (100, 5))
    assert whole.loss == pytest.approx(parts.loss, rel=1e-12)
    plain = trained(X, y, optimizer=gru.SGD(0.0), epochs=1)[1]
    assert whole.loss[0] != plain.loss[0]
    assert whole.metric == plain.metric  # metrics are not weighted
    held = trained(X, y, validation=(X, y), **still)[1]
    assert held.val_loss == pytest.approx(plain.loss, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"sample_weight": [1.0]}, ValueError, r"sample_weight must have shape \(12,\), got \(1,"),
        ({"sample_weight": [-1.0] * 12}, ValueError, "sample_weight .* at least 0, got -1.0"),
        ({"sample_weight": [np.nan] * 12}, ValueError, "sample_weight .* finite .* got nan"),
        ({"sample_weight": np.zeros(12)}, ValueError, "at least one number above 0, got none"),
        ({"sample_weight": "abc"}, TypeError, "sample_weight must be an array .* got 'abc'"),
        (
            {"sample_weight": [np.ones(9)] * 12, "per_step": True},
            ValueError,
            "one number a step of each sequence",
        ),
        ({"sample_weight": [np.ones(9)] * 12}, ValueError, "one number a sequence, as y has one t"),
        ({"sample_weight": np.ones((12, 5))}, ValueError, "one number a sequence, as y has one t"),
        ({"sample_weight": [1, -2] * 6}, ValueError, r"got -2.0 at sample_weight\[1\]"),
        ({"class_weight": {5: 1}}, ValueError, r"a class that y holds, .* \[0, 2\], got \[5\]"),
        (
            {"class_weight": {0: 0, 1: 0, 2: 0}},
            ValueError,
            "class_weight must leave at least one target that counts, got none",
        ),
        (
            {"class_weight": {0: 0}, "sample_weight": np.arange(12) == 3, "y": np.zeros(12, int)},
            ValueError,
            "class_weight must leave at least one target",
        ),
        ({"class_weight": "fair"}, ValueError, "class_weight must be .* 'balanced', got 'fair'"),
        ({"class_weight": [1, 2]}, TypeError, "class_weight must be a dict .* got list"),
        ({"class_weight": {"a": 1}}, TypeError, "a class of class_weight must be an integer"),
        ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be .* got -1"),
        (
            {"class_weight": {0: 1}, "y": np.zeros(12), "loss": "mse"},
            TypeError,
            "class_weight needs integer classes in y, got float64",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    X, y = data()
    if change.get("per_step"):
        y = [np.full(len(item), label) for item, label in zip(X, y, strict=True)]
    with pytest.raises(kind, match=message):
        trained(X, change.pop("y", y), **change)


F: Any = np.zeros((4, 5), bool)
ONE_CLASS: Any = np.eye(4, 5, dtype=int)  # class 0 where a step counts, as the mask has it


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"mask": F}, "mask"),
        ({"lengths": [0] * 4}, "lengths"),
        ({"X": np.zeros((4, 0, 2)), "y": np.zeros((4, 0), int)}, "X"),
        ({"X": [np.zeros((0, 2))] * 4, "y": [np.zeros(0, int)] * 4}, "X"),
        ({"lengths": [2] * 4, "sample_weight": np.arange(5) > 1 | F}, "sample_weight"),
        ({"lengths": [2, 0, 0, 0], "sample_weight": [0, 1, 1, 1]}, "sample_weight"),
        (
            {"X": [np.zeros((n, 2)) for n in (0, 3)], "y": [[], [1] * 3], "sample_weight": [1, 0]},
            "sample_weight",
        ),
        ({"class_weight": {1: 0.0}}, "class_weight"),
        ({"class_weight": {0: 0.0}, "y": ONE_CLASS, "mask": ONE_CLASS == 0}, "class_weight"),
    ],
)
def test_targets_of_which_none_counts_are_refused(change: dict[str, Any], name: str) -> None:
    """Their loss would be 0, as of a perfect model."""
    X, y = change.pop("X", np.zeros((4, 5, 2))), change.pop("y", np.ones((4, 5), int))
    message = f"{name} must leave at least one target that counts, got none"
    with pytest.raises(ValueError, match=f"^{message}"):
        trained(X, y, per_step=True, **change)
    if not {"sample_weight", "class_weight"} & set(change):
        which = {f"validation_{key}": value for key, value in change.items()}
        there = np.zeros((4, 5, 2)), np.ones((4, 5), int)
        with pytest.raises(ValueError, match=f"^in validation, {message}"):
            trained(*there, per_step=True, validation=(X, y), **which)


def test_an_epoch_of_a_source_in_which_nothing_counts_is_refused() -> None:
    X, y = np.zeros((4, 5, 2)), np.ones((4, 5), int)
    nothing, all_of_it = Batch(X, None, F, y), Batch(X, None, ~F, y)
    with pytest.raises(ValueError, match="epoch 1: no target counts: lengths, mask or weights le"):
        trained([nothing] * 2, None, per_step=True)
    with pytest.raises(ValueError, match="epoch 1, validation: no target counts"):
        trained([all_of_it], None, per_step=True, validation=([nothing], None))
    _, history = trained([nothing, all_of_it], None, per_step=True, epochs=2)
    assert all(loss > 0 for loss in history.loss)

    class Soon(gru.Callback):
        def on_step_end(self, run: gru.Run) -> None:
            run.stop()

    _, history = trained([nothing, all_of_it], None, per_step=True, callbacks=[Soon()])
    assert np.isnan([history.loss, history.metric]).all()


def test_a_batch_whose_weights_are_all_0_counts_nothing_as_one_that_is_masked() -> None:
    X, y = np.random.default_rng(0).standard_normal((4, 5, 2)), np.ones((4, 5), int)
    first, none = (X[:2], y[:2]), np.zeros((2, 5), bool)
    masked = Batch(X[2:], None, none, y[2:])
    wanted, a = trained([first, masked], None, per_step=True)
    for weight in (none.astype(float), np.zeros(2)):
        found, b = trained([first, (X[2:], y[2:], weight)], None, per_step=True)
        assert np.array_equal(found, wanted)
        assert a.loss == b.loss


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0}, {0: 0.0, 1: 0.0, 2: 1.0}])
def test_the_classes_of_a_mapped_file_are_never_in_memory_as_a_whole(
    class_weight: Any, tmp_path: Path
) -> None:
    """8 million targets of one byte; in 8 bytes each they are 64 MB."""
    y = np.lib.format.open_memmap(tmp_path / "y.npy", mode="w+", dtype=np.int8, shape=(8000, 1000))
    y[:, 1::2], y[-1, -1] = 1, 2
    inputs = Sequences(np.broadcast_to(np.float32(0), (8000, 1000, 2)), np.dtype("float32"))
    tracemalloc.start()
    made = Dataset(inputs, y, class_weight=class_weight)
    check_counting(made)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45e6
    whole = ClassWeights.of(class_weight, [np.asarray(y).ravel()])
    assert np.array_equal(made.class_weight(y[-1]), whole(y[-1]))  # type: ignore[misc]


def test_classes_are_counted_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = [rng.integers(0, 3, n) for n in (4, 0, 9, 1, 6)]
    inputs = Sequences([np.zeros((len(item), 2)) for item in items], F64)
    whole = Dataset(inputs, items, class_weight="balanced").class_weight
    monkeypatch.setattr(gru_counting, "BLOCK", 3)
    parts = Dataset(inputs, items, class_weight="balanced").class_weight
    assert whole is not None
    assert parts is not None
    assert np.array_equal(parts.weights, whole.weights)
    plain = Dataset(inputs, items)
    assert np.array_equal(np.concatenate(list(counting(plain, items))), np.concatenate(items))
    late = Dataset(inputs, items, sample_weight=[0, 0, 0, 0, 1], class_weight={0: 0.0})
    check_counting(late)
    none = Dataset(inputs, items, sample_weight=[0, 1, 0, 0, 0])
    with pytest.raises(ValueError, match="sample_weight must leave at least"):
        check_counting(none)
    with pytest.raises(ValueError, match=r"such as \[0, 1, 2\], got \[7\]"):
        Dataset(inputs, items, class_weight={7: 1.0})
