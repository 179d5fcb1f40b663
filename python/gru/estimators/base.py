"""What the classifier and the regressor share: scaling, building, training; knows no target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import gru
from gru import check
from gru._types import Array
from gru.estimators.bases import BaseEstimator
from gru.estimators.inputs import read_sequences
from gru.history import History
from gru.model import Sequential
from gru.recipe import POOLING, SETTINGS, adam, choice, recipe
from gru.runtime import num_threads
from gru.scaling import Scaler
from gru.seeds import Seeds

__all__ = ["Samples", "SequenceEstimator", "loud", "seed_of"]


def seed_of(random_state: Any) -> int:
    """Return a seed for what scikit-learn takes: an integer, a ``RandomState`` or ``None``.

    ``None`` is NumPy's global generator. A ``RandomState`` moves on, so that the next fit differs.

    Examples
    --------
    >>> from gru.estimators.base import seed_of
    >>> seed_of(3) == seed_of(3)
    True
    """
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(2**31 - 1))


def loud(verbose: Any) -> bool:
    """Return whether to show progress: scikit-learn's numbers are taken too, 0 is quiet.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.

    Examples
    --------
    >>> from gru.estimators.base import loud
    >>> loud(2), loud(False)
    (True, False)
    """
    if isinstance(verbose, (bool, np.bool_)):
        return bool(verbose)
    return check.integer("verbose", verbose, 0, kind="True, False or an integer") > 0


@dataclass(frozen=True)
class Samples:
    """Sequences with their targets and, if they have any, their weights (B,)."""

    values: Array | list[Array]
    target: Any
    weight: Array | None

    def take(self, index: Array) -> Samples:
        """Return some of them."""
        weight = None if self.weight is None else self.weight[index]
        return Samples(_take(self.values, index), _take(self.target, index), weight)

    def counting(self) -> Samples:
        """Leave out what counts nothing: it is as if it were not there."""
        if self.weight is None or self.weight.all():
            return self
        return self.take(np.flatnonzero(self.weight))


class SequenceEstimator(BaseEstimator):
    """An estimator with one model for sequences."""

    pooling: str
    epochs: int
    batch_size: int
    learning_rate: float
    clip_norm: float | None
    early_stopping: int | None
    validation_fraction: float
    scale: bool
    threads: int | None
    random_state: Any
    verbose: bool

    model_: Sequential
    history_: History
    classes_: Array
    scaler_: Scaler | None
    n_features_in_: int
    n_channels_in_: int
    n_steps_in_: int | None

    def _train(self, samples: Samples, *, outputs: int, loss: str, pooling: str | None) -> None:
        """Scale the inputs, build the model and train it."""
        choice("pooling", self.pooling, POOLING)
        samples, held = samples.counting(), None
        seeds = Seeds(seed_of(self.random_state))
        for_model, for_fit, for_split = (next(seeds) for _ in range(3))
        if self.early_stopping is not None:
            check.integer("early_stopping", self.early_stopping, 1, kind="None or an integer")
            classes = samples.target if loss == "cross_entropy" else None
            shown, rest = self._split(len(samples.values), classes, for_split)
            samples, held = samples.take(shown), samples.take(rest)
        scaled = check.flag("scale", self.scale)
        self.scaler_ = Scaler.of(samples.values, weight=samples.weight) if scaled else None
        with num_threads(self.threads):
            self.model_ = self._build(outputs, pooling, for_model)
            self.history_ = gru.fit(
                self.model_,
                self._scaled(samples.values),
                samples.target,
                loss=loss,
                optimizer=adam(self.learning_rate),
                epochs=self.epochs,
                batch_size=self.batch_size,
                clip_norm=self.clip_norm,
                sample_weight=samples.weight,
                validation=None if held is None else (self._scaled(held.values), held.target),
                early_stopping=self.early_stopping,
                seed=for_fit,
                verbose=loud(self.verbose),
            )

    def _build(self, outputs: int, pooling: str | None, seed: int) -> Sequential:
        return recipe(
            self.n_channels_in_,
            outputs,
            pooling=pooling,
            seed=seed,
            **{name: getattr(self, name) for name in SETTINGS},
        )

    def _split(self, count: int, classes: Array | None, seed: int) -> tuple[Array, Array]:
        """Return which sequences train, and which say when to stop: the same share of each class.

        Raises
        ------
        TypeError, ValueError
            If the fraction is out of range, or leaves too few of them.
        """
        from sklearn.model_selection import train_test_split

        fraction = check.number("validation_fraction", self.validation_fraction)
        if not 0 < fraction < 1:
            raise ValueError(f"validation_fraction must be in (0, 1), got {fraction}")
        least = 1 if classes is None else self._several_of_each(classes)
        held_out = int(np.ceil(fraction * count))
        if min(held_out, count - held_out) < least:
            raise ValueError(
                f"early_stopping needs at least {least} sequences to train and {least} to hold "
                f"out{' (one of each class)' if classes is not None else ''}: "
                f"validation_fraction={fraction} of {count} holds out {held_out}"
            )
        shown, held = train_test_split(
            np.arange(count), test_size=fraction, stratify=classes, random_state=seed % 2**32
        )
        return shown, held

    def _several_of_each(self, codes: Array) -> int:
        """Refuse a class of one sequence, and return how many classes there are."""
        found, counts = np.unique(codes, return_counts=True)
        if (counts == 1).any():
            alone = self.classes_[found[np.argmin(counts)]]
            raise ValueError(
                "early_stopping holds out sequences of each class, but y holds one alone of class "
                f"{alone}"
            )
        return len(found)

    def _scaled(self, values: Array | list[Array]) -> Any:
        return values if self.scaler_ is None else self.scaler_.scale(values)

    def _answer(self, X: Any) -> Any:
        """Return what the model says: an array, or a list of arrays (T_i, K)."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        values = read_sequences(self, X, reset=False)
        with num_threads(self.threads):
            return self.model_.predict(self._scaled(values))

    def __sklearn_tags__(self) -> Any:
        """Say that X may be a table or have three axes, and that y is needed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags


def _take(values: Any, kept: Array) -> Any:
    """Return some entries of an array or a list."""
    return values[kept] if isinstance(values, np.ndarray) else [values[i] for i in kept]
