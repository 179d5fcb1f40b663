"""What the classifier and the regressor share: scaling, building, training; knows no target."""

from __future__ import annotations

from typing import Any

import numpy as np

import gru
from gru import check
from gru._types import Array
from gru.estimators.bases import BaseEstimator
from gru.estimators.inputs import read_sequences
from gru.history import History
from gru.model import Sequential
from gru.recipe import recipe
from gru.runtime import num_threads
from gru.scaling import Scaler
from gru.seeds import Seeds

__all__ = ["SequenceEstimator", "seed_of"]


def seed_of(random_state: Any) -> int:
    """Return a seed for what scikit-learn takes: an integer, a ``RandomState`` or ``None``.

    ``None`` is NumPy's global generator. A ``RandomState`` moves on, so that the next fit differs.
    """
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(2**31 - 1))


class SequenceEstimator(BaseEstimator):
    """An estimator with one model for sequences."""

    hidden_size: int
    num_layers: int
    cell: str
    bidirectional: bool
    dropout: float
    pooling: str
    epochs: int
    batch_size: int
    learning_rate: float
    clip_norm: float | None
    scale: bool
    dtype: Any
    threads: int | None
    random_state: Any
    verbose: bool

    model_: Sequential
    history_: History
    scaler_: Scaler | None
    n_features_in_: int
    n_channels_in_: int
    n_steps_in_: int | None

    def _train(
        self,
        values: Array | list[Array],
        target: Any,
        weight: Array | None,
        *,
        outputs: int,
        loss: str,
        pooling: str | None,
    ) -> None:
        """Scale the inputs, build the model and train it."""
        kept = None if weight is None or weight.all() else np.flatnonzero(weight)
        if kept is not None and weight is not None:  # what counts nothing is as if it were not
            values, target, weight = _take(values, kept), _take(target, kept), weight[kept]
        scaled = check.flag("scale", self.scale)
        self.scaler_ = Scaler.of(values, weight=weight) if scaled else None
        seeds = Seeds(seed_of(self.random_state))
        with num_threads(self.threads):
            self.model_ = recipe(
                self.n_channels_in_,
                outputs,
                cell=self.cell,
                hidden_size=self.hidden_size,
                num_layers=self.num_layers,
                bidirectional=self.bidirectional,
                dropout=self.dropout,
                pooling=pooling,
                dtype=self.dtype,
                seed=next(seeds),
            )
            self.history_ = gru.fit(
                self.model_,
                self._scaled(values),
                target,
                loss=loss,
                optimizer=gru.Adam(self.learning_rate),
                epochs=self.epochs,
                batch_size=self.batch_size,
                clip_norm=self.clip_norm,
                sample_weight=weight,
                seed=next(seeds),
                verbose=self.verbose,
            )

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
