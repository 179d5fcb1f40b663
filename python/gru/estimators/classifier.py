"""A classifier of sequences for scikit-learn; knows labels and their weights, no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gru._types import Array
from gru.estimators.base import Samples, SequenceEstimator
from gru.estimators.bases import ClassifierMixin
from gru.estimators.inputs import read_sequences, read_weight
from gru.weights import class_values

__all__ = ["GRUClassifier"]


class GRUClassifier(ClassifierMixin, SequenceEstimator):
    """Recurrent layers, pooling and a linear head that tell which class a sequence is of.

    X is an array (B, T, I); a table (B, T): T steps of one channel; or a list of arrays (T_i, I) or
    (T_i,) of different lengths. It trains with the cross entropy and Adam.

    Parameters
    ----------
    hidden_size, num_layers, bidirectional, dtype
        As in :class:`gru.GRU`.
    cell : {"gru", "lstm", "rnn"}
        The recurrent layer.
    epochs, batch_size, clip_norm, verbose
        As in :func:`gru.fit`.
    learning_rate : float
        Of Adam.
    threads : int or None
        Threads that fit and predict use at most; ``None``: what :func:`gru.set_num_threads` says.
        The number is that of the process while they run (see :func:`gru.runtime.num_threads`), so
        in the worker processes of ``GridSearchCV(n_jobs=...)`` 1 is best.
    random_state : int, RandomState or None
        Of the first parameters, the batches and dropout. An integer gives the same bits again, on
        any number of threads.
    scale : bool
        Whether each channel is brought to mean 0 and deviation 1, as measured in fit.
    class_weight : dict, "balanced" or None
        Label -> weight; multiplies ``sample_weight``.
    dropout : float
        Rate between stacked layers and before the head.
    input_dropout, recurrent_dropout, zoneout
        Rates as in :class:`gru.GRU`.
    layer_norm, reset_after, update_gate
        As in :class:`gru.GRU`, and for ``cell="gru"`` alone.
    pooling : {"last", "mean", "max"}
        How the steps become one answer.
    early_stopping : int or None
        Patience: the run ends when the loss on held-out sequences has not improved for so many
        epochs, and the best epoch's parameters are kept. ``None`` runs all epochs on all sequences.
    validation_fraction : float
        Share of the sequences that are held out for it, of each class alike.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    model_ : Sequential
        The model, whose inputs are scaled and whose outputs are logits.
    history_ : History
        Loss and accuracy of every epoch.
    scaler_ : Scaler or None
        Of the channels.
    n_features_in_ : int
        Columns of a table, else channels. A model fitted on a table takes tables of as many
        columns; lists and arrays of three axes may have any length.
    n_channels_in_ : int
        Channels of a step.
    n_steps_in_ : int or None
        Columns, if fitted on a table.
    feature_names_in_ : ndarray of str
        Names of the columns, if fitted on a data frame that has such names.

    Examples
    --------
    >>> import numpy as np, gru
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((steps, 2)) for steps in rng.integers(3, 9, 60)]
    >>> y = ["up" if item[:, 0].mean() > 0 else "down" for item in X]
    >>> classifier = gru.GRUClassifier(8, epochs=20, learning_rate=0.02, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape, classifier.score(X, y) > 0.9
    ((60, 2), True)
    """

    classes_: Array

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
        class_weight: Any = None,
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
        self.class_weight = class_weight
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GRUClassifier:
        """Train a fresh model.

        Parameters
        ----------
        X : array_like or sequence of array_like
            Sequences, as the class says.
        y : array_like
            One label a sequence, numbers or strings, shape (B,); two classes at least.
        sample_weight : array_like, optional
            Shape (B,), at least 0: how much each sequence counts, in the loss and in the scaling.

        Returns
        -------
        GRUClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            If a setting is out of range or the data do not fit; see :func:`gru.fit`.
        """
        from sklearn.utils import check_consistent_length

        values = read_sequences(self, X, reset=True)
        labels = self._labels(y)
        check_consistent_length(values, labels)
        weight = self._weight(labels, read_weight(sample_weight, len(labels)))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        _check_classes(codes if weight is None else codes[weight > 0], self.classes_)
        samples, outputs = Samples(values, codes, weight), len(self.classes_)
        self._train(samples, outputs=outputs, loss="cross_entropy", pooling=self.pooling)
        return self

    def _labels(self, y: Any) -> Array:
        """Check labels (B,)."""
        from sklearn.utils import assert_all_finite, column_or_1d
        from sklearn.utils.multiclass import check_classification_targets

        if y is None:
            raise ValueError("GRUClassifier requires y to be passed, but the target y is None")
        labels: Array = column_or_1d(y, warn=True)
        assert_all_finite(labels, estimator_name="GRUClassifier", input_name="y")
        check_classification_targets(labels)
        return labels

    def _weight(self, labels: Array, weight: Array | None) -> Array | None:
        """Multiply the weights of sequences and classes."""
        if self.class_weight is None:
            return weight
        from sklearn.utils.class_weight import compute_sample_weight

        if isinstance(self.class_weight, Mapping):
            class_values(self.class_weight)
        of_class: Array = compute_sample_weight(self.class_weight, labels)
        return of_class if weight is None else of_class * weight

    def predict(self, X: Any) -> Array:
        """Return the likeliest label of each sequence, shape (B,)."""
        answer = self._answer(X)
        return np.asarray(self.classes_[answer.argmax(axis=1)])

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class, float64 (B, classes)."""
        logits = self._answer(X).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, float64 (B, classes), as in ``classes_``."""
        return np.asarray(np.exp(self.predict_log_proba(X)))

    def decision_function(self, X: Any) -> Array:
        """Return the logits (B, classes); of two classes, second minus first, (B,)."""
        logits = self._answer(X).astype(np.float64)
        return np.asarray(logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits)


def _check_classes(counting: Array, classes: Array) -> None:
    """Refuse fewer than two classes, there or after weights: the codes of those that count."""
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got one class: {classes[0]}")
    left = classes[np.unique(counting)].tolist()
    if len(left) < 2:
        raise ValueError(
            "class_weight and sample_weight must leave at least two classes of y that count, "
            f"got {repr(left[0]) if left else 'none'}"
        )
