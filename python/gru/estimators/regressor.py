"""A regressor of sequences for scikit-learn: one answer a sequence or a step; knows no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gru import check
from gru._types import Array
from gru.data import check_finite
from gru.estimators.base import Samples, SequenceEstimator
from gru.estimators.bases import RegressorMixin
from gru.estimators.inputs import read_sequences, read_weight
from gru.recipe import choice
from gru.scaling import Scaler

__all__ = ["GRURegressor"]


class GRURegressor(RegressorMixin, SequenceEstimator):
    """Recurrent layers and a linear head that answer with numbers, at the end or at every step.

    X is as in :class:`gru.GRUClassifier`. What y is, ``targets="auto"`` tells by its shape:

    * (B,): one number a sequence.
    * (B, T, K), with X an array of T steps: K numbers a step.
    * (B, T) with T > 1, with X an array of T steps: one number a step.
    * (B, K) otherwise: K numbers a sequence.
    * y a list of arrays (T_i,) or (T_i, K), as long as the sequences: for each step.

    So K numbers a sequence that happen to be as many as steps need ``targets="sequence"``.

    Parameters
    ----------
    hidden_size, num_layers, cell, bidirectional, dropout, pooling, dtype
        As in :class:`gru.GRUClassifier`; pooling is for one answer a sequence.
    input_dropout, recurrent_dropout, zoneout, layer_norm, reset_after, update_gate
        As in :class:`gru.GRUClassifier`.
    epochs, batch_size, learning_rate, clip_norm, early_stopping, validation_fraction
        As in :class:`gru.GRUClassifier`.
    threads, random_state, verbose
        As in :class:`gru.GRUClassifier`.
    scale : bool
        Whether each channel, and each column of y, is brought to mean 0 and deviation 1.
    loss : {"mse", "mae", "huber"}
        What is minimised, in scaled units.
    targets : {"auto", "sequence", "step"}
        What y holds numbers for.

    Attributes
    ----------
    model_, history_, scaler_, n_features_in_, n_channels_in_, n_steps_in_, feature_names_in_
        As in :class:`gru.GRUClassifier`.
    target_scaler_ : Scaler or None
        Of y.
    per_step_ : bool
        Whether there is an answer at every step.

    Notes
    -----
    In cross validation use :meth:`score` where sequences of different lengths have a target at
    every step: the ``scoring`` functions of scikit-learn take no lists of arrays.

    Examples
    --------
    >>> import numpy as np, gru
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((steps, 1)) for steps in rng.integers(3, 9, 60)]
    >>> y = [item.cumsum(axis=0)[:, 0] for item in X]  # a number a step
    >>> regressor = gru.GRURegressor(16, learning_rate=0.02, random_state=0).fit(X, y)
    >>> regressor.predict(X)[0].shape == y[0].shape, regressor.score(X, y) > 0.9
    (True, True)
    """

    target_scaler_: Scaler | None
    per_step_: bool

    def __init__(
        self,
        hidden_size: int = 64,
        *,
        num_layers: int = 1,
        cell: str = "gru",
        bidirectional: bool = False,
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        clip_norm: float | None = 1.0,
        dtype: DTypeLike = "float32",
        threads: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
        scale: bool = True,
        loss: str = "mse",
        targets: str = "auto",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        reset_after: bool = True,
        update_gate: str = "keep",
        pooling: str = "last",
        early_stopping: int | None = None,
        validation_fraction: float = 0.1,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.dtype = dtype
        self.threads = threads
        self.random_state = random_state
        self.verbose = verbose
        self.scale = scale
        self.loss = loss
        self.targets = targets
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout
        self.layer_norm = layer_norm
        self.reset_after = reset_after
        self.update_gate = update_gate
        self.pooling = pooling
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GRURegressor:
        """Train a fresh model.

        Parameters
        ----------
        X : array_like or sequence of array_like
            Sequences, as in :class:`gru.GRUClassifier`.
        y : array_like or sequence of array_like
            Targets, as the class says.
        sample_weight : array_like, optional
            As in :meth:`gru.GRUClassifier.fit`.

        Returns
        -------
        GRURegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If a setting is out of range or the data do not fit; see :func:`gru.fit`.
        """
        from sklearn.utils import check_consistent_length

        values = read_sequences(self, X, reset=True)
        truth = _numbers(y)
        check_consistent_length(values, truth)
        weight = read_weight(sample_weight, len(values))
        choice("loss", self.loss, ("mse", "mae", "huber"))
        self.per_step_ = self._per_step(values, truth)
        target, self._flat = _with_outputs(values, truth, self.per_step_)
        outputs = target[0].shape[-1]
        scaled = check.flag("scale", self.scale)
        self.target_scaler_ = Scaler.of(target, weight=weight, name="y") if scaled else None
        if self.target_scaler_ is not None:
            target = self.target_scaler_.scale(target)
        pooling = None if self.per_step_ else self.pooling
        samples = Samples(values, target, weight)
        self._train(samples, outputs=outputs, loss=self.loss, pooling=pooling)
        return self

    def _per_step(self, values: Array | list[Array], truth: Array | list[Array]) -> bool:
        """Say whether targets are for steps, by the rule of the class."""
        choice("targets", self.targets, ("auto", "sequence", "step"))
        if self.targets != "auto":
            return self.targets == "step"
        if isinstance(truth, list):
            lengths = [len(item) for item in truth]
            return lengths == [len(item) for item in values] or len(set(lengths)) > 1
        steps = 0 if isinstance(values, list) else values.shape[1]
        return truth.ndim == 3 or (truth.ndim == 2 and truth.shape[1] == steps > 1)

    def predict(self, X: Any) -> Any:
        """Return the answers in float64 and in the shape of the y in fit.

        Returns
        -------
        ndarray or list of ndarray
            (B,) or (B, K); for steps (B, T) or (B, T, K), and for a list X a list of (T_i,) or
            (T_i, K).
        """
        answer = self._answer(X)
        if isinstance(answer, list):
            return [self._finished(item) for item in answer]
        return self._finished(answer)

    def _finished(self, answer: Array) -> Array:
        wide = answer.astype(np.float64)
        if self.target_scaler_ is not None:
            wide = wide * self.target_scaler_.std + self.target_scaler_.mean
        return wide[..., 0] if self._flat else wide

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination, of steps over all of them together.

        Parameters
        ----------
        X, y : array_like or sequence of array_like
            As in :meth:`fit`.
        sample_weight : array_like, optional
            Shape (B,).
        """
        from sklearn.metrics import r2_score
        from sklearn.utils import check_consistent_length

        said, truth = self.predict(X), _numbers(y)
        check_consistent_length(said, truth)
        weight = read_weight(sample_weight, len(said))
        if self.per_step_:
            for i, (one, other) in enumerate(zip(said, truth, strict=True)):
                if one.shape != other.shape:
                    raise ValueError(f"y[{i}] must have shape {one.shape}, got {other.shape}")
            if weight is not None:
                weight = np.repeat(weight, [len(item) for item in said])
            said, truth = (np.concatenate(list(items)) for items in (said, truth))
        return float(r2_score(truth, said, sample_weight=weight))

    def __sklearn_tags__(self) -> Any:
        """Say besides that y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _numbers(y: Any) -> Array | list[Array]:
    """Return targets as an array, or as a list where each sequence has its own array of them."""
    if y is None:
        raise ValueError("GRURegressor requires y to be passed, but the target y is None")
    if isinstance(y, (list, tuple)) and y and all(np.ndim(item) for item in y):
        arrays = any(isinstance(item, np.ndarray) for item in y)
        if arrays or len({len(item) for item in y}) > 1:
            items = [check.numbers(f"y[{i}]", item) for i, item in enumerate(y)]
            check_finite(items, "y")
            return items
    from sklearn.utils import check_array

    array: Array = check_array(y, ensure_2d=False, allow_nd=True, dtype="numeric", input_name="y")
    if array.ndim not in (1, 2, 3):
        raise ValueError(f"y must have shape (B,), (B, K), (B, T) or (B, T, K), got {array.shape}")
    return array


def _with_outputs(values: Any, truth: Any, per_step: bool) -> tuple[Any, bool]:
    """Return targets with a last axis of outputs, and whether they came without."""
    if not per_step:
        whole = np.stack(truth) if isinstance(truth, list) else truth
        if whole.ndim == 3:
            raise ValueError(f"y must have shape (B,) or (B, K) for sequences, got {whole.shape}")
        return (whole[:, None], True) if whole.ndim == 1 else (whole, False)
    ragged = isinstance(values, list)
    items = list(truth)
    for i, (item, steps) in enumerate(zip(items, map(len, values), strict=True)):
        if np.shape(item)[:1] != (steps,):
            came = f"{len(item)} steps" if np.ndim(item) else "one number"
            raise ValueError(
                f"y must have as many steps as X, in every sequence: y[{i}] has {came} for {steps}"
            )
    flat = items[0].ndim == 1
    items = [item[:, None] if flat else item for item in items]
    if any(item.ndim != 2 or item.shape[1:] != items[0].shape[1:] for item in items):
        raise ValueError("y must have the same number of columns in every sequence")
    return (items if ragged else np.stack(items)), flat
