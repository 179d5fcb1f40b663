"""The training loop: batches, steps, validation, history; knows no layer and no kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from gru import check
from gru._types import Array
from gru.data import Batch, Dataset, Sequences, batches
from gru.history import History
from gru.losses import Loss
from gru.metrics import Metric
from gru.model import Sequential
from gru.objective import Objective, Sums
from gru.optim import Adam, Optimizer, clip_grad_norm
from gru.progress import Progress, progress

__all__ = ["evaluate", "fit", "train_step"]


class Step(NamedTuple):
    """What one step saw; see :func:`train_step`."""

    loss: float
    sums: tuple[Array, ...]
    norm: float | None


def train_step(
    model: Sequential,
    batch: Batch,
    objective: Objective,
    optimizer: Optimizer,
    *,
    clip_norm: float | None = 1.0,
    seed: int = 0,
) -> Step:
    """Take one optimiser step on one batch.

    Parameters
    ----------
    model : Sequential
        Changed in place; must not be frozen.
    batch : Batch
        Inputs and targets.
    objective : Objective
        Loss and metric.
    optimizer : Optimizer
        Changed in place.
    clip_norm : float or None
        Upper limit of the joint norm of all gradients.
    seed : int
        Of the dropout masks.

    Returns
    -------
    loss, sums, norm : float, tuple of ndarray, float or None
        The loss before the step, what :class:`gru.objective.Sums` adds up, and the norm of the
        gradient, if it is clipped.

    Raises
    ------
    FloatingPointError
        If the loss or the norm of the gradient is not finite; the parameters are unchanged.

    Examples
    --------
    >>> import numpy as np, gru
    >>> from gru.data import Batch
    >>> from gru.objective import Objective
    >>> from gru.train import train_step
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2, seed=0)])
    >>> batch = Batch(np.ones((1, 5, 3), np.float32), None, None, np.array([1]))
    >>> objective = Objective.of("cross_entropy", None)
    >>> optimizer = gru.Adam(0.1)
    >>> first, second = (train_step(model, batch, objective, optimizer)[0] for _ in range(2))
    >>> second < first
    True
    """
    prediction, tape = model.forward(batch.x, lengths=batch.lengths, mask=batch.mask, seed=seed)
    loss, dy, sums = objective.measure(prediction, batch)
    if not np.isfinite(loss):
        raise FloatingPointError(f"loss is {loss}")
    gradients = model.backward_blocks(tape, dy)
    norm = None
    if clip_norm is not None:
        norm = clip_grad_norm(gradients, clip_norm)
        if not np.isfinite(norm):
            raise FloatingPointError(f"norm of the gradient is {norm}")
    optimizer.step(model.blocks(), gradients)
    return Step(loss, sums, norm)


def _train_epoch(
    run: Callable[[Batch, int], Step],
    data: Dataset,
    objective: Objective,
    *,
    batch_size: int,
    rng: np.random.Generator,
    bar: Progress,
) -> tuple[float, ...]:
    """Run one step on each batch, in an order drawn from rng."""
    mean = Sums(objective)
    order = list(batches(data.sequences.steps, batch_size, rng))
    for step, index in enumerate(order):
        try:
            mean.add(run(data.take(index), int(rng.integers(2**63))).sums)
        except FloatingPointError as error:
            raise FloatingPointError(f"step {step + 1} of {len(order)}: {error}") from None
        bar.update()
    return mean.values()


def evaluate(
    model: Sequential,
    data: Dataset,
    objective: Objective,
    *,
    batch_size: int = 256,
) -> tuple[float, ...]:
    """Return loss and metrics of a model on a data set, for which nothing is drawn.

    Examples
    --------
    >>> import numpy as np, gru
    >>> from gru.data import Dataset, Sequences
    >>> from gru.objective import Objective
    >>> from gru.train import evaluate
    >>> model = gru.Sequential([gru.GRU(3, 4, seed=0), gru.Last(), gru.Linear(4, 2, seed=0)])
    >>> data = Dataset(Sequences(np.zeros((5, 6, 3)), model.input_dtype), [0, 1, 1, 0, 1])
    >>> loss, accuracy = evaluate(model, data, Objective.of("cross_entropy", None))
    >>> accuracy in (0.4, 0.6)
    True
    """
    mean = Sums(objective)
    for index in batches(data.sequences.steps, batch_size):
        batch = data.take(index)
        prediction = model(batch.x, lengths=batch.lengths, mask=batch.mask)
        mean.add(objective.measure(prediction, batch).sums)
    return mean.values()


def _dataset(model: Sequential, X: Any, y: Any, lengths: Any, mask: Any, **weights: Any) -> Dataset:
    """Check data for a model and cast it."""
    data = Dataset(Sequences(X, model.input_dtype, lengths=lengths, mask=mask), y, **weights)
    if not len(data):
        raise ValueError("X must hold at least one sequence, got none")
    return data


def _held_out(model: Sequential, validation: Any, lengths: Any, mask: Any) -> Dataset | None:
    """Check validation data; the errors say whose X or y they mean."""
    if validation is None:
        return None
    X, y = check.pair("validation", validation, "a pair (X, y)")
    try:
        return _dataset(model, X, y, lengths, mask)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"in validation, {error}") from None


def fit(
    model: Sequential,
    X: Any,
    y: Any,
    *,
    loss: str | Loss = "cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    clip_norm: float | None = 1.0,
    lengths: Any = None,
    mask: Any = None,
    validation: tuple[Any, Any] | None = None,
    validation_lengths: Any = None,
    validation_mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    metric: str | Metric | None = None,
    metrics: Sequence[str | Metric] = (),
    seed: int = 0,
    verbose: bool = True,
) -> History:
    """Train a model with mini-batches.

    Parameters
    ----------
    model : Sequential
        Trained in place.
    X : array_like or sequence of array_like
        An array (B, T, I) or a list of arrays (T_i, I); cast to the model's dtype. A list is
        batched with sequences of like length together.
    y : array_like or sequence of array_like
        One target a sequence, or one a step if the model gives an output at every step.
    loss : str or callable
        A name in :data:`gru.losses.LOSSES`, or a function with their arguments and results.
    optimizer : Optimizer, optional
        ``Adam(1e-3)`` if not given. A used one goes on with its state.
    epochs, batch_size : int
        Passes over the data, at least 0 (the history is then empty); sequences in a step, at
        least 1.
    clip_norm : float or None
        Upper limit of the joint norm of all gradients in a step, above 0.
    lengths, mask : array_like, optional
        Which steps of an array X count; one or neither.
    validation : pair, optional
        ``(X, y)`` on which loss and metric are taken after each epoch.
    validation_lengths, validation_mask : array_like, optional
        Which of its steps count; one or neither.
    sample_weight : array_like or sequence of array_like, optional
        How much each target counts in the loss, at least 0: (B,), or one number a step: (B, T),
        or a list of (T_i,). The loss of a batch is then the weighted mean, with which its
        gradient is taken; a loss function is called with ``weight=``. Metrics and validation are
        not weighted.
    class_weight : dict or str, optional
        Integer class -> weight, 1 where it has none; or ``"balanced"``: n / (k * count) over the
        targets that count, as in scikit-learn. It multiplies ``sample_weight``.
    metric : str or callable, optional
        A name in :data:`gru.metrics.METRICS` or a function; by default accuracy for the cross
        entropies and mae for the other losses.
    metrics : sequence of str or callable
        More of them.
    seed : int
        Of the order of the batches and of dropout. The same seed gives the same bits, on any
        number of threads.
    verbose : bool
        Whether to draw a bar with loss and metric.

    Returns
    -------
    History
        Loss, metric and seconds of every epoch.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind: a model that is no Sequential (put a layer into one),
        an optimizer's name instead of an optimizer, data that holds no numbers.
    ValueError
        If a setting is out of range, the model is frozen, X holds no sequence, X or y is not
        finite (the first index is named), or they do not fit each other or the model.
    FloatingPointError
        If the loss or the gradient stops being finite, naming epoch and step.

    Examples
    --------
    >>> import numpy as np, gru
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((64, 10, 2))
    >>> y = (X[:, :, 0].mean(axis=1) > 0).astype(int)
    >>> model = gru.Sequential([gru.GRU(2, 8, seed=0), gru.Last(), gru.Linear(8, 2, seed=0)])
    >>> history = gru.fit(model, X, y, optimizer=gru.Adam(0.01), epochs=10, verbose=False)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    check.instance("model", model, Sequential, "a gru.Sequential")
    if any(layer.frozen for layer in model.layers):
        raise ValueError("the model is frozen; call model.unfreeze() before fit")
    epochs = check.integer("epochs", epochs, 0)
    batch_size = check.integer("batch_size", batch_size, 1)
    if clip_norm is not None and not check.number("clip_norm", clip_norm) > 0:
        raise ValueError(f"clip_norm must be above 0 or None, got {clip_norm}")
    chosen = Adam(1e-3) if optimizer is None else optimizer
    check.instance("optimizer", chosen, Optimizer, "an optimizer such as gru.Adam(1e-3)")
    rng = np.random.default_rng(check.seed(seed))
    objective = Objective.of(loss, metric, metrics)
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    data = _dataset(model, X, y, lengths, mask, **weights)
    held = _held_out(model, validation, validation_lengths, validation_mask)
    history = History(objective.metric_name)

    def step(batch: Batch, seed: int) -> Step:
        return train_step(model, batch, objective, chosen, clip_norm=clip_norm, seed=seed)

    steps = epochs * -(-len(data) // batch_size)
    with closing(progress(steps, verbose=verbose)) as bar:
        for epoch in range(epochs):
            start = time.perf_counter()
            try:
                found = _train_epoch(step, data, objective, batch_size=batch_size, rng=rng, bar=bar)
            except FloatingPointError as error:
                raise FloatingPointError(f"epoch {epoch + 1}, {error}") from None
            val = () if held is None else evaluate(model, held, objective)
            history.append(
                loss=found[0],
                val_loss=val[0] if val else None,
                seconds=time.perf_counter() - start,
            )
            history.append_metrics(
                dict(zip(objective.metrics, found[1:], strict=True)),
                dict(zip(objective.metrics, val[1:], strict=bool(val))),
            )
            bar.set_postfix({name: f"{number:.4g}" for name, number in history.last.items()})
    return history
